// How long a tail will take, for deadlines (SPEC.md, section 12.3).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "manifest.h"

namespace sharcs {

// A tail's time on the quiet machine times how slow the machine is by now. Not thread-safe.
class Forecast {
 public:
  // `times`: ms of the trunk and of each tail, for each of the ascending `lengths`; `macs`: of these graphs.
  Forecast(std::vector<std::int64_t> lengths, std::vector<std::vector<double>> times, std::vector<Macs> macs);

  double slowness() const { return mean_ + 4.0 * deviation_; }
  // Milliseconds that the tail of width `index` will hardly exceed.
  double tail_ms(std::size_t index, std::int64_t tokens) const { return slowness() * expected(index + 1, tokens); }
  // Enters what the trunk and the tails `ran` took together for an input.
  void learn(const std::vector<std::size_t>& ran, std::int64_t tokens, double milliseconds);

 private:
  double expected(std::size_t graph, std::int64_t tokens) const;

  std::vector<std::int64_t> lengths_;
  std::vector<std::vector<double>> times_;
  std::vector<Macs> macs_;
  double mean_ = 1.0;
  double deviation_ = 0.125;
};

}  // namespace sharcs
