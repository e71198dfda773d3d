"""Write tests/golden/decisions_v1.json: what the Python runtime decides in 2,000 sequences of inputs.

A sequence (artifact, operating points, budget with rules, 24 inputs with conditions, logits and times) follows from
its number by SplitMix64 and the four operations, so that test_decisions.cpp draws the same one. Of its decisions the
first 12 hex digits of a SHA-256 are kept. Run: python tests/c/make_decision_vectors.py
"""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import Any

from sharcs_edge_runtime.answers import Outcome, read_outcome
from sharcs_edge_runtime.budget import Budget, Rule
from sharcs_edge_runtime.errors import ArtifactError, UsageError, WidthError
from sharcs_edge_runtime.forecast import Forecast
from sharcs_edge_runtime.keeper import BudgetKeeper
from sharcs_edge_runtime.manifest import Macs, TaskName
from sharcs_edge_runtime.memory import GraphMemory
from sharcs_edge_runtime.operating_points import Method, OperatingPoint, OperatingPoints
from sharcs_edge_runtime.policy import Escalation

TARGET = Path(__file__).parent.parent / "golden" / "decisions_v1.json"
SEQUENCES = 2000
INPUTS = 24
WIDTHS = [(1.0,), (0.25, 1.0), (0.083333, 0.25, 1.0), (0.125, 0.25, 0.5, 1.0)]
TASKS: tuple[TaskName, ...] = ("classification", "multi_label", "regression")


class Draw:
    """SplitMix64 (Steele, Lea and Flood 2014)."""

    def __init__(self, seed: int) -> None:
        self.state = seed

    def u(self) -> float:
        """In [0, 1)."""
        mask = 2**64 - 1
        self.state = (self.state + 0x9E3779B97F4A7C15) & mask
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return float((z ^ (z >> 31)) >> 11) * 2.0**-53

    def below(self, limit: int) -> int:
        return int(self.u() * limit)

    def chance(self, share: float) -> bool:
        return self.u() < share

    def single(self) -> float:
        """A binary32 number in [-4, 4)."""
        return float(struct.unpack("<f", struct.pack("<f", self.u() * 8.0 - 4.0))[0])


class Source:
    """A latency source that knows its figures."""

    def __init__(self, forecast: Forecast) -> None:
        self._forecast = forecast

    def watts(self) -> float | None:
        return None

    def forecast(self) -> Forecast:
        return self._forecast


def draw_point(draw: Draw, widths: int, macs: float) -> OperatingPoint:
    bias = tuple(draw.u() * 6.0 - 3.0 for _ in range(widths))
    thresholds = []
    for _ in range(widths - 1):
        kind = draw.below(3)
        value = draw.u()
        thresholds.append((0.0, value, 1.0 + value)[kind])
    return point(bias, tuple(thresholds), macs, draw.chance(0.6))


def point(bias: tuple[float, ...], thresholds: tuple[float, ...], macs: float, certified: bool) -> OperatingPoint:
    shares = (0.0,) * (len(bias) - 1) + (1.0,)
    return OperatingPoint(bias, thresholds, shares, shares, macs, None, None, 0.0, 0.0, 0.0, certified)


def draw_points(draw: Draw, widths: int) -> OperatingPoints:
    points = []
    macs = 0.0
    for _ in range(draw.below(5)):
        macs = macs + (0.0 if draw.chance(0.2) else draw.u() * 100.0)
        points.append(draw_point(draw, widths, macs))
    macs = macs + draw.u() * 100.0
    points.append(point((0.0,) * (widths - 1) + (1e6,), (0.0,) * (widths - 1), macs, True))
    max_drop, scale = draw.u() * 0.05, 0.5 + draw.u()
    method = Method("none", "none")
    return OperatingPoints(1, "", "", {}, "labels", 1, 0, "", max_drop, 0.95, method, scale, tuple(points))


def draw_forecast(draw: Draw, widths: int) -> Forecast:
    times, macs = [], []
    for graph in range(widths + 1):
        short = (0.2 + draw.u()) * (graph + 1)
        times.append([short, short * (2.0 + draw.u() * 3.0)])
        macs.append(Macs(draw.below(1000), draw.below(1000), draw.below(10)))
    return Forecast([16, 64], times, macs)


def draw_limits(draw: Draw, widths: tuple[float, ...], calibrated: bool) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    if draw.chance(0.15):
        limits["width"] = widths[draw.below(len(widths))]
    else:
        if draw.chance(0.2):
            limits["min_width"] = 0.01 + draw.u() * 0.6
        if draw.chance(0.3):
            limits["max_width"] = 0.2 + draw.u() * 0.8
    if draw.chance(0.4) and calibrated:
        limits["mean_ms"] = 0.5 + draw.u() * 6.0
    if draw.chance(0.4):
        limits["deadline_ms"] = 1.0 + draw.u() * 10.0
    if draw.chance(0.3):
        limits["memory_mb"] = 30.0 + draw.u() * 150.0
    if draw.chance(0.3) and calibrated:
        limits["max_drop"] = draw.u() * 0.1
    if draw.chance(0.15) and calibrated:
        limits["energy_mj"] = 1.0 + draw.u() * 10.0
    return limits


