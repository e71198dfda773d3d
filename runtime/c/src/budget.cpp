#include "budget.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include "manifest.h"
#include "text.h"

namespace sharcs {
namespace {

struct Allowed {
  const char* name;
  double low;
  double high;
  bool above_low;
  const char* expected;
};

constexpr std::uint32_t kAllConditions = SHARCS_HAS_BATTERY_BELOW | SHARCS_HAS_BATTERY_ABOVE | SHARCS_HAS_TEMPERATURE_BELOW |
                                         SHARCS_HAS_TEMPERATURE_ABOVE | SHARCS_HAS_THROTTLED | SHARCS_HAS_BACKGROUND;
constexpr double kLarge = 1e12;  // far beyond any limit in its unit, far inside binary64
constexpr const char* kWidth = "a fraction above 0 and up to 1, such as 0.5";
constexpr const char* kMilliseconds = "milliseconds above 0, such as 4.5";
constexpr const char* kBatteryShare = "a share of the full battery from 0 to 1, such as 0.2";
constexpr const char* kCelsius = "degrees Celsius, such as 70";
constexpr Allowed kAllowed[Limits::kinds] = {
    {"width", 0, 1, true, kWidth},
    {"min_width", 0, 1, true, kWidth},
    {"max_width", 0, 1, true, kWidth},
    {"mean_ms", 0, kLarge, true, kMilliseconds},
    {"deadline_ms", 0, kLarge, true, kMilliseconds},
    {"memory_mb", 0, kLarge, true, "megabytes above 0, such as 64"},
    {"max_drop", 0, 1, false, "a share from 0 to 1, such as 0.01"},
    {"energy_mj", 0, kLarge, true, "millijoules above 0, such as 12"},
};

void check(const Allowed& allowed, const std::optional<double>& value) {
  if (!value) return;
  const bool holds = std::isfinite(*value) && *value >= allowed.low && *value <= allowed.high &&
                     !(allowed.above_low && *value == allowed.low);
  if (!holds) throw_usage(std::string(allowed.name) + " is " + format_general(*value) + "; expected " + allowed.expected);
}

void check(const Limits& limits) {
  for (int kind = 0; kind < Limits::kinds; ++kind) check(kAllowed[kind], limits.values[static_cast<std::size_t>(kind)]);
  const auto& [width, low, high] = std::tie(limits[Limits::width], limits[Limits::min_width], limits[Limits::max_width]);
  if (width && (low || high)) {
    throw_usage("width fixes the route and cannot be combined with min_width or max_width; leave one out");
  }
  if (low && high && *low > *high) {
    throw_width("min_width " + format_general(*low) + " is above max_width " + format_general(*high) +
                ", so that no width is allowed; swap or widen them");
  }
}

std::optional<double> given(double value) { return value == 0 ? std::nullopt : std::optional(value); }

// Refuses bits that only a newer version knows.
void check_bits(std::uint32_t bits, std::uint32_t known, const char* name) {
  if ((bits & ~known) == 0) return;
  throw_usage(std::string(name) + " is " + std::to_string(bits) + "; expected a sum of the constants that " +
              "sharcs_edge.h lists for it, up to " + std::to_string(known));
}

Limits read_limits(const sharcs_limits& from) {
  check_reserved(from.reserved);
  Limits limits;
  limits.values = {given(from.width),       given(from.min_width), given(from.max_width), given(from.mean_ms),
                   given(from.deadline_ms), given(from.memory_mb), std::nullopt,          given(from.energy_mj)};
  if (from.has_max_drop != 0) limits.values[Limits::max_drop] = from.max_drop;
  return limits;
}

// The open interval that a rule asks a gauge to lie in.
using Span = std::pair<double, double>;
Span span(const std::optional<double>& above, const std::optional<double>& below) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  return {above.value_or(-kInfinity), below.value_or(kInfinity)};
}

bool overlap(const Span& one, const Span& other) {
  return std::max(one.first, other.first) < std::min(one.second, other.second);
}

bool agree(const std::optional<bool>& one, const std::optional<bool>& other) { return !one || !other || *one == *other; }

// Whether some condition of the device lets both rules hold.
bool together(const Rule& one, const Rule& other) {
  return overlap(span(one.battery_above, one.battery_below), span(other.battery_above, other.battery_below)) &&
         overlap(span(one.temperature_above, one.temperature_below),
                 span(other.temperature_above, other.temperature_below)) &&
         agree(one.throttled, other.throttled) && agree(one.background, other.background);
}

Rule read_rule(const sharcs_rule& from) {
  check_reserved(from.reserved);
  check_bits(from.conditions, kAllConditions, "conditions");
  Rule rule{read_limits(from.limits), {}, {}, {}, {}, {}, {}};
  const auto has = [&](std::uint32_t bit) { return (from.conditions & bit) != 0; };
  if (has(SHARCS_HAS_BATTERY_BELOW)) rule.battery_below = from.battery_below;
  if (has(SHARCS_HAS_BATTERY_ABOVE)) rule.battery_above = from.battery_above;
  if (has(SHARCS_HAS_TEMPERATURE_BELOW)) rule.temperature_below = from.temperature_below;
  if (has(SHARCS_HAS_TEMPERATURE_ABOVE)) rule.temperature_above = from.temperature_above;
  if (has(SHARCS_HAS_THROTTLED)) rule.throttled = from.throttled != 0;
  if (has(SHARCS_HAS_BACKGROUND)) rule.background = from.background != 0;
  check(rule.limits);
  check({"battery_below", 0, 1, false, kBatteryShare}, rule.battery_below);
  check({"battery_above", 0, 1, false, kBatteryShare}, rule.battery_above);
  check({"temperature_below", -273.15, 1000, false, kCelsius}, rule.temperature_below);
  check({"temperature_above", -273.15, 1000, false, kCelsius}, rule.temperature_above);
  if (rule.asks() == 0) throw_usage("a rule has no condition; give one of SHARCS_HAS_...");
  if (rule.limits == Limits{}) throw_usage("a rule has no limit; give one");
  if (!together(rule, rule)) {
    throw_usage("a rule can never hold: its `above` is not less than its `below`; swap or widen them");
  }
  return rule;
}

// Why no width can satisfy both; "" if one can.
std::string clash(const Limits& one, const Limits& other) {
  Limits both = one;
  both.tighten(other);
  const auto show = [](const std::optional<double>& value) { return format_general(*value); };
  const auto& width = both[Limits::width];
  const auto& low = both[Limits::min_width];
  const auto& high = both[Limits::max_width];
  if (low && high && *low > *high) return "min_width " + show(low) + " is above max_width " + show(high);
  const auto& first = one[Limits::width];
  const auto& second = other[Limits::width];
  if (first && second && std::abs(*first - *second) > kSameWidth) {
    return "one asks for width " + show(first) + " and the other for width " + show(second);
  }
  if (!width) return "";
  if (low && *width < *low - kSameWidth) return "width " + show(width) + " is below min_width " + show(low);
  if (high && *width > *high + kSameWidth) return "width " + show(width) + " is above max_width " + show(high);
  return "";
}

}  // namespace

