#include "controller.h"

#include <algorithm>

namespace sharcs {
namespace {

constexpr double kSpan = 12.0;
constexpr double kDebtLimit = 16.0;
constexpr double kPause = 3.0;
constexpr double kLongestPause = 100.0;
constexpr double kRare = 1000.0;

}  // namespace

std::size_t Controller::choose(const std::vector<double>& costs) {
  const double cost = costs.front() + std::max(0.5 - debt_ / (2.0 * kSpan), 0.0) * (costs.back() - costs.front());
  const auto above = std::upper_bound(costs.begin(), costs.end(), cost);
  const std::size_t below = static_cast<std::size_t>(above - costs.begin()) - 1;
  if (below >= costs.size() - 1) return costs.size() - 1;
  carry_ = carry_ + (cost - costs[below]) / (costs[below + 1] - costs[below]);
  if (carry_ < 1.0) return below;
  carry_ = carry_ - 1.0;
  return below + 1;
}

void Controller::settle(double milliseconds, double target) {
  double excess = milliseconds / target - 1.0;
  since_ = std::min(since_ + 1.0, kRare);
  if (excess > kPause) {
    const double length = std::min(excess - kPause, kLongestPause);
    gap_ = 0.5 * (gap_ + since_);
    since_ = 0;
    usual_ = 0.5 * (usual_ + std::min(length, 3.0 * usual_));
    if (debt_ < kSpan) arrears_ = arrears_ + length;
    excess = kPause;
  }
  const double repaid = std::max(arrears_ / kRare, std::min(arrears_, 2.0 * usual_) / gap_);
  arrears_ = arrears_ - repaid;
  debt_ = std::min(std::max((debt_ + excess) + repaid, -kDebtLimit), kDebtLimit);
}

}  // namespace sharcs
