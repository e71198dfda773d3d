#include <algorithm>
#include <queue>

#include "tokenizer_parts.h"
#include "unicode.h"

namespace sharcs {
namespace {

using unicode::flags_of;
using unicode::next;

constexpr std::size_t kShortWord = 24;  // symbols; for more, a queue of the pairs pays

// GPT-2's characters for bytes: printable ones stand for themselves, the others follow from U+0100 on.
char32_t letter_of(int byte) {
  const auto printable = [](int b) { return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255); };
  if (printable(byte)) return static_cast<char32_t>(byte);
  int hidden = 0;
  for (int b = 0; b < byte; ++b) hidden += !printable(b);
  return static_cast<char32_t>(256 + hidden);
}

std::uint64_t pair_key(std::int32_t left, std::int32_t right) {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 | static_cast<std::uint32_t>(right);
}

// The end of a run of characters with (or, if `none`, without) one of these flags.
std::size_t run_end(std::string_view text, std::size_t at, std::uint8_t flags, bool none = false) {
  while (at < text.size()) {
    std::size_t after = at;
    if (((flags_of(next(text, after)) & flags) != 0) == none) break;
    at = after;
  }
  return at;
}

std::size_t contraction_end(std::string_view text, std::size_t at) {
  if (text[at] != '\'') return at;
  for (std::string_view ending : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}) {
    if (text.substr(at, ending.size()) == ending) return at + ending.size();
  }
  return at;
}

// The end of the word at `at`: 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
std::size_t word_end(std::string_view text, std::size_t at) {
  constexpr std::uint8_t kNamed = unicode::kLetter | unicode::kNumber | unicode::kRegexSpace;
  if (const std::size_t end = contraction_end(text, at); end > at) return end;
  const std::size_t begin = text[at] == ' ' ? at + 1 : at;
  if (const std::size_t end = run_end(text, begin, unicode::kLetter); end > begin) return end;
  if (const std::size_t end = run_end(text, begin, unicode::kNumber); end > begin) return end;
  if (const std::size_t end = run_end(text, begin, kNamed, true); end > begin) return end;
  std::size_t end = run_end(text, at, unicode::kRegexSpace);
  if (end == text.size()) return end;
  std::size_t last = end;  // the white space before a word belongs to it
  unicode::previous(text, last);
  return last > at ? last : end;
}

}  // namespace

ByteLevelBpe::ByteLevelBpe(const json::Value& pre_tokenizer, const json::Value& model)
    : add_prefix_space_(read_flag(pre_tokenizer, "add_prefix_space", true)),
      use_regex_(read_flag(pre_tokenizer, "use_regex", true)),
      ignore_merges_(read_flag(model, "ignore_merges", false)),
      fuse_unknown_(read_flag(model, "fuse_unk", false)) {
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const json::Value* affix = model.find(key);
    if (affix != nullptr && !affix->is_null() &&
        (affix->as<std::string>() == nullptr || !affix->as<std::string>()->empty())) {
      refuse_tokenizer(std::string("has a BPE model with a ") + key + ", which this runtime does not know");
    }
  }
  const json::Value* dropout = model.find("dropout");
  const auto* rate = dropout == nullptr ? nullptr : dropout->as<json::Number>();
  if (dropout != nullptr && !dropout->is_null() && !(rate != nullptr && rate->value == 0)) {
    refuse_tokenizer("has a BPE model with dropout, whose tokens are random");
  }
  if (read_flag(model, "byte_fallback", false)) {
    refuse_tokenizer("has a BPE model with byte_fallback, which this runtime does not know");
  }
  const auto* vocabulary = need(model, "vocab", "the BPE model").as<json::Object>();
  if (vocabulary == nullptr) refuse_tokenizer("has a vocabulary that is no object");
  vocabulary_ = Vocabulary(vocabulary->size());
  for (const auto& [token, value] : *vocabulary) {
    const auto* id = value.as<std::int64_t>();
    if (id == nullptr || *id < 0 || *id > INT32_MAX) refuse_tokenizer("has an id that is none: " + json::show(value));
    vocabulary_.add(token, *id);
  }
  for (int byte = 0; byte < 256; ++byte) {
    const auto index = static_cast<std::size_t>(byte);
    unicode::append(letter_of(byte), byte_letters_[index]);
    bytes_[index] = static_cast<std::int32_t>(vocabulary_.find(byte_letters_[index]));
  }
  const json::Value* unknown = model.find("unk_token");
  if (unknown != nullptr && unknown->as<std::string>() != nullptr) unknown_ = vocabulary_.find(*unknown->as<std::string>());
  add_merges(model);
}

