// What the logits of one input mean, and how sure they are (SPEC.md, section 8).
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "manifest.h"

namespace sharcs {

// What one tail said.
struct Outcome {
  double confidence = 0;            // for the decision, in binary64
  bool has_confidence = false;      // for the prediction: a value that was compared with no other has none
  std::size_t label = 0;            // classification
  std::vector<std::size_t> labels;  // multi-label: those that hold
  double value = 0;                 // regression
  std::vector<double> scores;       // not for regression
};

// `logits`: of one input, finite. `before`: what the tail that ran just before said, or nullptr. `value_scale`: for
// regression.
Outcome read_outcome(Task task, const float* logits, std::size_t count, const Outcome* before,
                     const std::optional<double>& value_scale);

}  // namespace sharcs
