// 2,000 sequences give the decisions of the Python runtime, to the last bit of the account (make_decision_vectors.py).
#include <cstring>

#include "answers.h"
#include "controller.h"
#include "json.h"
#include "keeper.h"
#include "sha256.h"
#include "support.h"

using namespace sharcs;

namespace {

class Draw {
 public:
  explicit Draw(std::uint64_t seed) : state_(seed) {}
  double u() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return static_cast<double>((z ^ z >> 31) >> 11) * 0x1p-53;
  }
  std::int64_t below(int limit) { return static_cast<std::int64_t>(u() * limit); }
  bool chance(double share) { return u() < share; }
  float single() { return static_cast<float>(u() * 8.0 - 4.0); }

 private:
  std::uint64_t state_;
};

struct Source : LatencySource {
  explicit Source(Forecast forecast_) : known(std::move(forecast_)) {}
  std::optional<double> watts() override { return std::nullopt; }
  Forecast forecast() override { return known; }
  Forecast known;
};

OperatingPoints draw_points(Draw& draw, std::size_t widths) {
  OperatingPoints points;
  double macs = 0;
  const std::int64_t count = draw.below(5);
  for (std::int64_t i = 0; i < count; ++i) {
    macs = macs + (draw.chance(0.2) ? 0.0 : draw.u() * 100.0);
    OperatingPoint point;
    for (std::size_t w = 0; w < widths; ++w) point.bias.push_back(draw.u() * 6.0 - 3.0);
    for (std::size_t w = 0; w + 1 < widths; ++w) {
      const std::int64_t kind = draw.below(3);
      const double value = draw.u();
      point.thresholds.push_back(kind == 0 ? 0.0 : kind == 1 ? value : 1.0 + value);
    }
    point.macs = macs;
    point.certified = draw.chance(0.6);
    points.points.push_back(point);
  }
  OperatingPoint full;
  full.bias.assign(widths - 1, 0.0);
  full.bias.push_back(1e6);
  full.thresholds.assign(widths - 1, 0.0);
  full.macs = macs + draw.u() * 100.0;
  full.certified = true;
  points.points.push_back(full);
  points.max_drop = draw.u() * 0.05;
  points.value_scale = 0.5 + draw.u();
  return points;
}

Forecast draw_forecast(Draw& draw, std::size_t widths) {
  std::vector<std::vector<double>> times;
  std::vector<Macs> macs;
  for (std::size_t graph = 0; graph <= widths; ++graph) {
    const double brief = (0.2 + draw.u()) * static_cast<double>(graph + 1);
    times.push_back({brief, brief * (2.0 + draw.u() * 3.0)});
    Macs one;
    one.per_row = draw.below(1000);
    one.per_token = draw.below(1000);
    one.per_token_squared = draw.below(10);
    macs.push_back(one);
  }
  return Forecast({16, 64}, times, macs);
}

sharcs_limits draw_limits(Draw& draw, const std::vector<double>& widths, bool calibrated) {
  sharcs_limits limits{};
  if (draw.chance(0.15)) {
    limits.width = widths[static_cast<std::size_t>(draw.below(static_cast<int>(widths.size())))];
  } else {
    if (draw.chance(0.2)) limits.min_width = 0.01 + draw.u() * 0.6;
    if (draw.chance(0.3)) limits.max_width = 0.2 + draw.u() * 0.8;
  }
  if (draw.chance(0.4) && calibrated) limits.mean_ms = 0.5 + draw.u() * 6.0;
  if (draw.chance(0.4)) limits.deadline_ms = 1.0 + draw.u() * 10.0;
  if (draw.chance(0.3)) limits.memory_mb = 30.0 + draw.u() * 150.0;
  if (draw.chance(0.3) && calibrated) limits.has_max_drop = 1, limits.max_drop = draw.u() * 0.1;
  if (draw.chance(0.15) && calibrated) limits.energy_mj = 1.0 + draw.u() * 10.0;
  return limits;
}

