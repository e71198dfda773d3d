// What this machine is and how it is doing, read from /proc and /sys; what it does not offer is nothing, never a guess.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "json.h"

namespace sharcs {

// Of the kind of device, what a saved latency table must share: its `device` facts as profiling writes them.
struct Device {
  std::string model;
  std::string machine;
  std::vector<std::pair<std::string, std::int64_t>> parts;  // kinds of core, and how many
  std::int64_t cores = 0;

  static Device read(const std::string& root);
  bool is_of(const json::Value& facts) const;
};

// Each takes the folder that /proc and /sys hang from ("" for those of the system).
std::optional<double> read_battery(const std::string& root);      // 0 to 1
std::optional<double> read_temperature(const std::string& root);  // of the hottest zone, Celsius
std::optional<bool> read_background(const std::string& root);
// Held back at this moment or, for x86, since the reading whose count of events is in `events`, which is updated.
std::optional<bool> read_throttled(const std::string& root, std::optional<std::int64_t>& events);

}  // namespace sharcs
