#include "exact_sum.h"

#include <cmath>
#include <cstddef>
#include <utility>

namespace sharcs {
namespace {

constexpr std::size_t kUsual = 8;  // partials of probabilities are fewer

}  // namespace

double exact_sum(const std::vector<double>& values) {
  std::vector<double> partials;  // that do not overlap, ascending in size
  partials.reserve(kUsual);
  for (double x : values) {
    std::size_t kept = 0;
    for (double y : partials) {
      if (std::abs(x) < std::abs(y)) std::swap(x, y);
      const double high = x + y;
      const double low = y - (high - x);
      if (low != 0) partials[kept++] = low;
      x = high;
    }
    partials.resize(kept);
    partials.push_back(x);
  }
  if (partials.empty()) return 0;
  std::size_t n = partials.size() - 1;
  double sum = partials[n];
  double low = 0;
  while (n > 0 && low == 0) {
    const double x = sum;
    const double y = partials[--n];
    sum = x + y;
    low = y - (sum - x);
  }
  // Half way between two numbers, what is left decides the rounding.
  if (n > 0 && ((low < 0 && partials[n - 1] < 0) || (low > 0 && partials[n - 1] > 0))) {
    const double twice = low * 2;
    const double rounded = sum + twice;
    if (twice == rounded - sum) sum = rounded;
  }
  return sum;
}

}  // namespace sharcs
