#include "tokenizer_parts.h"
#include "unicode.h"

namespace sharcs {

WordPiece::WordPiece(const json::Value& json) {
  const auto* vocabulary = need(json, "vocab", "the WordPiece model").as<json::Object>();
  if (vocabulary == nullptr) refuse_tokenizer("has a vocabulary that is no object");
  const std::string prefix = need_text(json, "continuing_subword_prefix", "the WordPiece model");
  const auto* longest = need(json, "max_input_chars_per_word", "the WordPiece model").as<std::int64_t>();
  if (longest == nullptr || *longest < 0) refuse_tokenizer("has a max_input_chars_per_word that is no count");
  longest_word_ = static_cast<std::size_t>(*longest);
  vocabulary_ = Vocabulary(vocabulary->size());
  continuing_ = Vocabulary(vocabulary->size() / 4);
  for (const auto& [token, value] : *vocabulary) {
    const auto* id = value.as<std::int64_t>();
    if (id == nullptr || *id < 0 || *id > INT32_MAX) refuse_tokenizer("has an id that is none: " + json::show(value));
    vocabulary_.add(token, *id);
    if (token.compare(0, prefix.size(), prefix) == 0) continuing_.add(std::string_view(token).substr(prefix.size()), *id);
  }
  const std::string unknown = need_text(json, "unk_token", "the WordPiece model");
  unknown_ = vocabulary_.find(unknown);
  if (unknown_ == Vocabulary::kNone) refuse_tokenizer("has no token " + json::show(unknown) + ", its unk_token");
}

void WordPiece::tokenize(std::string_view piece, Ids& ids) const {
  std::size_t begin = 0;  // of the word
  std::size_t characters = 0;
  for (std::size_t at = 0; at < piece.size();) {
    const std::size_t here = at;
    const std::uint8_t flags = unicode::flags_of(unicode::next(piece, at));
    if ((flags & (unicode::kSpace | unicode::kPunctuation)) == 0) {
      ++characters;
      continue;
    }
    if (here > begin) add_word(piece.substr(begin, here - begin), characters, ids);
    if ((flags & unicode::kPunctuation) != 0) add_word(piece.substr(here, at - here), 1, ids);
    begin = at;
    characters = 0;
  }
  if (begin < piece.size()) add_word(piece.substr(begin), characters, ids);
}

void WordPiece::add_word(std::string_view word, std::size_t characters, Ids& ids) const {
  if (characters > longest_word_) {
    ids.push_back(unknown_);
    return;
  }
  const std::size_t before = ids.size();
  for (std::size_t begin = 0; begin < word.size();) {
    const Vocabulary& tokens = begin == 0 ? vocabulary_ : continuing_;
    std::size_t end = word.size();
    std::int64_t id = Vocabulary::kNone;
    while (end > begin && (id = tokens.find(word.substr(begin, end - begin))) == Vocabulary::kNone) {
      unicode::previous(word, end);
    }
    if (id == Vocabulary::kNone) {
      ids.resize(before);
      ids.push_back(unknown_);
      return;
    }
    ids.push_back(id);
    begin = end;
  }
}

}  // namespace sharcs
