// tokenizer.json: any bytes are read or refused, and what was read encodes texts.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const char* pad : {"[PAD]", "<pad>"}) {
    for (std::int64_t id : {0, 1}) {
      try {
        const sharcs::TokenizerSpec spec{{}, 16, id, pad, true};
        const sharcs::Tokenizer tokenizer(text, "tokenizer.json", spec, 2);
        const sharcs_text pair[] = {{"T\xc3\xbcrn on [MASK] <mask> the light's 12", 35},
                                    {"\xe4\xb8\xad\xe6\x96\x87 a\0b", 10}};
        tokenizer.encode(pair, 2, "the text");
      } catch (const sharcs::Error&) {
      }
    }
  }
  return 0;
}