void ByteLevelBpe::add_merges(const json::Value& model) {
  const auto* merges = need(model, "merges", "the BPE model").as<json::Array>();
  if (merges == nullptr) refuse_tokenizer("has merges that are no array");
  merges_.reserve(merges->size());
  std::uint32_t rank = 0;
  for (const json::Value& merge : *merges) {
    std::string left;
    std::string right;
    if (const auto* text = merge.as<std::string>()) {  // "a b", as older files have it
      const std::size_t space = text->find(' ');
      if (space != std::string::npos) left = text->substr(0, space), right = text->substr(space + 1);
    } else if (const auto* pair = merge.as<json::Array>(); pair != nullptr && pair->size() == 2) {
      if (const auto* one = (*pair)[0].as<std::string>()) left = *one;
      if (const auto* other = (*pair)[1].as<std::string>()) right = *other;
    }
    const std::int64_t first = vocabulary_.find(left);
    const std::int64_t second = vocabulary_.find(right);
    const std::int64_t both = vocabulary_.find(left + right);
    if (first < 0 || second < 0 || both < 0) {
      refuse_tokenizer("has a merge of tokens that are not in its vocabulary: number " + std::to_string(rank));
    }
    merges_[pair_key(static_cast<std::int32_t>(first), static_cast<std::int32_t>(second))] =
        Merge{rank++, static_cast<std::int32_t>(both)};
  }
}

const ByteLevelBpe::Merge* ByteLevelBpe::find_merge(std::int32_t left, std::int32_t right) const {
  const auto found = merges_.find(pair_key(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

void ByteLevelBpe::tokenize(std::string_view piece, Ids& ids) const {
  std::string prefixed;
  if (add_prefix_space_ && (piece.empty() || piece[0] != ' ')) {
    prefixed.reserve(piece.size() + 1);
    prefixed += ' ';
    prefixed += piece;
    piece = prefixed;
  }
  if (!use_regex_) {
    add_word(piece, ids);
    return;
  }
  for (std::size_t at = 0; at < piece.size();) {
    const std::size_t end = word_end(piece, at);
    add_word(piece.substr(at, end - at), ids);
    at = end;
  }
}

void ByteLevelBpe::add_word(std::string_view word, Ids& ids) const {
  if (ignore_merges_) {
    std::string letters;
    for (char byte : word) letters += byte_letters_[static_cast<unsigned char>(byte)];
    const std::int64_t id = vocabulary_.find(letters);
    if (id != Vocabulary::kNone) {
      ids.push_back(id);
      return;
    }
  }
  std::vector<std::int32_t> symbols;
  symbols.reserve(word.size());
  bool unknown_before = false;
  for (char byte : word) {
    const std::int32_t id = bytes_[static_cast<unsigned char>(byte)];
    if (id >= 0) {
      symbols.push_back(id);
    } else if (unknown_ != Vocabulary::kNone && !(fuse_unknown_ && unknown_before)) {
      symbols.push_back(static_cast<std::int32_t>(unknown_));
    }
    unknown_before = id < 0;
  }
  if (symbols.size() <= kShortWord) {
    merge_short(symbols);
  } else {
    merge_long(symbols);
  }
  ids.insert(ids.end(), symbols.begin(), symbols.end());
}

// The pair of the lowest rank is merged, of equal ones the leftmost, until none is left.
void ByteLevelBpe::merge_short(std::vector<std::int32_t>& symbols) const {
  while (symbols.size() > 1) {
    const Merge* best = nullptr;
    std::size_t place = 0;
    for (std::size_t at = 0; at + 1 < symbols.size(); ++at) {
      const Merge* merge = find_merge(symbols[at], symbols[at + 1]);
      if (merge != nullptr && (best == nullptr || merge->rank < best->rank)) best = merge, place = at;
    }
    if (best == nullptr) return;
    symbols[place] = best->id;
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(place) + 1);
  }
}

// The same with a queue of the pairs: n log n for a line of 100 KB without a space.
void ByteLevelBpe::merge_long(std::vector<std::int32_t>& symbols) const {
  struct Pair {
    std::uint32_t rank;
    std::uint32_t place;
    std::int32_t left;  // the symbols that it was made for
    std::int32_t right;
    std::int32_t id;
    bool operator<(const Pair& other) const { return rank != other.rank ? rank > other.rank : place > other.place; }
  };
  constexpr std::int32_t kGone = -1;
  constexpr std::uint32_t kEnd = UINT32_MAX;
  const auto size = static_cast<std::uint32_t>(symbols.size());
  std::vector<std::uint32_t> before(size);
  std::vector<std::uint32_t> after(size);
  std::priority_queue<Pair> queue;
  const auto push = [&](std::uint32_t place) {
    if (place == kEnd || after[place] == kEnd) return;
    const Merge* merge = find_merge(symbols[place], symbols[after[place]]);
    if (merge != nullptr) queue.push({merge->rank, place, symbols[place], symbols[after[place]], merge->id});
  };
  for (std::uint32_t at = 0; at < size; ++at) {
    before[at] = at == 0 ? kEnd : at - 1;
    after[at] = at + 1 == size ? kEnd : at + 1;
  }
  for (std::uint32_t at = 0; at < size; ++at) push(at);
  while (!queue.empty()) {
    const Pair pair = queue.top();
    queue.pop();
    const std::uint32_t right = after[pair.place];
    if (symbols[pair.place] != pair.left || right == kEnd || symbols[right] != pair.right) continue;  // merged meanwhile
    symbols[pair.place] = pair.id;
    symbols[right] = kGone;
    after[pair.place] = after[right];
    if (after[right] != kEnd) before[after[right]] = pair.place;
    push(before[pair.place]);
    push(pair.place);
  }
  symbols.erase(std::remove(symbols.begin(), symbols.end(), kGone), symbols.end());
}

}  // namespace sharcs