sharcs_rule draw_rule(Draw& draw) {
  sharcs_rule rule{};
  if (draw.chance(0.5)) rule.conditions |= SHARCS_HAS_BATTERY_BELOW, rule.battery_below = draw.u();
  if (draw.chance(0.4)) rule.conditions |= SHARCS_HAS_TEMPERATURE_ABOVE, rule.temperature_above = 20.0 + draw.u() * 60.0;
  if (draw.chance(0.3)) rule.conditions |= SHARCS_HAS_THROTTLED, rule.throttled = draw.chance(0.5);
  if (draw.chance(0.3) || rule.conditions == 0) {
    rule.conditions |= SHARCS_HAS_BACKGROUND;
    rule.background = draw.chance(0.5);
  }
  const std::int64_t kind = draw.below(4);
  const double value = draw.u();
  if (kind == 0) rule.limits.max_width = 0.1 + value * 0.9;
  if (kind == 1) rule.limits.deadline_ms = 1.0 + value * 8.0;
  if (kind == 2) rule.limits.mean_ms = 0.5 + value * 4.0;
  if (kind == 3) rule.limits.has_max_drop = 1, rule.limits.max_drop = value * 0.1;
  return rule;
}

Budget draw_budget(Draw& draw, const std::vector<double>& widths, bool calibrated) {
  sharcs_budget_options options = SHARCS_BUDGET_OPTIONS_INIT;
  options.limits = draw_limits(draw, widths, calibrated);
  options.watts = 1.0 + draw.u() * 4.0;
  std::vector<sharcs_rule> rules(static_cast<std::size_t>(draw.below(3)));
  for (sharcs_rule& rule : rules) rule = draw_rule(draw);
  options.rules = rules.data();
  options.num_rules = rules.size();
  return Budget::make(options);
}

void push(Draw& draw, BudgetKeeper& keeper) {
  sharcs_conditions conditions = SHARCS_CONDITIONS_INIT;
  conditions.known = SHARCS_KNOWN_BATTERY | SHARCS_KNOWN_TEMPERATURE | SHARCS_KNOWN_THROTTLED | SHARCS_KNOWN_BACKGROUND;
  conditions.battery = draw.u();
  conditions.temperature = 20.0 + draw.u() * 60.0;
  conditions.throttled = draw.chance(0.3);
  conditions.background = draw.chance(0.3);
  keeper.conditions().push(conditions);
}

std::string bits(double value) {
  unsigned char bytes[8];
  std::memcpy(bytes, &value, 8);
  std::string text;
  for (unsigned char byte : bytes) text += "0123456789abcdef"[byte >> 4], text += "0123456789abcdef"[byte & 15];
  return text;
}

struct InTime : Startable {
  bool startable(std::size_t index) const override { return keeper->startable(*allowance, index, tokens, *elapsed, 0.0); }
  BudgetKeeper* keeper;
  const Allowance* allowance;
  std::int64_t tokens;
  const double* elapsed;
};

std::string run_input(Draw& draw, BudgetKeeper& keeper, const Budget& budget, Task task, std::size_t labels,
                      const std::optional<double>& scale) {
  const std::int64_t tokens = 1 + draw.below(128);
  const auto allowance = keeper.start(budget);
  std::vector<float> logits;
  for (std::size_t i = 0; i < allowance->bias.size(); ++i) {
    logits.push_back(draw.chance(0.005) ? std::numeric_limits<float>::infinity() : draw.single());
  }
  double elapsed = draw.u() * 2.0;
  const double begin = elapsed;
  InTime in_time;
  in_time.keeper = &keeper;
  in_time.allowance = allowance.get();
  in_time.tokens = tokens;
  in_time.elapsed = &elapsed;
  std::optional<Escalation> way;
  try {
    way.emplace(logits.data(), *allowance, allowance->deadline_ms ? &in_time : nullptr);
  } catch (const Error& error) {
    return error.status() == SHARCS_ERROR_ARTIFACT ? "not finite" : "?";
  }
  std::optional<Outcome> outcome;
  do {
    elapsed = elapsed + draw.u() * 3.0 * static_cast<double>(way->index() + 1);
    std::vector<float> values;
    for (std::size_t i = 0; i < labels; ++i) values.push_back(draw.single());
    outcome = read_outcome(task, values.data(), labels, outcome ? &*outcome : nullptr, scale);
  } while (way->goes_on(outcome->confidence));
  std::optional<double> computed;
  if (!draw.chance(0.2)) computed = elapsed - begin;
  const auto met = keeper.finish(*allowance, elapsed, tokens, way->ran(), computed, allowance->promised && way->cut_short());
  std::string ran;
  for (std::size_t index : way->ran()) ran += (ran.empty() ? "" : ",") + std::to_string(index);
  const std::string point = allowance->point ? std::to_string(*allowance->point) : "-1";
  return std::to_string(allowance->first) + " " + std::to_string(allowance->last) + " " + point + " " +
         std::to_string(way->index()) + " " + sharcs_reason_name(static_cast<std::int32_t>(way->reason())) + " " + ran +
         " " + (met ? (*met ? "1" : "0") : "-1") + " " + bits(allowance->controller->debt());
}

