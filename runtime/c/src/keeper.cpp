#include "keeper.h"

#include <algorithm>

namespace sharcs {
namespace {

// Budgets whose means are followed at a time: a program that makes one per call must not fill the memory.
constexpr std::size_t kAccounts = 64;

}  // namespace

BudgetKeeper::BudgetKeeper(const GraphMemory& memory, const OperatingPoints* points, LatencySource& latency)
    : memory_(memory), points_(points), latency_(latency) {}

void BudgetKeeper::check(const Budget& budget) {
  const std::lock_guard lock(mutex_);
  account(budget);
}

std::shared_ptr<const Allowance> BudgetKeeper::start(const Budget& budget) {
  const std::lock_guard lock(mutex_);
  Account& used = account(budget);
  if (used.asks != 0) {
    const Conditions now = conditions_.read(used.asks);
    if (!(now == used.now)) {
      used.plan = plan(used, used.budget.in_force(now));
      used.now = now;
    }
  }
  const Plan& choices = used.plans[used.plan].second;
  if (choices.allowances.size() == 1) return choices.allowances[0];
  return choices.allowances[used.controller->choose(choices.costs)];
}

bool BudgetKeeper::startable(const Allowance& allowance, std::size_t index, std::int64_t tokens, double elapsed_ms,
                             double load_ms) {
  if (!allowance.deadline_ms) return true;
  const std::lock_guard lock(mutex_);
  return !forecast_ || elapsed_ms + load_ms + forecast_->tail_ms(index, tokens) <= *allowance.deadline_ms;
}

std::optional<bool> BudgetKeeper::finish(const Allowance& allowance, double milliseconds, std::int64_t tokens,
                                         const std::vector<std::size_t>& ran, std::optional<double> computed_ms,
                                         bool cut_short) {
  std::optional<bool> met;
  if (allowance.target_ms || allowance.deadline_ms) {
    const std::lock_guard lock(mutex_);
    if (allowance.target_ms) {
      allowance.controller->settle(milliseconds, *allowance.target_ms);
      met = !allowance.controller->exhausted();
    }
    if (allowance.deadline_ms && forecast_) {
      if (computed_ms) forecast_->learn(ran, tokens, *computed_ms);
      met = met.value_or(true) && milliseconds <= *allowance.deadline_ms;
    }
  }
  if (allowance.promised) met = met.value_or(true) && !cut_short;
  return met;
}

BudgetKeeper::Account& BudgetKeeper::account(const Budget& budget) {
  const auto known =
      std::find_if(accounts_.begin(), accounts_.end(), [&](const Account& one) { return one.budget == budget; });
  if (known != accounts_.end()) {
    accounts_.splice(accounts_.begin(), accounts_, known);
    return accounts_.front();
  }
  require(budget);
  Account fresh{budget, budget.asks(), std::make_shared<Controller>(), {}, {}, 0};
  fresh.plan = plan(fresh, budget.in_force({}));
  accounts_.push_front(std::move(fresh));
  if (accounts_.size() > kAccounts) accounts_.pop_back();
  return accounts_.front();
}

// Everything that the budget and its rules can ask for is there.
void BudgetKeeper::require(const Budget& budget) {
  for (const Budget::Pair& pair : budget.pairs()) {
    Limits both = *pair.one;
    both.tighten(*pair.other);
    try {
      range(both);
    } catch (const Error& error) {
      if (budget.rules.empty()) throw;
      throw Error(error.status(), pair.names + ": " + error.what());
    }
  }
  const std::pair<Limits::Kind, const char*> calibrated[] = {
      {Limits::mean_ms, "mean_ms"}, {Limits::energy_mj, "energy_mj"}, {Limits::max_drop, "max_drop"}};
  for (const auto& [kind, name] : calibrated) {
    if (points_ != nullptr || !budget.sets(kind)) continue;
    throw_usage(std::string(name) +
                " needs operating points, and the artifact has no operating_points.json: run `sharcs-edge calibrate` on "
                "it, or leave the limit out");
  }
  if (budget.sets(Limits::energy_mj) && !watts(budget)) {
    throw_usage(
        "energy_mj needs the watts that the device draws: give `watts` in the budget, or save them with "
        "`sharcs-edge profile --save --watts`");
  }
  if (!forecast_ && budget.sets(Limits::deadline_ms)) forecast_ = latency_.forecast();
}

BudgetKeeper::Range BudgetKeeper::range(const Limits& limits) const {
  const auto [first, last] = allowed_widths(limits, memory_.widths);
  if (const auto& memory_mb = limits[Limits::memory_mb]) {
    const std::size_t fits = memory_.widest(first, last, *memory_mb);
    if (fits < last) return {first, fits, Reason::memory};
  }
  return {first, last, Reason::max_width};
}

std::optional<double> BudgetKeeper::watts(const Budget& budget) { return budget.watts ? budget.watts : latency_.watts(); }

// Milliseconds that the mean is held to.
std::optional<double> BudgetKeeper::target(const Limits& limits, const Budget& budget) {
  std::optional<double> target = limits[Limits::mean_ms];
  if (const auto& energy = limits[Limits::energy_mj]) {
    if (const auto drawn = watts(budget)) {
      const double milliseconds = *energy / *drawn;  // mJ / W = ms
      target = target ? std::min(*target, milliseconds) : milliseconds;
    }
  }
  return target;
}

std::size_t BudgetKeeper::plan(Account& account, const Limits& limits) {
  for (std::size_t index = 0; index < account.plans.size(); ++index) {
    if (account.plans[index].first == limits) return index;
  }
  account.plans.emplace_back(limits, make_plan(account, limits));
  return account.plans.size() - 1;
}

BudgetKeeper::Plan BudgetKeeper::make_plan(const Account& account, const Limits& limits) {
  const Range widths = range(limits);
  const std::optional<double> held = target(limits, account.budget);
  const auto& max_drop = limits[Limits::max_drop];
  Allowance allowance;
  allowance.first = widths.first;
  allowance.last = widths.last;
  allowance.ceiling = widths.ceiling;
  allowance.explicit_width = limits[Limits::width].has_value();
  allowance.deadline_ms = limits[Limits::deadline_ms];
  allowance.memory_mb = limits[Limits::memory_mb];
  allowance.target_ms = held;
  allowance.promised = max_drop.has_value();
  allowance.controller = account.controller;
  if (points_ == nullptr) {
    allowance.bias.assign(memory_.widths.size(), 0.0F);
    allowance.thresholds.assign(memory_.widths.size() - 1, 0.0);
    return Plan{{std::make_shared<const Allowance>(allowance)}, {0.0}};
  }
  // All that are allowed where a mean is held, else the cheapest of them.
  std::vector<std::size_t> front = points_->within(max_drop);
  if (!held) front = {max_drop ? front[0] : points_->default_point()};
  Plan plan;
  for (std::size_t index : front) {
    const OperatingPoint& point = points_->points[index];
    allowance.point = index;
    allowance.bias.clear();
    for (double bias : point.bias) allowance.bias.push_back(static_cast<float>(bias));
    allowance.thresholds = point.thresholds;
    plan.allowances.push_back(std::make_shared<const Allowance>(allowance));
    plan.costs.push_back(point.macs);
  }
  return plan;
}

}  // namespace sharcs
