#include "routing.h"

#include <algorithm>
#include <cmath>

#include "text.h"

namespace sharcs {
namespace {

[[noreturn]] void throw_not_finite(const std::vector<float>& scores) {
  std::vector<std::string> shown;
  for (float score : scores) shown.push_back(format_general(static_cast<double>(score)));
  throw_artifact("the router's scores are not finite (" + join(shown, ", ") +
                 "): the artifact is damaged or does not run on this machine; run `sharcs-edge verify` on it");
}

Route start(const float* router_logits, const Allowance& allowance) {
  if (allowance.explicit_width) return {allowance.first, Reason::explicit_width};
  if (allowance.bias.size() == 1) return {0, Reason::only_width};
  return choose_route(router_logits, allowance.bias, allowance.first, allowance.last, allowance.ceiling);
}

}  // namespace

Route choose_route(const float* router_logits, const std::vector<float>& bias, std::size_t first, std::size_t last,
                   Reason ceiling) {
  std::vector<float> scores(bias.size());
  for (std::size_t i = 0; i < bias.size(); ++i) scores[i] = router_logits[i] + bias[i];
  if (!all_finite(scores.data(), scores.size())) throw_not_finite(scores);
  // Of equal scores the first, which is the narrower width.
  const auto best = [&](std::size_t from, std::size_t to) {
    const auto begin = scores.begin();
    const auto found =
        std::max_element(begin + static_cast<std::ptrdiff_t>(from), begin + static_cast<std::ptrdiff_t>(to) + 1);
    return static_cast<std::size_t>(found - begin);
  };
  const std::size_t free = best(0, scores.size() - 1);
  if (first <= free && free <= last) return {free, Reason::router};
  return {best(first, last), free < first ? Reason::min_width : ceiling};
}

bool all_finite(const float* values, std::size_t count) {
  return std::all_of(values, values + count, [](float value) { return std::isfinite(value); });
}

Escalation::Escalation(const float* router_logits, const Allowance& allowance, const Startable* startable)
    : allowance_(&allowance), startable_(startable), route_(start(router_logits, allowance)) {
  ran_.reserve(allowance.bias.size());
  while (startable_ != nullptr && route_.index > allowance.first && !startable_->startable(route_.index)) {
    route_ = {route_.index - 1, Reason::deadline};
  }
}

bool Escalation::cut_short() const {
  return route_.index < allowance_->thresholds.size() && route_.reason != Reason::router &&
         route_.reason != Reason::escalated && route_.reason != Reason::only_width;
}

bool Escalation::goes_on(double confidence) {
  const std::size_t index = route_.index;
  ran_.push_back(index);
  const bool widest = index == allowance_->thresholds.size();
  if (widest || allowance_->explicit_width || !(confidence < allowance_->thresholds[index])) return false;
  if (index == allowance_->last) {
    route_.reason = allowance_->ceiling;
    return false;
  }
  if (startable_ != nullptr && !startable_->startable(index + 1)) {
    route_.reason = Reason::deadline;
    return false;
  }
  route_ = {index + 1, Reason::escalated};
  return true;
}

}  // namespace sharcs
