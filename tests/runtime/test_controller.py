"""The controller against a simulated device: the mean is held, shares do not swing, nothing winds up."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.pressure.turns import turns
from sharcs_edge_runtime.controller import DEBT_LIMIT, SPAN, Controller

GOLDEN = Path(__file__).parent.parent / "golden" / "controller_v1.json"

# Milliseconds at 24 tokens, as measured on a 6-layer encoder in int8 with widths 1/12, 1/4 and 1.
OTHER, TRUNK, TAILS = 0.12, 0.35, (0.27, 0.6, 3.3)
# The narrow tail answers what is easier than the first figure, the next what is easier than the second.
FRONT = [(1.0, 1.0), (0.95, 1.0), (0.85, 0.95), (0.7, 0.85), (0.55, 0.75), (0.4, 0.6), (0.25, 0.45), (0.1, 0.25)]
FULL = (-1.0, -1.0)


def ran(point: tuple[float, float], hardness: float) -> range:
    """Indices of the tails that run."""
    if point == FULL:
        return range(2, 3)
    return range(1 + (hardness >= point[0]) + (hardness >= point[1]))


def tail_ms(point: tuple[float, float], hardness: float) -> float:
    return sum(TAILS[index] for index in ran(point, hardness))


POINTS = [*FRONT, FULL]
COSTS = [sum(tail_ms(point, (step + 0.5) / 500) for step in range(500)) / 500 for point in POINTS]
assert sorted(COSTS) == COSTS

Machine = Callable[[float, float], float]
"""Wall time of some milliseconds of work that begin at a time (ms)."""


def quiet(now: float, work: float) -> float:
    return work


def quota(share: float) -> Machine:
    """The CPU bandwidth control of Linux: of every 100 ms, work goes on for a share."""

    def wall(now: float, work: float) -> float:
        spent = 0.0
        while work > 1e-9:
            phase = (now + spent) % 100
            step = min(work, 100 * share - phase) if phase < 100 * share else 0.0
            work -= step
            spent += step if step > 0 else 100 - phase + 1e-9
        return spent

    return wall


def hog(seed: int) -> Machine:
    """A busy process on the same core: every 6 ms or so it takes a slice of some 3.5 ms."""
    draw = random.Random(seed)

    def wall(now: float, work: float) -> float:
        spent, left = work, work
        while (gap := draw.expovariate(1 / 6)) < left:
            left -= gap
            spent += draw.uniform(1.75, 5.25)
        return spent

    return wall


@dataclass
class Run:
    """What happened to each input; `full`: the full width ran."""

    milliseconds: list[float]
    full: list[bool]
    controller: Controller

    def error(self, first: int, last: int, target: float) -> float:
        return sum(self.milliseconds[first:last]) / (last - first) / target - 1

    def shares(self, first: int, last: int, window: int) -> list[float]:
        """Of the full width, in each window that begins 25 inputs after the one before."""
        starts = range(first, last - window + 1, 25)
        return [sum(self.full[start : start + window]) / window for start in starts]


def simulate(target: float, phases: list[tuple[int, float, Machine]], seed: int = 0, pause: float = 0.0) -> Run:
    """`phases`: number of inputs, exponent of their hardness (1 uniform, below 1 harder), machine.

    `pause`: milliseconds that the 600th input takes longer.
    """
    draw = random.Random(seed)
    run = Run([], [], Controller())
    now = 0.0
    for count, exponent, machine in phases:
        for _ in range(count):
            hardness = draw.random() ** exponent
            tokens = min(128.0, max(6.0, draw.lognormvariate(math.log(20), 0.5)))
            point = POINTS[run.controller.choose(COSTS)]
            work = (OTHER + (TRUNK + tail_ms(point, hardness)) * tokens / 24) * max(0.5, draw.gauss(1, 0.05))
            wall = machine(now, work) + (pause if len(run.full) == 600 else 0.0)
            now += wall
            run.controller.settle(wall, target)
            run.milliseconds.append(wall)
            run.full.append(2 in ran(point, hardness))
    return run


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("target", [1.5, 1.8, 2.4])
@pytest.mark.parametrize("scenario", ["stationary", "turns hard", "hog"])
def test_the_mean_is_held_within_5_percent_over_1000_inputs(scenario: str, target: float, seed: int) -> None:
    second: dict[str, tuple[int, float, Machine]] = {
        "stationary": (1000, 1.0, quiet),
        "turns hard": (1000, 0.4, quiet),
        "hog": (1000, 1.0, hog(seed)),
    }
    run = simulate(target, [(1000, 1.0, quiet), second[scenario], (1000, 1.0, quiet)], seed)
    for first in (0, 1000, 2000):
        assert abs(run.error(first, first + 1000, target)) <= 0.05
        assert turns(run.shares(first, first + 1000, 400), 0.1) <= 1


@pytest.mark.parametrize("seed", range(3))
def test_a_quota_that_leaves_too_little_is_forgotten_when_it_returns(seed: int) -> None:
    """At 20 % even the narrowest width takes longer than the target: it runs, and nothing winds up."""
    target = 1.8
    run = simulate(target, [(1000, 1.0, quiet), (1000, 1.0, quota(0.2)), (1100, 1.0, quiet)], seed)
    assert run.error(1000, 2000, target) > 0.5
    assert sum(run.full[1200:2000]) / 800 < 0.05
    assert abs(run.error(0, 1000, target)) <= 0.05
    assert abs(run.error(2100, 3100, target)) <= 0.05
    # Within 100 inputs the share of the full width is what it was before.
    before, after = (sum(run.full[first : first + 400]) / 400 for first in (600, 2100))
    assert abs(before - after) < 0.1


@pytest.mark.parametrize("seed", range(3))
def test_a_quota_that_leaves_enough_is_met(seed: int) -> None:
    target = 2.4
    run = simulate(target, [(1000, 1.0, quiet), (1000, 1.0, quota(0.5)), (1000, 1.0, quiet)], seed)
    # Regular pauses must first be told from a single one.
    assert abs(run.error(1300, 2000, target)) <= 0.05
    assert abs(run.error(1000, 2000, target)) <= 0.07
    assert abs(run.error(2000, 3000, target)) <= 0.05


@pytest.mark.parametrize("size", [5, 20, 100])
@pytest.mark.parametrize("seed", range(3))
def test_one_pause_moves_no_share(size: float, seed: int) -> None:
    target = 2.4
    with_pause, without = (simulate(target, [(1600, 1.0, quiet)], seed, pause) for pause in (size * target, 0.0))
    pairs = zip(with_pause.shares(600, 1600, 200), without.shares(600, 1600, 200), strict=True)
    assert max(abs(one - other) for one, other in pairs) <= 0.13
    if size <= 20:  # and it is made up for
        assert abs(with_pause.error(600, 1600, target)) <= 0.05


def test_a_machine_that_slept_owes_nothing() -> None:
    controller = Controller()
    controller.settle(3_600_000.0, 4.0)
    assert controller.arrears <= 100
    assert controller.debt <= 3.2


@given(st.lists(st.floats(0.01, 1e6), max_size=200), st.floats(0.1, 100))
def test_the_account_stays_within_its_bounds_whatever_is_measured(times: list[float], target: float) -> None:
    controller = Controller()
    for milliseconds in times:
        point = controller.choose(COSTS)
        assert 0 <= point < len(COSTS)
        if controller.exhausted:
            assert point == 0
        controller.settle(milliseconds, target)
        assert -DEBT_LIMIT <= controller.debt <= DEBT_LIMIT
        assert 0 <= controller.carry < 1
        assert controller.arrears >= 0
        assert controller.gap >= 0.5


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=20).map(sorted), st.floats(-SPAN, SPAN))
def test_points_take_turns_so_that_their_mean_cost_is_the_wanted_one(costs: list[float], debt: float) -> None:
    controller = Controller(debt=debt)
    turns = 400
    mean = sum(costs[controller.choose(costs)] for _ in range(turns)) / turns
    wanted = costs[0] + (0.5 - debt / (2 * SPAN)) * (costs[-1] - costs[0])
    assert abs(mean - wanted) <= (costs[-1] - costs[0]) / turns + 1e-6 * costs[-1]


def test_the_ends_of_the_account_are_the_ends_of_the_front() -> None:
    assert {Controller(debt=SPAN).choose(COSTS) for _ in range(5)} == {0}
    assert Controller(debt=DEBT_LIMIT).choose(COSTS) == 0
    assert Controller(debt=-DEBT_LIMIT).choose(COSTS) == len(COSTS) - 1
    assert Controller().choose([7.0]) == 0
    assert Controller().choose([7.0, 7.0]) == 1  # of equal cost, the later one is the better


def _golden_inputs() -> Iterator[float]:
    """A stream with every branch: ordinary inputs, pauses rare and regular, a slow machine, a fast one."""
    draw = random.Random(4)
    for number in range(300):
        slow = 6.0 if 100 <= number < 160 else 0.2 if number >= 240 else 1.0
        pause = 90.0 if number in (40, 41, 90) or (170 <= number < 230 and number % 8 == 0) else 0.0
        yield round(draw.uniform(0.5, 6.0) * slow + pause, 3)


def test_golden_decisions() -> None:
    """The same milliseconds give the same decisions and the same account, to the last bit, in every runtime."""
    record = json.loads(GOLDEN.read_bytes())
    assert record["milliseconds"] == list(_golden_inputs())
    controller = Controller()
    for number, milliseconds in enumerate(record["milliseconds"]):
        assert controller.choose(record["costs"]) == record["choices"][number], number
        controller.settle(milliseconds, record["target"])
        assert controller.debt == record["debts"][number], number
    assert set(record["choices"]) == set(range(len(record["costs"])))
