#include <algorithm>

#include "tokenizer_parts.h"
#include "unicode.h"

namespace sharcs {
namespace {

bool is_word_at_end(std::string_view text) {
  std::size_t at = text.size();
  return at > 0 && (unicode::flags_of(unicode::previous(text, at)) & unicode::kWord) != 0;
}

bool is_word_at_begin(std::string_view text) {
  std::size_t at = 0;
  return !text.empty() && (unicode::flags_of(unicode::next(text, at)) & unicode::kWord) != 0;
}

// Where the white space that ends `text` begins.
std::size_t space_at_end(std::string_view text) {
  std::size_t at = text.size();
  while (at > 0) {
    std::size_t before = at;
    if ((unicode::flags_of(unicode::previous(text, before)) & unicode::kSpace) == 0) break;
    at = before;
  }
  return at;
}

std::size_t space_at_begin(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    std::size_t after = at;
    if ((unicode::flags_of(unicode::next(text, after)) & unicode::kSpace) == 0) break;
    at = after;
  }
  return at;
}

}  // namespace

AddedTokens::AddedTokens(const json::Value& json, const Model& model, const BertNormalizer* normalizer) {
  if (json.is_null()) return;
  const auto* entries = json.as<json::Array>();
  if (entries == nullptr) refuse_tokenizer("has added_tokens that are no array");
  for (const json::Value& entry : *entries) {
    const std::string content = need_text(entry, "content", "an added token");
    if (content.empty()) continue;
    const auto* given = need(entry, "id", "an added token").as<std::int64_t>();
    if (given == nullptr || *given < 0 || *given > INT32_MAX) refuse_tokenizer("has an added token without an id");
    const std::int64_t known = model.token_to_id(content);
    const std::int64_t id = known == Vocabulary::kNone ? *given : known;
    ids_.emplace_back(content, id);
    const bool normalized = read_flag(entry, "normalized", true);
    const bool changes = normalized && normalizer != nullptr;
    Token token{changes ? normalizer->normalize(content) : content, id, read_flag(entry, "single_word", false),
                read_flag(entry, "lstrip", false), read_flag(entry, "rstrip", false)};
    (normalized ? normalized_ : raw_).add(std::move(token));
  }
}

void AddedTokens::Set::add(Token token) {
  if (token.content.empty()) return;
  first[static_cast<unsigned char>(token.content[0])] = true;
  const auto place = std::find_if(tokens.begin(), tokens.end(),
                                  [&](const Token& other) { return other.content.size() < token.content.size(); });
  tokens.insert(place, std::move(token));
}

const AddedTokens::Token* AddedTokens::Set::match(std::string_view text, std::size_t at) const {
  if (!first[static_cast<unsigned char>(text[at])]) return nullptr;
  for (const Token& token : tokens) {
    if (text.compare(at, token.content.size(), token.content) == 0) return &token;
  }
  return nullptr;
}

std::int64_t AddedTokens::token_to_id(std::string_view token) const {
  for (const auto& [content, id] : ids_) {
    if (content == token) return id;
  }
  return Vocabulary::kNone;
}

template <typename Piece>
void AddedTokens::split(const Set& set, std::string_view text, Ids& ids, Piece piece) {
  std::size_t done = 0;
  for (std::size_t at = 0; at < text.size() && !set.tokens.empty();) {
    const Token* token = set.match(text, at);
    if (token == nullptr) {
      ++at;
      continue;
    }
    std::size_t begin = at;
    std::size_t end = at + token->content.size();
    at = end;
    if (token->single_word && (is_word_at_end(text.substr(0, begin)) || is_word_at_begin(text.substr(end)))) continue;
    if (token->lstrip) begin = std::max(space_at_end(text.substr(0, begin)), done);
    if (token->rstrip) end += space_at_begin(text.substr(end));
    if (done < begin) piece(text.substr(done, begin - done));
    ids.push_back(token->id);
    done = end;
  }
  if (done < text.size()) piece(text.substr(done));
}

void AddedTokens::encode(std::string_view text, const BertNormalizer* normalizer, const Model& model, Ids& ids) const {
  const auto tokenize = [&](std::string_view piece) { model.tokenize(piece, ids); };
  split(raw_, text, ids, [&](std::string_view piece) {
    if (normalizer == nullptr) {
      split(normalized_, piece, ids, tokenize);
    } else {
      split(normalized_, normalizer->normalize(piece), ids, tokenize);
    }
  });
}

}  // namespace sharcs
