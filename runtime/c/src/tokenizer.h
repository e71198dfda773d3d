// Text to token ids, with the artifact's own tokenizer.json (SPEC.md, section 4).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "manifest.h"
#include "tokenizer_parts.h"

namespace sharcs {

// One input as token ids, unpadded; `truncated`: tokens over max_length were cut off.
struct EncodedText {
  Ids ids;
  Ids types;
  bool truncated = false;
};

// The trunk's inputs, (rows, tokens), right padded.
struct TokenBatch {
  std::int64_t rows = 0;
  std::int64_t tokens = 0;
  Ids input_ids;
  Ids attention_mask;
  Ids token_type_ids;  // empty where the trunk takes none
};

// Set up once at load and only read afterwards, so that threads may share it.
class Tokenizer {
 public:
  // `data`: tokenizer.json. Throws SHARCS_ERROR_ARTIFACT for one that this runtime does not know or that contradicts the
  // manifest; `source` names the file.
  Tokenizer(std::string_view data, const std::string& source, const TokenizerSpec& spec, std::int64_t text_inputs);

  // Throws SHARCS_ERROR_INPUT; `name` stands for the input in its message.
  EncodedText encode(const sharcs_text* texts, std::size_t count, const std::string& name) const;

 private:
  void read(std::string_view data);
  void check_fit(const std::string& source, const TokenizerSpec& spec) const;

  std::size_t text_inputs_;
  std::size_t max_length_;
  std::unique_ptr<BertNormalizer> normalizer_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<AddedTokens> added_;
  PostProcessor post_processor_;
};

}  // namespace sharcs
