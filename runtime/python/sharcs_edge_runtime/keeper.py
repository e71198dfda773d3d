"""Keeps budgets: says before each input what it may use, and learns after it what it took."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sharcs_edge_runtime.budget import Budget, Conditions, Limits, allowed_widths
from sharcs_edge_runtime.conditions import ConditionReader
from sharcs_edge_runtime.controller import Controller
from sharcs_edge_runtime.errors import UsageError
from sharcs_edge_runtime.forecast import Forecast, LatencySource

if TYPE_CHECKING:
    from sharcs_edge_runtime.memory import GraphMemory
    from sharcs_edge_runtime.operating_points import OperatingPoints
    from sharcs_edge_runtime.policy import Ceiling

# Budgets whose means are followed at a time: a program that makes one per call must not fill the memory.
_ACCOUNTS: Final = 64


@dataclass(frozen=True, eq=False, slots=True)
class Allowance:
    """What one input may use. W: number of widths.

    Attributes:
        first, last: indices of the widths that may run, inclusive.
        ceiling: what forbids the widths above `last`.
        explicit: the budget fixes the width (`first` and `last`).
        point: index into the operating points of the file; None where the artifact has none.
        bias: (W,), binary32 values, added to the router logits.
        thresholds: (W - 1,), below which a tail's confidence hands on.
        deadline_ms: of this input; ask `BudgetKeeper.startable` before each tail.
        memory_mb: for the loaded graphs.
        target_ms: what the mean is held to.
        promised: a `max_drop` is in force: the input must be answered as its operating point says.
    """

    first: int
    last: int
    ceiling: Ceiling
    explicit: bool
    point: int | None
    bias: tuple[float, ...]
    thresholds: tuple[float, ...]
    deadline_ms: float | None
    memory_mb: float | None
    target_ms: float | None
    promised: bool
    controller: Controller = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Plan:
    """The choices that some limits leave: allowances in ascending cost."""

    allowances: tuple[Allowance, ...]
    costs: tuple[float, ...]


class _Account:
    """What is known about one budget while it is in use."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.asks = budget.conditions
        self.controller = Controller()
        self.now: Conditions | None = None
        self.plans: dict[Limits, _Plan] = {}
        self.plan: _Plan

    @property
    def only(self) -> Allowance | None:
        """What every input gets, if neither the device's condition nor the time of earlier ones has a say."""
        allowances = self.plan.allowances
        return allowances[0] if len(allowances) == 1 and not self.asks else None


