#include "unicode.h"

#include <algorithm>

#include "unicode_tables.h"

namespace sharcs::unicode {
namespace {

// Hangul syllables are decomposed by arithmetic (Unicode, section 3.12).
constexpr char32_t kHangul = 0xac00;
constexpr char32_t kHangulCount = 11172;
constexpr char32_t kLead = 0x1100;
constexpr char32_t kVowel = 0x1161;
constexpr char32_t kTrail = 0x11a7;

bool append_expansion(char32_t code, const Expansion* table, std::size_t size, const char32_t* pool, std::u32string& out) {
  const Expansion* end = table + size;
  const Expansion* found =
      std::lower_bound(table, end, code, [](const Expansion& entry, char32_t wanted) { return entry.code < wanted; });
  if (found == end || found->code != code) return false;
  out.append(pool + found->begin, pool + (found + 1)->begin);
  return true;
}

// The white space of Python's str.isspace that is not in ASCII.
bool is_python_space(char32_t code) {
  return (code >= 9 && code <= 13) || (code >= 28 && code <= 32) || code == 0x85 || code == 0xa0 || code == 0x1680 ||
         (code >= 0x2000 && code <= 0x200a) || code == 0x2028 || code == 0x2029 || code == 0x202f || code == 0x205f ||
         code == 0x3000;
}

}  // namespace

std::uint8_t flags_of(char32_t code) { return kFlags[kBlocks[code >> 6] * 64u + (code & 63)]; }

bool is_chinese(char32_t code) {
  const Span* end = kChinese + kChineseSize;
  const Span* found =
      std::lower_bound(kChinese, end, code, [](const Span& span, char32_t wanted) { return span.last < wanted; });
  return found != end && found->first <= code;
}

std::uint8_t combining_class(char32_t code) {
  const Combining* end = kCombining + kCombiningSize;
  const Combining* found =
      std::lower_bound(kCombining, end, code, [](const Combining& entry, char32_t wanted) { return entry.code < wanted; });
  return found != end && found->code == code ? found->level : std::uint8_t{0};
}

void append_decomposed(char32_t code, std::u32string& out) {
  if (code < 128) {
    out += code;
  } else if (code >= kHangul && code < kHangul + kHangulCount) {
    const char32_t index = code - kHangul;
    out += kLead + index / 588;
    out += kVowel + index % 588 / 28;
    if (index % 28 != 0) out += kTrail + index % 28;
  } else if (!append_expansion(code, kDecomposition, kDecompositionSize, kDecompositionPool, out)) {
    out += code;
  }
}

void append_lower(char32_t code, std::u32string& out) {
  if (code < 128) {
    out += code >= 'A' && code <= 'Z' ? code + ('a' - 'A') : code;
  } else if (!append_expansion(code, kLower, kLowerSize, kLowerPool, out)) {
    out += code;
  }
}

std::u32string decompose(const std::u32string& text) {
  std::u32string result;
  result.reserve(text.size());
  for (char32_t code : text) append_decomposed(code, result);
  for (std::size_t begin = 0; begin < result.size();) {
    if (result[begin] < 0x300 || combining_class(result[begin]) == 0) {
      ++begin;
      continue;
    }
    std::size_t end = begin + 1;
    while (end < result.size() && combining_class(result[end]) != 0) ++end;
    std::stable_sort(result.begin() + static_cast<std::ptrdiff_t>(begin), result.begin() + static_cast<std::ptrdiff_t>(end),
                     [](char32_t a, char32_t b) { return combining_class(a) < combining_class(b); });
    begin = end;
  }
  return result;
}

char32_t next(std::string_view text, std::size_t& at) {
  const auto byte = [&](std::size_t index) { return static_cast<char32_t>(static_cast<unsigned char>(text[index])); };
  const char32_t first = byte(at);
  if (first < 0x80) return at += 1, first;
  if (first < 0xe0) return at += 2, (first & 31) << 6 | (byte(at - 1) & 63);
  if (first < 0xf0) return at += 3, (first & 15) << 12 | (byte(at - 2) & 63) << 6 | (byte(at - 1) & 63);
  at += 4;
  return (first & 7) << 18 | (byte(at - 3) & 63) << 12 | (byte(at - 2) & 63) << 6 | (byte(at - 1) & 63);
}

char32_t previous(std::string_view text, std::size_t& at) {
  do {
    --at;
  } while ((static_cast<unsigned char>(text[at]) & 0xc0) == 0x80);
  std::size_t place = at;
  return next(text, place);
}

void append(char32_t code, std::string& out) {
  const auto put = [&](char32_t byte) { out += static_cast<char>(byte); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xc0 | code >> 6), put(0x80 | (code & 63));
  } else if (code < 0x10000) {
    put(0xe0 | code >> 12), put(0x80 | (code >> 6 & 63)), put(0x80 | (code & 63));
  } else {
    put(0xf0 | code >> 18), put(0x80 | (code >> 12 & 63)), put(0x80 | (code >> 6 & 63)), put(0x80 | (code & 63));
  }
}

std::u32string decode(std::string_view text) {
  std::u32string result;
  result.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) result += next(text, at);
  return result;
}

std::string encode(const std::u32string& text) {
  std::string result;
  result.reserve(text.size());
  for (char32_t code : text) append(code, result);
  return result;
}

std::size_t find_invalid(std::string_view text) {
  const auto byte = [&](std::size_t index) { return static_cast<unsigned char>(text[index]); };
  for (std::size_t at = 0; at < text.size();) {
    const unsigned char first = byte(at);
    if (first < 0x80) {
      ++at;
      continue;
    }
    const std::size_t size = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
    if (size == 0 || text.size() - at < size) return at;
    for (std::size_t index = at + 1; index < at + size; ++index) {
      if ((byte(index) & 0xc0) != 0x80) return at;
    }
    std::size_t place = at;
    const char32_t code = next(text, place);
    const bool too_long = (size == 3 && code < 0x800) || (size == 4 && code < 0x10000);
    if (too_long || (code >= 0xd800 && code < 0xe000) || code > 0x10ffff) return at;
    at += size;
  }
  return std::string_view::npos;
}

bool is_only_space(std::string_view text) {
  if (text.empty()) return false;
  for (std::size_t at = 0; at < text.size();) {
    if (!is_python_space(next(text, at))) return false;
  }
  return true;
}

}  // namespace sharcs::unicode
