// Compression of whole blocks of 64 bytes, by the processor's own instructions where it has them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sharcs {

using Sha256State = std::uint32_t[8];
using Sha256Compress = void (*)(Sha256State& state, const std::uint8_t* blocks, std::size_t count);

extern const std::uint32_t kSha256Rounds[64];

void sha256_portable(Sha256State& state, const std::uint8_t* blocks, std::size_t count);
// nullptr if this processor has none.
Sha256Compress sha256_instructions();

}  // namespace sharcs