def draw_rule(draw: Draw) -> Rule:
    given: dict[str, Any] = {}
    if draw.chance(0.5):
        given["battery_below"] = draw.u()
    if draw.chance(0.4):
        given["temperature_above"] = 20.0 + draw.u() * 60.0
    if draw.chance(0.3):
        given["throttled"] = draw.chance(0.5)
    if draw.chance(0.3) or not given:
        given["background"] = draw.chance(0.5)
    kind = draw.below(4)
    value = draw.u()
    name, limit = [
        ("max_width", 0.1 + value * 0.9),
        ("deadline_ms", 1.0 + value * 8.0),
        ("mean_ms", 0.5 + value * 4.0),
        ("max_drop", value * 0.1),
    ][kind]
    given[name] = limit
    return Rule(**given)


def draw_budget(draw: Draw, widths: tuple[float, ...], calibrated: bool) -> Budget:
    limits = draw_limits(draw, widths, calibrated)
    watts = 1.0 + draw.u() * 4.0
    rules = tuple(draw_rule(draw) for _ in range(draw.below(3)))
    return Budget(**limits, watts=watts, when=rules)


def push(draw: Draw, keeper: BudgetKeeper) -> None:
    battery, temperature = draw.u(), 20.0 + draw.u() * 60.0
    throttled, background = draw.chance(0.3), draw.chance(0.3)
    keeper.conditions.push(battery=battery, temperature=temperature, throttled=throttled, background=background)


def run_input(
    draw: Draw, keeper: BudgetKeeper, budget: Budget, task: TaskName, labels: int, scale: float | None
) -> str:
    """One line: what was decided."""
    tokens = 1 + draw.below(128)
    allowance = keeper.start(budget)
    logits = [float("inf") if draw.chance(0.005) else draw.single() for _ in allowance.bias]
    elapsed = [draw.u() * 2.0]
    begin = elapsed[0]

    def startable(index: int) -> bool:
        return keeper.startable(allowance, index, tokens, elapsed[0], 0.0)

    deadline = startable if allowance.deadline_ms is not None else None
    try:
        way = Escalation(logits, allowance, deadline)
    except ArtifactError:
        return "not finite"
    outcome: Outcome | None = None
    while True:
        elapsed[0] = elapsed[0] + draw.u() * 3.0 * (way.index + 1)
        outcome = read_outcome(task, [draw.single() for _ in range(labels)], outcome, scale)
        if not way.goes_on(outcome.confidence):
            break
    computed = None if draw.chance(0.2) else elapsed[0] - begin
    short = allowance.promised and way.cut_short
    met = keeper.finish(allowance, elapsed[0], tokens, way.ran, computed, short)
    point = -1 if allowance.point is None else allowance.point
    debt = struct.pack("<d", allowance.controller.debt).hex()
    ran = ",".join(map(str, way.ran))
    reported = -1 if met is None else int(met)
    return f"{allowance.first} {allowance.last} {point} {way.index} {way.reason} {ran} {reported} {debt}"


def sequence(number: int) -> str:
    """Every decision of a sequence, one a line."""
    draw = Draw(number)
    widths = WIDTHS[draw.below(4)]
    task = TASKS[draw.below(3)]
    labels = 1 if task == "regression" else 2 + draw.below(3)
    points = draw_points(draw, len(widths)) if draw.chance(0.8) else None
    trunk = 10.0 + draw.u() * 50.0
    tails = tuple((index + 1) * (5.0 + draw.u() * 10.0) for index in range(len(widths)))
    source: Any = Source(draw_forecast(draw, len(widths)))
    keeper = BudgetKeeper(GraphMemory(widths, trunk, tails), points, source)
    push(draw, keeper)
    try:
        budget = draw_budget(draw, widths, points is not None)
        keeper.check(budget)
    except WidthError:
        return "width"
    except UsageError:
        return "usage"
    lines = []
    scale = None if points is None else points.value_scale
    for _ in range(INPUTS):
        if draw.chance(0.2):
            push(draw, keeper)
        lines.append(run_input(draw, keeper, budget, task, labels, scale))
    return "\n".join(lines)


def main() -> None:
    found = [hashlib.sha256(sequence(number).encode()).hexdigest()[:12] for number in range(SEQUENCES)]
    lines = [", ".join(f'"{digest}"' for digest in found[at : at + 8]) for at in range(0, SEQUENCES, 8)]
    TARGET.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
