"""The operating points with their times on a device, and what the runtime's budget keeper makes of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from sharcs_edge.errors import CheckFailed, UsageError
from sharcs_edge.latency import Latency, mean_macs
from sharcs_edge_runtime.budget import Budget
from sharcs_edge_runtime.forecast import Forecast, LatencySource
from sharcs_edge_runtime.keeper import BudgetKeeper
from sharcs_edge_runtime.manifest import Graph, Manifest
from sharcs_edge_runtime.memory import GraphMemory
from sharcs_edge_runtime.operating_points import OperatingPoint, OperatingPoints

_SETTLING: Final = 10_000
_COUNTED: Final = 10_000  # of inputs, after the settling ones: shares to 0.01 %


@dataclass(frozen=True)
class PlannedPoint:
    """One operating point on the device. W: number of widths.

    `point`: its index in the file. `mean_ms`: per input. `quality`: the headline metric, or without labels the
    agreement with the full width. `drop`, `certified`: as calibrated. `shares`, `starts`, `runs`: (W,), share of the
    inputs that each width answers, that start at it, that run it.
    """

    point: int
    macs: float
    mean_ms: float
    quality: float
    drop: float
    certified: bool
    shares: tuple[float, ...]
    starts: tuple[float, ...]
    runs: tuple[float, ...]


@dataclass(frozen=True)
class Mix:
    """What the runtime settles at: `points`, index in the file to share of the inputs (one or two neighbours).

    The other figures are means over these inputs, as in `PlannedPoint`; `certified`: the promise of the file covers
    every point in the mix, and so the mix.
    """

    points: Mapping[int, float]
    mean_ms: float
    quality: float
    drop: float
    certified: bool
    shares: tuple[float, ...]
    runs: tuple[float, ...]


def calibration_tokens(points: OperatingPoints, manifest: Manifest) -> float:
    """Mean tokens of the texts that were calibrated on, from the compute that they took at full width."""
    graphs = (manifest.trunk, manifest.tail(manifest.widths[-1]))
    return _tokens_for(points.full.macs, [(graph, 1.0) for graph in graphs])


def plan_points(
    points: OperatingPoints, manifest: Manifest, latency: Latency, tokens: float
) -> tuple[PlannedPoint, ...]:
    """Every point of the front for inputs of so many tokens on average."""
    usual = calibration_tokens(points, manifest)
    return tuple(_plan_point(index, points, manifest, latency, tokens, usual) for index in range(len(points.points)))


def settle(
    points: OperatingPoints, planned: Sequence[PlannedPoint], manifest: Manifest, budget: Budget, watts: float | None
) -> Mix:
    """Play the runtime's budget keeper over inputs that take what the points take, until it has settled.

    `watts`: of the device, where the budget names none. Raises what the keeper raises for a budget that it cannot keep,
    CheckFailed where the cheapest point that the budget allows takes longer than its mean.
    """
    keeper = BudgetKeeper(GraphMemory.of(manifest), points, _Watts(watts))
    _refuse_too_little(points, planned, budget, keeper.start(budget).target_ms)
    seen: Counter[int] = Counter()
    for number in range(_SETTLING + _COUNTED):
        allowance = keeper.start(budget)
        assert allowance.point is not None
        took = planned[allowance.point].mean_ms
        keeper.finish(allowance, took, 1, (), None)
        if number >= _SETTLING:
            seen[allowance.point] += 1
    return _mix(planned, {index: seen[index] / _COUNTED for index in sorted(seen)})


class _Watts(LatencySource):
    """Stands where a session's own knowledge of its device stands: another device is planned for."""

    def __init__(self, value: float | None) -> None:
        self._value = value

    def watts(self) -> float | None:
        return self._value

    def forecast(self) -> Forecast:
        raise UsageError("a plan looks at deadlines by itself")


def _refuse_too_little(
    points: OperatingPoints, planned: Sequence[PlannedPoint], budget: Budget, target: float | None
) -> None:
    usable = [planned[index] for index in points.within(budget.max_drop)]
    cheapest = usable[0]  # in compute, by which the keeper goes
    if target is None or cheapest.mean_ms <= target:
        return
    limit = f"mean_ms {target:.4g}" if budget.mean_ms == target else f"energy_mj {budget.energy_mj:g} ({target:.4g} ms)"
    what = "the cheapest operating point"
    if budget.max_drop is not None and len(usable) < len(planned):
        left = "only the full width, which" if len(usable) == 1 else "points of which the cheapest"
        what = f"max_drop {budget.max_drop:g} leaves {left}"
    raise CheckFailed(f"{limit} buys nothing: {what} takes {cheapest.mean_ms:.4g} ms on average")


def _plan_point(
    index: int, points: OperatingPoints, manifest: Manifest, latency: Latency, tokens: float, usual: float
) -> PlannedPoint:
    point = points.points[index]
    tails = [manifest.tail(width) for width in manifest.widths]
    runs = _runs(point)
    # Hard inputs are often the longer ones: the tails' own share of the measured compute says how long theirs were.
    tail_macs = point.macs - mean_macs(manifest.trunk, usual)
    longer = _tokens_for(tail_macs, list(zip(tails, runs, strict=True))) / usual
    mean_ms = latency.tokenise_ms(tokens) + latency.graph_ms(manifest.trunk, tokens)
    mean_ms += math.fsum(
        share * latency.graph_ms(tail, tokens * longer) for tail, share in zip(tails, runs, strict=True) if share > 0
    )
    return PlannedPoint(
        point=index,
        macs=point.macs,
        mean_ms=mean_ms,
        quality=1.0 - point.drop if point.score is None else point.score,
        drop=point.drop,
        certified=point.certified,
        shares=point.shares,
        starts=point.starts,
        runs=runs,
    )


def _runs(point: OperatingPoint) -> tuple[float, ...]:
    """Share of the inputs that run each width: those that started at it or below, less those answered below it."""
    started = list(accumulate(point.starts))
    answered = [0.0, *accumulate(point.shares)]
    return tuple(min(max(start - done, 0.0), 1.0) for start, done in zip(started, answered[:-1], strict=True))


def _tokens_for(macs: float, graphs: Sequence[tuple[Graph, float]]) -> float:
    """How many tokens make these graphs, each run for a share of the inputs, cost `macs` on average; at least 1."""
    row = math.fsum(share * graph.macs.per_row for graph, share in graphs) - macs
    token = math.fsum(share * graph.macs.per_token for graph, share in graphs)
    squared = math.fsum(share * graph.macs.per_token_squared for graph, share in graphs)
    if squared:
        found = (math.sqrt(max(token**2 - 4 * squared * row, 0.0)) - token) / (2 * squared)
    else:
        found = -row / token if token else 1.0
    return max(found, 1.0)


def _mix(planned: Sequence[PlannedPoint], used: Mapping[int, float]) -> Mix:
    def mean(values: Sequence[float]) -> float:
        return math.fsum(share * value for share, value in zip(used.values(), values, strict=True))

    parts = [planned[index] for index in used]
    places = range(len(planned[0].shares))
    return Mix(
        points=dict(used),
        mean_ms=mean([part.mean_ms for part in parts]),
        quality=mean([part.quality for part in parts]),
        drop=mean([part.drop for part in parts]),
        certified=all(part.certified for part in parts),
        shares=tuple(mean([part.shares[place] for part in parts]) for place in places),
        runs=tuple(mean([part.runs[place] for part in parts]) for place in places),
    )
