// NumPy's .npz: a zip archive of arrays (SPEC.md, section 6).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace sharcs {

struct NpyArray {
  std::string dtype;  // as NumPy writes it: "<i8", "<f4", "<U12"
  std::vector<std::size_t> shape;
  std::string data;  // little-endian, in C order

  std::size_t size() const;
};

// Arrays by name. Throws std::invalid_argument with one clear sentence.
std::map<std::string, NpyArray> read_npz(std::string_view data);

}  // namespace sharcs
