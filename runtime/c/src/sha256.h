// SHA-256 (FIPS 180-4).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "sha256_blocks.h"

namespace sharcs {

class Sha256 {
 public:
  // `portable`: without the processor's own instructions.
  explicit Sha256(bool portable = false);
  void update(const void* data, std::size_t size);
  // 64 lower-case hex digits; the object must not be used afterwards.
  std::string finish();

 private:
  Sha256Compress compress_;
  Sha256State state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::uint8_t, 64> pending_{};
  std::uint64_t size_ = 0;
};

std::string sha256(std::string_view data);

}  // namespace sharcs
