// golden.npz: real inputs with torch's answers, so that any device can check itself (SPEC.md, section 6).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "artifact.h"
#include "tokenizer.h"

namespace sharcs {

// R rows, T tokens, W widths, C labels; rows are right padded.
struct Golden {
  TokenBatch tokens;                 // (R, T)
  std::vector<float> logits;         // (W, R, C)
  std::vector<std::int64_t> routes;  // (R)
  std::vector<std::string> texts;    // (R, text_inputs), UTF-8

  std::size_t rows() const { return routes.size(); }
  // Tokens of a row without its padding.
  std::size_t length(std::size_t row) const;
  TokenBatch row(std::size_t row) const;
  // Throws SHARCS_ERROR_ARTIFACT naming the array that is missing or not what the manifest asks for.
  static Golden load(const Artifact& artifact);
};

}  // namespace sharcs
