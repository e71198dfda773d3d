// Texts: any bytes are encoded or refused, by every kind of tokenizer.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "tokenizer.h"

namespace {

sharcs::Tokenizer open(const char* name, const char* pad, std::int64_t id) {
  std::ifstream stream(std::string(GOLDEN "/") + name, std::ios::binary);
  const std::string data{std::istreambuf_iterator<char>(stream), {}};
  return sharcs::Tokenizer(data, name, sharcs::TokenizerSpec{{}, 32, id, pad, true}, 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const sharcs::Tokenizer kTokenizers[] = {
      open("tokenizer_bert_uncased.json", "[PAD]", 0), open("tokenizer_bert_cased.json", "[PAD]", 0),
      open("tokenizer_roberta.json", "<pad>", 1), open("tokenizer_byte_level.json", "<pad>", 1)};
  const sharcs_text text{reinterpret_cast<const char*>(data), size};
  for (const sharcs::Tokenizer& tokenizer : kTokenizers) {
    try {
      const sharcs::EncodedText encoded = tokenizer.encode(&text, 1, "the text");
      if (encoded.ids.size() > 32 || encoded.ids.size() != encoded.types.size()) std::abort();
    } catch (const sharcs::Error&) {
    }
  }
  return 0;
}
