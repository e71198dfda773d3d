#include "forecast.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "exact_sum.h"

namespace sharcs {

Forecast::Forecast(std::vector<std::int64_t> lengths, std::vector<std::vector<double>> times, std::vector<Macs> macs)
    : lengths_(std::move(lengths)), times_(std::move(times)), macs_(std::move(macs)) {}

void Forecast::learn(const std::vector<std::size_t>& ran, std::int64_t tokens, double milliseconds) {
  std::vector<double> times{expected(0, tokens)};
  for (std::size_t index : ran) times.push_back(expected(index + 1, tokens));
  const double ratio = std::min(milliseconds / exact_sum(times), 2.0 * slowness());
  // The gains of RFC 6298: 1/4 for the deviation, 1/8 for the mean.
  deviation_ += 0.25 * (std::abs(ratio - mean_) - deviation_);
  mean_ += 0.125 * (ratio - mean_);
}

double Forecast::expected(std::size_t graph, std::int64_t tokens) const {
  const std::vector<double>& times = times_[graph];
  const auto place = static_cast<std::size_t>(std::lower_bound(lengths_.begin(), lengths_.end(), tokens) - lengths_.begin());
  if (place == 0) return times.front();
  if (place == lengths_.size()) {
    const double known = macs_[graph].count(lengths_.back());
    const double growth =
        known != 0 ? macs_[graph].count(tokens) / known : static_cast<double>(tokens) / static_cast<double>(lengths_.back());
    return times.back() * growth;
  }
  const double share =
      static_cast<double>(tokens - lengths_[place - 1]) / static_cast<double>(lengths_[place] - lengths_[place - 1]);
  return times[place - 1] + share * (times[place] - times[place - 1]);
}

}  // namespace sharcs
