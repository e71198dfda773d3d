// Keeps budgets: says before each input what it may use, and learns after it what it took (SPEC.md, sections 11, 12).
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "budget.h"
#include "condition_reader.h"
#include "forecast.h"
#include "graph_memory.h"
#include "operating_points.h"
#include "routing.h"

namespace sharcs {

// What a session knows, or can find out, about its own times; asked only if a budget has a deadline or an energy limit.
class LatencySource {
 public:
  virtual ~LatencySource() = default;
  virtual std::optional<double> watts() = 0;
  virtual Forecast forecast() = 0;
};

// The budgets of one session. Thread-safe. The mean of a budget is held over the inputs that ran under an equal one.
class BudgetKeeper {
 public:
  // `points` may be nullptr; all must outlive this.
  BudgetKeeper(const GraphMemory& memory, const OperatingPoints* points, LatencySource& latency);

  ConditionReader& conditions() { return conditions_; }
  // Throws what `start` would, for the budget and every rule of it; a deadline may take a measurement.
  void check(const Budget& budget);
  // What the next input may use, by the device's present condition and the time that earlier ones took.
  std::shared_ptr<const Allowance> start(const Budget& budget);
  // Whether a tail is expected to end by the deadline. `elapsed_ms`: since the input came; `load_ms`: to load it first.
  bool startable(const Allowance& allowance, std::size_t index, std::int64_t tokens, double elapsed_ms, double load_ms);
  // Enters what an input took; whether the budget was met, nothing without a limit on time or drop. `computed_ms`: wall
  // time of trunk and tails without loading one, nothing in a batch.
  std::optional<bool> finish(const Allowance& allowance, double milliseconds, std::int64_t tokens,
                             const std::vector<std::size_t>& ran, std::optional<double> computed_ms, bool cut_short);

 private:
  // The choices that some limits leave: allowances in ascending cost.
  struct Plan {
    std::vector<std::shared_ptr<const Allowance>> allowances;
    std::vector<double> costs;
  };
  // What is known about one budget while it is in use.
  struct Account {
    Budget budget;
    std::uint32_t asks = 0;
    std::shared_ptr<Controller> controller;
    Conditions now;
    std::vector<std::pair<Limits, Plan>> plans;
    std::size_t plan = 0;
  };
  struct Range {
    std::size_t first;
    std::size_t last;
    Reason ceiling;
  };

  Account& account(const Budget& budget);
  void require(const Budget& budget);
  Range range(const Limits& limits) const;
  std::optional<double> watts(const Budget& budget);
  std::optional<double> target(const Limits& limits, const Budget& budget);
  std::size_t plan(Account& account, const Limits& limits);
  Plan make_plan(const Account& account, const Limits& limits);

  const GraphMemory& memory_;
  const OperatingPoints* points_;
  LatencySource& latency_;
  ConditionReader conditions_;
  std::optional<Forecast> forecast_;
  std::list<Account> accounts_;  // the one used last in front
  std::mutex mutex_;
};

}  // namespace sharcs