class BudgetKeeper:
    """The budgets of one session. Thread-safe.

    The mean of a budget is held over the inputs that ran under an equal one.
    """

    def __init__(
        self,
        memory: GraphMemory,
        points: OperatingPoints | None,
        latency: LatencySource,
        conditions: ConditionReader | None = None,
    ) -> None:
        """`memory`: of the artifact's graphs. `latency`: asked only if a budget has a deadline or an energy limit."""
        self._memory = memory
        self._points = points
        self._latency = latency
        self.conditions = conditions or ConditionReader()
        self._forecast: Forecast | None = None
        self._accounts: OrderedDict[Budget, _Account] = OrderedDict()
        self._recent: _Account | None = None
        self._fixed: tuple[Budget, Allowance] | None = None
        self._lock = threading.Lock()

    def check(self, budget: Budget) -> None:
        """Raise what `start` would raise, for the budget and every rule of it; a deadline may take a measurement.

        Raises WidthError for limits that leave no width, UsageError for ones that need what the artifact lacks.
        """
        with self._lock:
            self._account(budget)

    def start(self, budget: Budget) -> Allowance:
        """What the next input may use, by the device's present condition and the time that earlier ones took."""
        fixed = self._fixed  # read once: another thread may replace it
        if fixed is not None and fixed[0] is budget:
            return fixed[1]
        with self._lock:
            account = self._recent
            if account is None or account.budget is not budget:
                account = self._account(budget)
            if account.asks and (now := self.conditions.read(account.asks)) is not account.now:
                account.now = now
                account.plan = self._plan(account, budget.limits(now))
            plan = account.plan
            if len(plan.allowances) == 1:
                return plan.allowances[0]
            return plan.allowances[account.controller.choose(plan.costs)]

    def startable(self, allowance: Allowance, index: int, tokens: int, elapsed_ms: float, load_ms: float = 0.0) -> bool:
        """Whether the tail of width `index` is expected to end by the deadline (true without one).

        `elapsed_ms`: since the input came; `load_ms`: to load the tail first, if it is not in memory.
        """
        if allowance.deadline_ms is None or self._forecast is None:
            return True
        return elapsed_ms + load_ms + self._forecast.tail_ms(index, tokens) <= allowance.deadline_ms

    def finish(
        self,
        allowance: Allowance,
        milliseconds: float,
        tokens: int,
        ran: Sequence[int],
        computed_ms: float | None,
        cut_short: bool = False,
    ) -> bool | None:
        """Enter what an input took; whether the budget was met, None without a limit on time or drop.

        `milliseconds`: wall time of the prediction. `tokens`: of the input. `ran`: indices of the tails that ran.
        `computed_ms`: wall time of trunk and tails, without loading one; None in a batch, whose rows share it.
        `cut_short`: a limit gave the answer to a narrower width than the operating point would have, maybe.
        Not met: the deadline was missed; the mean cannot be held, since the cheapest operating point takes longer; or
        the input was cut short, and nothing is promised of its drop.
        """
        met: bool | None = None
        target, deadline = allowance.target_ms, allowance.deadline_ms
        if target is not None or deadline is not None:
            with self._lock:
                if target is not None:
                    allowance.controller.settle(milliseconds, target)
                    met = not allowance.controller.exhausted
                if deadline is not None and self._forecast is not None:
                    if computed_ms is not None:
                        self._forecast.learn(ran, tokens, computed_ms)
                    met = met is not False and milliseconds <= deadline
        if allowance.promised:
            met = met is not False and not cut_short
        return met

    def _account(self, budget: Budget) -> _Account:
        account = self._accounts.get(budget)
        if account is None:
            self._require(budget)
            account = self._accounts[budget] = _Account(budget)
            account.plan = self._plan(account, budget.limits(Conditions()))
            if len(self._accounts) > _ACCOUNTS:
                self._accounts.popitem(last=False)
        else:
            self._accounts.move_to_end(budget)
        account.budget = budget  # this very object is found without hashing it next time
        self._recent = account
        self._fixed = None if account.only is None else (budget, account.only)
        return account

    def _require(self, budget: Budget) -> None:
        """Everything that the budget and its rules can ask for is there."""
        for names, pair in budget.pairs():
            self._require_width(Limits.tightest(pair), names if budget.when else "")
        for name in ("mean_ms", "energy_mj", "max_drop"):
            if self._points is None and any(getattr(source, name) is not None for source in budget.sources):
                raise UsageError(
                    f"{name} needs operating points, and the artifact has no operating_points.json: "
                    "run `sharcs-edge calibrate` on it, or leave the limit out"
                )
        if any(source.energy_mj is not None for source in budget.sources) and self._watts(budget) is None:
            raise UsageError(
                "energy_mj needs the watts that the device draws: give `watts` in the budget, or save them with "
                "`sharcs-edge profile --save --watts`"
            )
        if self._forecast is None and any(source.deadline_ms is not None for source in budget.sources):
            self._forecast = self._latency.forecast()

    def _require_width(self, limits: Limits, names: str) -> None:
        try:
            self._range(limits)
        except UsageError as error:
            raise type(error)(f"{names}: {error}" if names else str(error)) from None

    def _range(self, limits: Limits) -> tuple[int, int, Ceiling]:
        """First and last width that may run, and what forbids the wider ones."""
        first, last = allowed_widths(limits, self._memory.widths)
        if limits.memory_mb is not None:
            fits = self._memory.widest(first, last, limits.memory_mb)
            if fits < last:
                return first, fits, "memory"
        return first, last, "max_width"

    def _watts(self, budget: Budget) -> float | None:
        return budget.watts if budget.watts is not None else self._latency.watts()

    def _target(self, limits: Limits, budget: Budget) -> float | None:
        """Milliseconds that the mean is held to."""
        targets = [] if limits.mean_ms is None else [limits.mean_ms]
        if limits.energy_mj is not None and (watts := self._watts(budget)) is not None:
            targets.append(limits.energy_mj / watts)  # mJ / W = ms
        return min(targets, default=None)

    def _plan(self, account: _Account, limits: Limits) -> _Plan:
        if limits not in account.plans:
            account.plans[limits] = self._make_plan(account, limits)
        return account.plans[limits]

    def _make_plan(self, account: _Account, limits: Limits) -> _Plan:
        first, last, ceiling = self._range(limits)
        target = self._target(limits, account.budget)
        given = {
            "first": first,
            "last": last,
            "ceiling": ceiling,
            "explicit": limits.width is not None,
            "deadline_ms": limits.deadline_ms,
            "memory_mb": limits.memory_mb,
            "target_ms": target,
            "promised": limits.max_drop is not None,
            "controller": account.controller,
        }
        if self._points is None:
            zeros = (0.0,) * len(self._memory.widths)
            return _Plan((_allowance(None, zeros, zeros[1:], given),), (0.0,))
        chosen = self._front(self._points, limits, held=target is not None)
        points = [self._points.points[index] for index in chosen]
        allowances = (_allowance(i, p.bias, p.thresholds, given) for i, p in zip(chosen, points, strict=True))
        return _Plan(tuple(allowances), tuple(point.macs for point in points))

    @staticmethod
    def _front(points: OperatingPoints, limits: Limits, held: bool) -> tuple[int, ...]:
        """The points to choose among: all that are allowed where a mean is held, else the cheapest of them."""
        if limits.max_drop is None and not held:
            return (points.default,)
        front = points.within(limits.max_drop)
        return front if held else front[:1]


def _allowance(
    point: int | None, bias: Sequence[float], thresholds: tuple[float, ...], given: Mapping[str, Any]
) -> Allowance:
    single = tuple(np.asarray(bias, dtype=np.float32).tolist())
    return Allowance(point=point, bias=single, thresholds=thresholds, **given)
