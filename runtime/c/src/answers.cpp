#include "answers.h"

#include <algorithm>
#include <cmath>

#include "exact_sum.h"

namespace sharcs {
namespace {

double sigmoid(double value) {
  const double power = std::exp(-std::abs(value));
  return (value >= 0 ? 1.0 : power) / (1.0 + power);
}

Outcome read_class(const float* logits, std::size_t count) {
  Outcome outcome;
  const float* top = std::max_element(logits, logits + count);  // the first of equals
  outcome.label = static_cast<std::size_t>(top - logits);
  outcome.scores.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    outcome.scores[i] = std::exp(static_cast<double>(logits[i]) - static_cast<double>(*top));
  }
  const double total = exact_sum(outcome.scores);
  for (double& score : outcome.scores) score = score / total;
  outcome.confidence = 1.0 / total;
  outcome.has_confidence = true;
  return outcome;
}

Outcome read_labels(const float* logits, std::size_t count) {
  Outcome outcome;
  double least = std::abs(static_cast<double>(logits[0]));
  for (std::size_t i = 0; i < count; ++i) {
    const auto value = static_cast<double>(logits[i]);
    if (value >= 0) outcome.labels.push_back(i);
    outcome.scores.push_back(sigmoid(value));
    least = std::min(least, std::abs(value));
  }
  outcome.confidence = sigmoid(least);
  outcome.has_confidence = true;
  return outcome;
}

Outcome read_value(float logit, const Outcome* before, const std::optional<double>& scale) {
  Outcome outcome;
  outcome.value = static_cast<double>(logit);
  outcome.has_confidence = before != nullptr && scale.has_value();
  if (outcome.has_confidence) outcome.confidence = std::exp(-std::abs(outcome.value - before->value) / *scale);
  return outcome;
}

}  // namespace

Outcome read_outcome(Task task, const float* logits, std::size_t count, const Outcome* before,
                     const std::optional<double>& value_scale) {
  if (task == Task::classification) return read_class(logits, count);
  if (task == Task::multi_label) return read_labels(logits, count);
  return read_value(logits[0], before, value_scale);
}

}  // namespace sharcs
