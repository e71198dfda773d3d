// Holds the mean time per input (SPEC.md, section 12.1, which fixes the arithmetic so that every runtime decides alike).
#pragma once

#include <cstddef>
#include <vector>

namespace sharcs {

// The account of one budget. Pure: no clock, no randomness.
class Controller {
 public:
  // The operating point of the next input; `costs`: of the points that may be used, ascending.
  std::size_t choose(const std::vector<double>& costs);
  // Enters what one input took.
  void settle(double milliseconds, double target);
  // The cheapest point runs and still takes longer than the target.
  bool exhausted() const { return debt_ >= 12.0; }
  double debt() const { return debt_; }

 private:
  double debt_ = 0;      // in targets; above 0, inputs took too long
  double arrears_ = 0;   // of pauses, to be added to the debt
  double usual_ = 1;     // size of a pause
  double gap_ = 1000;    // inputs between pauses
  double since_ = 1000;  // inputs since the last pause
  double carry_ = 0;     // of the error diffusion between two points
};

}  // namespace sharcs