void Limits::tighten(const Limits& other) {
  for (std::size_t kind = 0; kind < kinds; ++kind) {
    auto& value = values[kind];
    const auto& theirs = other.values[kind];
    if (!theirs) continue;
    value = !value ? *theirs : kind == min_width ? std::max(*value, *theirs) : std::min(*value, *theirs);
  }
}

bool Rule::holds(const Conditions& now) const {
  const auto inside = [](const std::optional<double>& value, const std::optional<double>& above,
                         const std::optional<double>& below) {
    if (!above && !below) return true;
    const Span open = span(above, below);
    return value && open.first < *value && *value < open.second;
  };
  return inside(now.battery, battery_above, battery_below) &&
         inside(now.temperature, temperature_above, temperature_below) && (!throttled || now.throttled == throttled) &&
         (!background || now.background == background);
}

std::uint32_t Rule::asks() const {
  return (battery_below || battery_above ? kBattery : 0u) | (temperature_below || temperature_above ? kTemperature : 0u) |
         (throttled ? kThrottled : 0u) | (background ? kBackground : 0u);
}

bool Rule::operator==(const Rule& other) const {
  return limits == other.limits && battery_below == other.battery_below && battery_above == other.battery_above &&
         temperature_below == other.temperature_below && temperature_above == other.temperature_above &&
         throttled == other.throttled && background == other.background;
}

