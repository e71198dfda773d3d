// golden.npz: any bytes are read or refused.
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string_view>

#include "npz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    sharcs::read_npz({reinterpret_cast<const char*>(data), size});
  } catch (const std::invalid_argument&) {
  }
  return 0;
}
