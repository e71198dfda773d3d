"""The keeper: what a budget may ask of an artifact, which operating points it leaves, what it learns from inputs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sharcs_edge_runtime import Budget, Session
from sharcs_edge_runtime.budget import Rule
from sharcs_edge_runtime.controller import SPAN
from sharcs_edge_runtime.errors import UsageError, WidthError
from tests.runtime.conftest import TEXTS, point, write_points

CHEAP = point([1e6, 0, 0], [0, 0], macs=50.0, certified=False, drop_bound=0.1)
"""Certified for nothing."""
MIDDLE = point([0, 1e6, 0], [0, 0], macs=100.0)


@pytest.fixture
def calibrated(tiny_artifact: Path) -> Path:
    """Points 0 (narrowest, uncertified), 1 (middle, certified for 0.01) and 2 (full width)."""
    write_points(tiny_artifact, CHEAP, MIDDLE)
    return tiny_artifact


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (Budget(mean_ms=4), "^mean_ms needs operating points, .* run `sharcs-edge calibrate`"),
        (Budget(max_drop=0.01), "^max_drop needs operating points"),
        (Budget(energy_mj=3, watts=2), "^energy_mj needs operating points"),
        (Budget(when=(Rule(throttled=True, mean_ms=4),)), "^mean_ms needs operating points"),
    ],
)
def test_what_needs_operating_points_says_so(tiny_artifact: Path, budget: Budget, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Session.load(tiny_artifact, budget=budget)
    session = Session.load(tiny_artifact)
    with pytest.raises(UsageError, match=message):
        session.predict("a table", budget=budget)
    assert session.predict("a table").budget_met is None


def test_energy_needs_watts(calibrated: Path) -> None:
    with pytest.raises(UsageError, match=r"needs the watts .* `sharcs-edge profile --save --watts`"):
        Session.load(calibrated, budget=Budget(energy_mj=3))


def test_a_rule_that_leaves_no_width_of_this_artifact_is_refused_at_load(tiny_artifact: Path) -> None:
    with pytest.raises(WidthError, match=r"^the budget and when\[0\]: no width lies within min_width 0\.6, max_width"):
        Session.load(tiny_artifact, budget=Budget(min_width=0.6, when=(Rule(throttled=True, max_width=0.9),)))


def test_a_rule_with_too_little_memory_is_refused_at_load(tiny_artifact: Path) -> None:
    with pytest.raises(UsageError, match=r"when\[0\]: memory_mb is 3, and the trunk with tail_w025 takes"):
        Session.load(tiny_artifact, budget=Budget(when=(Rule(background=True, memory_mb=3),)))


@pytest.mark.parametrize(
    ("budget", "index"),
    [
        (Budget(), 1),  # the cheapest certified one
        (Budget(max_drop=0.01), 1),
        (Budget(max_drop=0.5), 1),
        (Budget(max_drop=0.001), 2),  # less than the file promises
        (Budget(deadline_ms=1e6), 1),
        (Budget(mean_ms=1e9), 2),  # the dearest, in the end
        (Budget(mean_ms=1e-9), 0),  # the cheapest of all
        (Budget(mean_ms=1e-9, max_drop=0.01), 1),  # the cheapest certified
    ],
)
def test_the_operating_point_that_a_budget_ends_at(calibrated: Path, budget: Budget, index: int) -> None:
    session = Session.load(calibrated, budget=budget)
    answers = [session.predict("a table") for _ in range(60)]
    assert answers[-1].point == index
    assert answers[-1].width == session.widths[index]


def test_a_mean_that_cannot_be_held_is_said_and_never_raised(calibrated: Path) -> None:
    session = Session.load(calibrated, budget=Budget(mean_ms=1e-6))
    met = [session.predict("a table").budget_met for _ in range(30)]
    assert met[0] is True  # nothing is known yet
    assert met[-1] is False
    easy = Session.load(calibrated, budget=Budget(mean_ms=1e6))
    assert all(easy.predict("a table").budget_met for _ in range(30))


def test_the_mean_is_followed_per_budget_whatever_object_says_it(calibrated: Path) -> None:
    session = Session.load(calibrated)
    for _ in range(30):
        session.predict("a table", budget=Budget(mean_ms=1e-6))
        session.predict("a table", budget=Budget(mean_ms=1e6))
    assert session.predict("a table", budget=Budget(mean_ms=1e-6)).point == 0
    assert session.predict("a table", budget=Budget(mean_ms=1e6)).point == 2


def test_a_program_may_make_a_budget_for_every_call(calibrated: Path) -> None:
    session = Session.load(calibrated)
    for number in range(200):
        assert session.predict("a table", budget=Budget(deadline_ms=1000 + number)).budget_met is True
    assert len(session._keeper._accounts) <= 64


def test_rules_follow_the_condition(calibrated: Path) -> None:
    rules = (Rule(battery_below=0.2, max_width=0.25), Rule(throttled=True, mean_ms=1e-6))
    session = Session.load(calibrated, budget=Budget(when=rules))
    push = session.conditions.push
    push(battery=0.9, throttled=False)
    plain = session.predict("a table")
    assert (plain.width, plain.reason, plain.budget_met) == (0.5, "router", None)
    push(battery=0.1)
    low = session.predict("a table")
    assert (low.width, low.reason) == (0.25, "max_width")
    push(battery=0.9, throttled=True)
    held = [session.predict("a table") for _ in range(30)]
    assert (held[-1].point, held[-1].budget_met) == (0, False)
    push(throttled=False)
    assert session.predict("a table").width == 0.5


def test_batches_count_too(calibrated: Path) -> None:
    session = Session.load(calibrated, budget=Budget(mean_ms=1e-6))
    session.predict_batch(TEXTS * 5)
    assert {answer.point for answer in session.predict_batch(TEXTS)} == {0}
    late = session.predict_batch(TEXTS, budget=Budget(deadline_ms=1e-6))
    assert {(answer.width, answer.budget_met) for answer in late} == {(0.25, False)}


def test_threads_share_one_account(calibrated: Path) -> None:
    session = Session.load(calibrated, budget=Budget(mean_ms=1e-6))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(session.predict, TEXTS * 20))
    allowance = session._keeper.start(session.budget)
    assert allowance.point == 0
    assert allowance.controller.debt >= SPAN