std::string sequence(std::uint64_t number) {
  const std::vector<double> kWidths[] = {{1.0}, {0.25, 1.0}, {0.083333, 0.25, 1.0}, {0.125, 0.25, 0.5, 1.0}};
  Draw draw(number);
  GraphMemory memory;
  memory.widths = kWidths[draw.below(4)];
  const auto task = static_cast<Task>(draw.below(3) + 1);
  const auto labels = static_cast<std::size_t>(task == Task::regression ? 1 : 2 + draw.below(3));
  std::optional<OperatingPoints> points;
  if (draw.chance(0.8)) points = draw_points(draw, memory.widths.size());
  memory.trunk = 10.0 + draw.u() * 50.0;
  for (std::size_t i = 0; i < memory.widths.size(); ++i) {
    memory.tails.push_back(static_cast<double>(i + 1) * (5.0 + draw.u() * 10.0));
  }
  Source source(draw_forecast(draw, memory.widths.size()));
  BudgetKeeper keeper(memory, points ? &*points : nullptr, source);
  push(draw, keeper);
  Budget budget;
  try {
    budget = draw_budget(draw, memory.widths, points.has_value());
    keeper.check(budget);
  } catch (const Error& error) {
    return error.status() == SHARCS_ERROR_WIDTH ? "width" : "usage";
  }
  std::string lines;
  for (int input = 0; input < 24; ++input) {
    if (draw.chance(0.2)) push(draw, keeper);
    lines += (lines.empty() ? "" : "\n") +
             run_input(draw, keeper, budget, task, labels, points ? points->value_scale : std::nullopt);
  }
  return lines;
}

}  // namespace

TEST_CASE("decisions: 2,000 sequences are decided as in Python") {
  const json::Value golden = json::decode(read_all(GOLDEN "/decisions_v1.json"));
  const auto& digests = *golden.as<json::Array>();
  CHECK(digests.size() == 2000);
  for (std::size_t number = 0; number < digests.size(); ++number) {
    CAPTURE(number);
    CHECK(sha256(sequence(number)).substr(0, 12) == *digests[number].as<std::string>());
  }
}

TEST_CASE("controller: the golden stream gives its choices and its debts") {
  const json::Value golden = json::decode(read_all(GOLDEN "/controller_v1.json"));
  const auto number = [](const json::Value& value) {
    const auto* integer = value.as<std::int64_t>();
    return integer != nullptr ? static_cast<double>(*integer) : value.as<json::Number>()->value;
  };
  std::vector<double> costs;
  for (const json::Value& cost : *golden.find("costs")->as<json::Array>()) costs.push_back(number(cost));
  const auto& times = *golden.find("milliseconds")->as<json::Array>();
  Controller controller;
  for (std::size_t i = 0; i < times.size(); ++i) {
    CAPTURE(i);
    CHECK(controller.choose(costs) == static_cast<std::size_t>(number((*golden.find("choices")->as<json::Array>())[i])));
    controller.settle(number(times[i]), number(*golden.find("target")));
    CHECK(controller.debt() == number((*golden.find("debts")->as<json::Array>())[i]));
  }
}
