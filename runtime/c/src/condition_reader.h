// The present condition of the device: pushed by the program, or read from the system (SPEC.md, section 11.6).
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "budget.h"

namespace sharcs {

// Seconds of a steady clock.
double steady_seconds();

class ConditionReader {
 public:
  // `root`: that /sys and /proc hang from; `clock`: seconds.
  explicit ConditionReader(std::string root = "", std::function<double()> clock = steady_seconds);

  // What `known` names counts from now on, and the system is not asked for it.
  void push(const sharcs_conditions& conditions);
  // The present values of what `asks` names, bits of Gauge.
  Conditions read(std::uint32_t asks);

 private:
  void poll(std::uint32_t names);
  void update();

  const std::string root_;
  const std::function<double()> clock_;
  std::mutex mutex_;
  std::uint32_t known_ = 0;  // of what was pushed
  Conditions pushed_;
  Conditions sensors_;
  Conditions now_;
  std::uint32_t asked_ = 0;
  double due_;
  std::optional<std::int64_t> events_;
};

}  // namespace sharcs
