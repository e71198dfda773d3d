// What Hugging Face `tokenizers` does with each character, and UTF-8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace sharcs::unicode {

enum Flag : std::uint8_t {
  kRemoved = 1,          // BertNormalizer's clean_text drops it
  kSpace = 2,            // white space of BertPreTokenizer
  kPunctuation = 4,      // stands alone in BertPreTokenizer
  kLetter = 8,           // \p{L} of ByteLevel's pattern
  kNumber = 16,          // \p{N}
  kRegexSpace = 32,      // \s
  kNonspacingMark = 64,  // BertNormalizer's strip_accents drops it
  kWord = 128            // \w, next to an added token that must be a single word
};
std::uint8_t flags_of(char32_t code);
bool is_chinese(char32_t code);
std::uint8_t combining_class(char32_t code);

// Appends the canonical decomposition, or the lower case, of one character.
void append_decomposed(char32_t code, std::u32string& out);
void append_lower(char32_t code, std::u32string& out);
// Canonical decomposition of a text (NFD), canonical order included.
std::u32string decompose(const std::u32string& text);

// The character that begins at `at`, which moves behind it. `text`: valid UTF-8.
char32_t next(std::string_view text, std::size_t& at);
// The character that ends at `at`, which moves to its begin.
char32_t previous(std::string_view text, std::size_t& at);
void append(char32_t code, std::string& out);
std::u32string decode(std::string_view text);
std::string encode(const std::u32string& text);

// The offset of the first byte that is not UTF-8, or npos.
std::size_t find_invalid(std::string_view text);
// As Python's str.isspace, for valid UTF-8: not empty and only white space.
bool is_only_space(std::string_view text);

}  // namespace sharcs::unicode
