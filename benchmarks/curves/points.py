"""Operating points: what a method scores and costs at one setting; their selection on dev, their curve on test.

Costs are fractions: mean multiply-accumulates per input over those of the plain encoder on the same split.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharcs_edge.routing.policy import Policy
from sharcs_edge.train.escalation import decide
from sharcs_edge.train.metrics import SplitOutputs

Splits = Mapping[str, SplitOutputs]
Rows = NDArray[np.integer[Any]]

TABLE_BUDGETS = (1 / 5, 1 / 3, 1 / 2, 2 / 3)
# The steps of the curve: finer where the tails are narrow.
BUDGETS = tuple(sorted({*TABLE_BUDGETS, *np.geomspace(0.08, 1.1, 30).round(4).tolist(), float("inf")}))
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Point:
    """A setting with its score (in [0, 1], or a correlation) and its cost on both splits."""

    setting: str
    dev_score: float
    dev_macs: float
    test_score: float
    test_macs: float


def select(points: Iterable[Point], budget: float) -> Point | None:
    """The best on dev among those whose dev cost is within the budget, the cheaper of equals; None without any."""
    within = [point for point in points if point.dev_macs <= budget + _ROUNDING]
    return max(within, key=lambda point: (point.dev_score, -point.dev_macs), default=None)


def select_all(points: Sequence[Point]) -> dict[float, Point]:
    """The selected point of every budget that has one."""
    chosen = {budget: select(points, budget) for budget in BUDGETS}
    return {budget: point for budget, point in chosen.items() if point is not None}


@dataclass(frozen=True)
class Scale:
    """What costs are divided by: the plain encoder's mean multiply-accumulates on each split."""

    dev: float
    test: float

    def point(self, setting: str, dev: tuple[float, float], test: tuple[float, float]) -> Point:
        """``dev``, ``test``: (score, mean multiply-accumulates)."""
        return Point(setting, dev[0], dev[1] / self.dev, test[0], test[1] / self.test)


def routed(outputs: SplitOutputs, widths: Rows, macs: NDArray[Any]) -> tuple[float, float]:
    """Score and mean cost when sample i is answered by ``widths[i]`` at a cost of ``macs[i]``."""
    return outputs.score(widths.astype(np.int64)), float(macs.mean())


def at_policy(outputs: SplitOutputs, policy: Policy) -> tuple[float, float]:
    """Score and mean cost under a policy."""
    decisions = decide(outputs, policy)
    return routed(outputs, decisions.widths, decisions.costs)


def at_width(outputs: SplitOutputs, width: int) -> tuple[float, float]:
    """Score and mean cost when one width answers everything."""
    return routed(outputs, np.full(len(outputs.labels), width), outputs.macs[:, width])


def at_random(outputs: SplitOutputs, shares: Sequence[float]) -> tuple[float, float]:
    """Expected score and cost when every sample is given a width at random, with these shares."""
    ends = np.rint(np.cumsum(shares) / np.sum(shares) * len(outputs.labels)).astype(int)
    routes = np.repeat(np.arange(len(shares)), np.diff(ends, prepend=0))
    score = outputs.task.random_scores(outputs.answers, outputs.labels, routes)[outputs.task.metric]
    exact = np.bincount(routes, minlength=len(shares)) / len(routes)
    return score, float(exact @ outputs.macs.mean(axis=0))


def mixture(costs: Sequence[float], cheap: int, dear: int, budget: float) -> tuple[float, ...] | None:
    """Shares of all widths, of which two are above 0, that cost ``budget`` on average; None if they cannot."""
    if not costs[cheap] <= budget + _ROUNDING or costs[dear] <= costs[cheap]:
        return None
    share = min(1.0, (budget - costs[cheap]) / (costs[dear] - costs[cheap]))
    return tuple(share if i == dear else 1.0 - share if i == cheap else 0.0 for i in range(len(costs)))


def take(outputs: SplitOutputs, rows: Rows) -> SplitOutputs:
    """These samples alone."""
    return SplitOutputs(
        outputs.logits[:, rows],
        outputs.router_logits[rows],
        outputs.labels[rows],
        outputs.trunk_macs[rows],
        outputs.tail_macs[rows],
        outputs.task,
    )


def without_router(outputs: SplitOutputs, router_macs: int) -> SplitOutputs:
    """The same answers where nobody asks the router, and nobody pays for it."""
    return replace(outputs, trunk_macs=outputs.trunk_macs - router_macs)


# --- over seeds: one dict per seed, budget -> its selected point

Selections = Sequence[Mapping[float, Point]]


def curve_on_test(selections: Selections) -> list[tuple[float, list[float]]]:
    """(mean cost, scores of all seeds) on test at every budget within which every seed has a point, by cost."""
    curve = {}
    for budget in BUDGETS:
        chosen = [seed[budget] for seed in selections if budget in seed]
        if chosen and len(chosen) == len(selections):
            curve[round(mean(point.test_macs for point in chosen), 6)] = [point.test_score for point in chosen]
    return sorted(curve.items())


def cost_at(curve: Sequence[tuple[float, list[float]]], target: float) -> float | None:
    """The cost at which the mean score first reaches ``target``, linear between neighbours; None if it never does."""
    means = [(cost, mean(scores)) for cost, scores in curve]
    if means and means[0][1] >= target:
        return means[0][0]
    for (low_cost, low), (high_cost, high) in pairwise(means):
        if high >= target:
            return low_cost + (high_cost - low_cost) * (target - low) / (high - low)
    return None