Budget Budget::make(const sharcs_budget_options& options) {
  Budget budget{read_limits(options.limits), given(options.watts), {}};
  check(budget.limits);
  check({"watts", 0, kLarge, true, "watts above 0, such as 3.5"}, budget.watts);
  if (options.num_rules > 0 && options.rules == nullptr) throw_usage("rules is NULL, and num_rules is not 0");
  for (std::size_t index = 0; index < options.num_rules; ++index) {
    try {
      budget.rules.push_back(read_rule(options.rules[index]));
    } catch (const Error& error) {
      throw Error(error.status(), "rules[" + std::to_string(index) + "]: " + error.what());
    }
  }
  for (const Pair& pair : budget.pairs()) {
    const std::string why = clash(*pair.one, *pair.other);
    if (!why.empty()) throw_width(pair.names + " can hold at the same time, but " + why + "; change one of them");
  }
  return budget;
}

std::uint32_t Budget::asks() const {
  std::uint32_t bits = 0;
  for (const Rule& rule : rules) bits |= rule.asks();
  return bits;
}

bool Budget::sets(Limits::Kind kind) const {
  return limits[kind] ||
         std::any_of(rules.begin(), rules.end(), [&](const Rule& rule) { return rule.limits[kind].has_value(); });
}

Limits Budget::in_force(const Conditions& now) const {
  Limits result = limits;
  for (const Rule& rule : rules) {
    if (rule.holds(now)) result.tighten(rule.limits);
  }
  return result;
}

std::vector<Budget::Pair> Budget::pairs() const {
  std::vector<Pair> found{{"the budget", &limits, &limits}};
  const auto name = [](std::size_t index) { return "rules[" + std::to_string(index) + "]"; };
  for (std::size_t i = 0; i < rules.size(); ++i) {
    found.push_back({"the budget and " + name(i), &limits, &rules[i].limits});
  }
  for (std::size_t i = 0; i < rules.size(); ++i) {
    found.push_back({name(i), &rules[i].limits, &rules[i].limits});
    for (std::size_t j = i + 1; j < rules.size(); ++j) {
      if (together(rules[i], rules[j])) found.push_back({name(i) + " and " + name(j), &rules[i].limits, &rules[j].limits});
    }
  }
  return found;
}

std::pair<std::size_t, std::size_t> allowed_widths(const Limits& limits, const std::vector<double>& widths) {
  if (const auto& width = limits[Limits::width]) {
    const std::size_t index = find_width(widths, *width);
    return {index, index};
  }
  const auto& min_width = limits[Limits::min_width];
  const auto& max_width = limits[Limits::max_width];
  const double low = min_width ? *min_width - kSameWidth : 0.0;
  const double high = max_width.value_or(1.0) + kSameWidth;
  std::optional<std::size_t> first;
  std::size_t last = 0;
  for (std::size_t index = 0; index < widths.size(); ++index) {
    if (widths[index] < low || widths[index] > high) continue;
    if (!first) first = index;
    last = index;
  }
  if (first) return {*first, last};
  std::vector<std::string> shown;
  if (min_width) shown.push_back("min_width " + format_general(*min_width));
  if (max_width) shown.push_back("max_width " + format_general(*max_width));
  throw_width("no width lies within " + join(shown, ", ") + ": the artifact has " + format_widths(widths) +
              "; widen the limits or export that width");
}

void check_reserved(std::int32_t reserved) {
  if (reserved != 0) throw_usage("reserved is " + std::to_string(reserved) + "; expected 0");
}

void check_conditions(const sharcs_conditions& conditions) {
  check_reserved(conditions.reserved);
  check_bits(conditions.known, kBattery | kTemperature | kThrottled | kBackground, "known");
  if ((conditions.known & kBattery) != 0) check({"battery", 0, 1, false, kBatteryShare}, conditions.battery);
  if ((conditions.known & kTemperature) != 0) {
    check({"temperature", -273.15, 1000, false, kCelsius}, conditions.temperature);
  }
}

}  // namespace sharcs
