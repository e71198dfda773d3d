// The way of one input through the tails: where it starts, and when it goes on to a wider one (SPEC.md, section 5).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "controller.h"
#include "error.h"

namespace sharcs {

// The numbers of the C interface.
enum class Reason : std::int32_t {
  router = SHARCS_REASON_ROUTER,
  explicit_width = SHARCS_REASON_EXPLICIT,
  only_width = SHARCS_REASON_ONLY_WIDTH,
  escalated = SHARCS_REASON_ESCALATED,
  min_width = SHARCS_REASON_MIN_WIDTH,
  max_width = SHARCS_REASON_MAX_WIDTH,
  memory = SHARCS_REASON_MEMORY,
  deadline = SHARCS_REASON_DEADLINE
};

// What one input may use. W: number of widths.
struct Allowance {
  std::size_t first = 0;  // indices of the widths that may run, inclusive
  std::size_t last = 0;
  Reason ceiling = Reason::max_width;  // what forbids the widths above `last`
  bool explicit_width = false;         // the budget fixes the width
  std::optional<std::size_t> point;    // of the operating points; nothing where the artifact has none
  std::vector<float> bias;             // (W), added to the router logits
  std::vector<double> thresholds;      // (W - 1), below which a tail's confidence hands on
  std::optional<double> deadline_ms;
  std::optional<double> memory_mb;
  std::optional<double> target_ms;  // what the mean is held to
  bool promised = false;            // the input must be answered as its operating point says
  std::shared_ptr<Controller> controller;
};

// Whether a tail is expected to end by the deadline of an input.
class Startable {
 public:
  virtual ~Startable() = default;
  virtual bool startable(std::size_t index) const = 0;
};

struct Route {
  std::size_t index;
  Reason reason;
};
// Where an input starts; `router_logits`, `bias`: (W). Throws SHARCS_ERROR_ARTIFACT for scores that are not finite.
Route choose_route(const float* router_logits, const std::vector<float>& bias, std::size_t first, std::size_t last,
                   Reason ceiling);
bool all_finite(const float* values, std::size_t count);

class Escalation {
 public:
  // `startable`: nullptr without a deadline. Both must outlive this.
  Escalation(const float* router_logits, const Allowance& allowance, const Startable* startable);

  // The tail that is to run now, or that answers; and why that one.
  std::size_t index() const { return route_.index; }
  Reason reason() const { return route_.reason; }
  const std::vector<std::size_t>& ran() const { return ran_; }
  // A limit, not the operating point, gave the answer to a width that is not the widest.
  bool cut_short() const;
  // The tail `index` ran and is this sure of its answer: true if the next wider one, now `index`, must run.
  bool goes_on(double confidence);

 private:
  const Allowance* allowance_;
  const Startable* startable_;
  Route route_;
  std::vector<std::size_t> ran_;
};

}  // namespace sharcs
