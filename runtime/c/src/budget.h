// What the caller allows per input (SPEC.md, section 11). A budget is a value: equal ones mean the same.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "error.h"

namespace sharcs {

// How the device is doing; nothing: unknown.
struct Conditions {
  std::optional<double> battery;      // share of the charge
  std::optional<double> temperature;  // of the hottest zone, Celsius
  std::optional<bool> throttled;
  std::optional<bool> background;

  bool operator==(const Conditions& other) const {
    return battery == other.battery && temperature == other.temperature && throttled == other.throttled &&
           background == other.background;
  }
};

// Bits of the fields of Conditions.
enum Gauge : std::uint32_t {
  kBattery = SHARCS_KNOWN_BATTERY,
  kTemperature = SHARCS_KNOWN_TEMPERATURE,
  kThrottled = SHARCS_KNOWN_THROTTLED,
  kBackground = SHARCS_KNOWN_BACKGROUND
};

// Limits on one input, or on the mean over inputs.
struct Limits {
  enum Kind { width, min_width, max_width, mean_ms, deadline_ms, memory_mb, max_drop, energy_mj, kinds };

  std::array<std::optional<double>, kinds> values;

  const std::optional<double>& operator[](Kind kind) const { return values[kind]; }
  bool operator==(const Limits& other) const { return values == other.values; }
  // Of each limit the tightest that any source has.
  void tighten(const Limits& other);
};

// Limits that hold as well while all of the conditions do.
struct Rule {
  Limits limits;
  std::optional<double> battery_below, battery_above, temperature_below, temperature_above;
  std::optional<bool> throttled, background;

  bool holds(const Conditions& now) const;
  // Of Conditions, those that decide.
  std::uint32_t asks() const;
  bool operator==(const Rule& other) const;
};

struct Budget {
  Limits limits;
  std::optional<double> watts;
  std::vector<Rule> rules;

  // Throws SHARCS_ERROR_USAGE or SHARCS_ERROR_WIDTH for one that cannot be.
  static Budget make(const sharcs_budget_options& options);

  bool operator==(const Budget& other) const {
    return limits == other.limits && watts == other.watts && rules == other.rules;
  }
  std::uint32_t asks() const;
  bool sets(Limits::Kind kind) const;  // the budget or any of its rules
  // Those in force under these conditions.
  Limits in_force(const Conditions& now) const;

  // Every two of the budget and its rules that can hold together, one with itself included, as the tightest of both and
  // their names for a message. What is true of all pairs is true of everything that can be in force.
  struct Pair {
    std::string names;
    const Limits* one;
    const Limits* other;
  };
  std::vector<Pair> pairs() const;
};

// First and last of the artifact's widths that `limits` allow, inclusive; SHARCS_ERROR_WIDTH if there is none.
std::pair<std::size_t, std::size_t> allowed_widths(const Limits& limits, const std::vector<double>& widths);

// Throws SHARCS_ERROR_USAGE unless a pushed condition can be.
void check_conditions(const sharcs_conditions& conditions);
// Throws SHARCS_ERROR_USAGE for a field that may come to mean something in a newer version, and is not 0.
void check_reserved(std::int32_t reserved);

}  // namespace sharcs
