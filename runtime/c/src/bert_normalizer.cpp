#include <algorithm>

#include "tokenizer_parts.h"
#include "unicode.h"

namespace sharcs {

using namespace unicode;

BertNormalizer::BertNormalizer(const json::Value& json)
    : clean_text_(read_flag(json, "clean_text", true)),
      chinese_(read_flag(json, "handle_chinese_chars", true)),
      strip_accents_(false),
      lowercase_(read_flag(json, "lowercase", true)) {
  const json::Value* strip = json.find("strip_accents");
  strip_accents_ = strip == nullptr || strip->is_null() ? lowercase_ : read_flag(json, "strip_accents", true);
}

// The same without accents and Chinese characters: most texts, in one pass.
std::string BertNormalizer::normalize_ascii(std::string_view text) const {
  std::string result;
  result.reserve(text.size());
  for (char letter : text) {
    const std::uint8_t flags = flags_of(static_cast<unsigned char>(letter));
    if (clean_text_ && (flags & kRemoved) != 0) continue;
    if (clean_text_ && (flags & kSpace) != 0) letter = ' ';
    const bool upper = letter >= 'A' && letter <= 'Z';
    result += lowercase_ && upper ? static_cast<char>(letter - 'A' + 'a') : letter;
  }
  return result;
}

std::string BertNormalizer::normalize(std::string_view text) const {
  const auto is_ascii = [](char letter) { return static_cast<unsigned char>(letter) < 128; };
  if (std::all_of(text.begin(), text.end(), is_ascii)) return normalize_ascii(text);
  std::u32string codes;
  codes.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    char32_t code = next(text, at);
    const std::uint8_t flags = flags_of(code);
    if (clean_text_ && (flags & kRemoved) != 0) continue;
    if (clean_text_ && (flags & kSpace) != 0) code = ' ';
    if (code < 128) {
      codes += code;
      continue;
    }
    const bool alone = chinese_ && is_chinese(code);
    if (alone) codes += ' ';
    codes += code;
    if (alone) codes += ' ';
  }
  if (strip_accents_) {
    codes = decompose(codes);
    const auto mark = [](char32_t code) { return (flags_of(code) & kNonspacingMark) != 0; };
    codes.erase(std::remove_if(codes.begin(), codes.end(), mark), codes.end());
  }
  if (!lowercase_) return encode(codes);
  std::u32string lower;
  lower.reserve(codes.size());
  for (char32_t code : codes) append_lower(code, lower);
  return encode(lower);
}

}  // namespace sharcs
