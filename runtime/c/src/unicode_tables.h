// Tables that tools/make_unicode_tables.py writes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sharcs::unicode {

struct Span {
  char32_t first;
  char32_t last;
};
struct Combining {
  char32_t code;
  std::uint8_t level;
};
// The result of a code point: from `begin` in the pool to the `begin` of the next entry.
struct Expansion {
  char32_t code;
  std::uint32_t begin;
};

extern const std::uint16_t kBlocks[];
extern const std::uint8_t kFlags[];
extern const Span kChinese[];
extern const std::size_t kChineseSize;
extern const Combining kCombining[];
extern const std::size_t kCombiningSize;
extern const Expansion kDecomposition[];
extern const char32_t kDecompositionPool[];
extern const std::size_t kDecompositionSize;
extern const Expansion kLower[];
extern const char32_t kLowerPool[];
extern const std::size_t kLowerSize;

}  // namespace sharcs::unicode
