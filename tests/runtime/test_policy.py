"""Routing: limits always hold, ties go to the narrower width, reasons say what really decided."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharcs_edge_runtime.controller import Controller
from sharcs_edge_runtime.errors import ArtifactError
from sharcs_edge_runtime.keeper import Allowance
from sharcs_edge_runtime.policy import Ceiling, Escalation, Reason, choose_route

finite = st.floats(-1e4, 1e4, width=32)


def single(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(np.array(values, dtype=np.float32).tolist())


def choose(
    logits: Sequence[float], first: int = 0, last: int = 2, bias: Sequence[float] | None = None, **given: Any
) -> tuple[int, Reason]:
    return choose_route(single(logits), single(bias or [0.0] * len(logits)), first, last, **given)


@pytest.mark.parametrize(
    ("logits", "limits", "expected"),
    [
        ([0, 1, 2], (0, 2), (2, "router")),
        ([0, 2, 1], (0, 2), (1, "router")),
        ([1, 1, 1], (0, 2), (0, "router")),
        ([0, 1, 1], (0, 2), (1, "router")),
        ([0, 1, 2], (0, 1), (1, "max_width")),
        ([1, 0, 2], (0, 1), (0, "max_width")),
        ([1, 0, 0], (0, 1), (0, "router")),
        ([2, 0, 1], (1, 2), (2, "min_width")),
        ([2, 1, 1], (1, 2), (1, "min_width")),
        ([2, 0, 1], (1, 1), (1, "min_width")),
        ([0, 0, 1], (1, 1), (1, "max_width")),
    ],
)
def test_decisions(logits: list[float], limits: tuple[int, int], expected: tuple[int, Reason]) -> None:
    assert choose(logits, *limits) == expected


def test_what_forbids_wider_widths_is_named() -> None:
    assert choose([0, 1, 2], 0, 1, ceiling="memory") == (1, "memory")


def test_bias_moves_the_choice() -> None:
    assert choose([0, 0, 1])[0] == 2
    assert choose([0, 0, 1], bias=[0, 1.5, 0])[0] == 1
    assert choose([1e4, -1e4, 0], bias=[0, 0, 1e6])[0] == 2


def test_scores_are_added_in_single_precision() -> None:
    # In binary64 the sum would exceed the tie by 1e-9; in binary32 it is a tie, which the narrower width wins.
    assert choose([1.0, 1.0, 0.0], bias=[0.0, 1e-9, 0.0])[0] == 0


vectors = st.lists(finite, min_size=3, max_size=3)


@given(vectors, vectors, st.sampled_from([(f, last) for f in range(3) for last in range(f, 3)]))
def test_the_choice_stays_within_limits_and_is_the_best_there(
    logits: list[float], bias: list[float], limits: tuple[int, int]
) -> None:
    scores = (np.array(logits, dtype=np.float32) + np.array(bias, dtype=np.float32)).tolist()
    index, reason = choose(logits, *limits, bias=bias)
    allowed = range(limits[0], limits[1] + 1)
    assert index in allowed
    assert scores[index] == max(scores[other] for other in allowed)
    assert all(scores[other] < scores[index] for other in allowed if other < index)
    free = int(np.argmax(scores))
    expected = "router" if free in allowed else "max_width" if free > limits[1] else "min_width"
    assert reason == expected


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_scores_that_are_not_finite_are_an_artifact_error(bad: float) -> None:
    with pytest.raises(ArtifactError, match="not finite"):
        choose([0, bad, 1])


def escalate(
    logits: Sequence[float],
    confidences: Sequence[float],
    thresholds: Sequence[float],
    *,
    limits: tuple[int, int] = (0, 2),
    ceiling: Ceiling = "max_width",
    explicit: bool = False,
    in_time: Callable[[int], bool] | None = None,
) -> tuple[list[int], str]:
    """The tails that run, where the tail i is sure of its answer by `confidences[i]`, and the reason at the end."""
    allowance = Allowance(
        first=limits[0],
        last=limits[1],
        ceiling=ceiling,
        explicit=explicit,
        point=0,
        bias=single([0.0] * len(logits)),
        thresholds=tuple(thresholds),
        deadline_ms=None if in_time is None else 10.0,
        memory_mb=None,
        target_ms=None,
        promised=False,
        controller=Controller(),
    )
    way = Escalation(single(logits), allowance, in_time)
    while way.goes_on(confidences[way.index]):
        pass
    assert way.ran[-1] == way.index
    return way.ran, way.reason


NARROW = [9.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("confidences", "thresholds", "ran", "reason"),
    [
        ([0.9, 0.9, 0.9], [0.8, 0.8], [0], "router"),
        ([0.5, 0.9, 0.9], [0.8, 0.8], [0, 1], "escalated"),
        ([0.5, 0.5, 0.1], [0.8, 0.8], [0, 1, 2], "escalated"),
        ([0.8, 0.0, 0.0], [0.8, 0.8], [0], "router"),  # as sure as the threshold is sure enough
        ([0.0, 0.0, 0.0], [0.0, 0.0], [0], "router"),
        ([1.0, 1.0, 1.0], [1.5, 1.5], [0, 1, 2], "escalated"),
        ([1.0, 1.0, 1.0], [1.5, 0.5], [0, 1], "escalated"),
    ],
)
def test_who_is_not_sure_hands_on(
    confidences: list[float], thresholds: list[float], ran: list[int], reason: str
) -> None:
    assert escalate(NARROW, confidences, thresholds) == (ran, reason)


UNSURE, ALWAYS = [0.0, 0.0, 0.0], [2.0, 2.0]


def test_it_starts_where_the_router_says() -> None:
    assert escalate([0, 9, 0], UNSURE, ALWAYS) == ([1, 2], "escalated")
    assert escalate([0, 0, 9], UNSURE, ALWAYS) == ([2], "router")


def test_limits_hold_for_escalation_too_and_are_named() -> None:
    assert escalate(NARROW, UNSURE, ALWAYS, limits=(0, 1)) == ([0, 1], "max_width")
    assert escalate(NARROW, UNSURE, ALWAYS, limits=(0, 0), ceiling="memory") == ([0], "memory")
    assert escalate(NARROW, UNSURE, ALWAYS, limits=(1, 2)) == ([1, 2], "escalated")
    assert escalate(NARROW, [1, 1, 1], [0.5, 0.5], limits=(1, 2)) == ([1], "min_width")


def test_a_given_width_asks_neither_router_nor_confidence() -> None:
    assert escalate([math.nan] * 3, UNSURE, ALWAYS, limits=(1, 1), explicit=True) == ([1], "explicit")


def test_one_width_has_no_choice() -> None:
    assert escalate([math.nan], [0.0], [], limits=(0, 0)) == ([0], "only_width")


@pytest.mark.parametrize(
    ("route", "in_time", "ran", "reason"),
    [
        (2, {0, 1, 2}, [2], "router"),
        (2, {0, 1}, [1], "deadline"),
        (2, {0}, [0], "deadline"),
        (2, set(), [0], "deadline"),  # none would end in time: the narrowest is the least late
        (0, set(), [0], "deadline"),  # the start is where it was, but it would have handed on
        (0, {0, 1, 2}, [0, 1, 2], "escalated"),
        (0, {0, 1}, [0, 1], "deadline"),
        (1, {0, 2}, [0], "deadline"),
    ],
)
def test_a_deadline_moves_the_start_and_stops_escalation(
    route: int, in_time: set[int], ran: list[int], reason: str
) -> None:
    logits = [9.0 * (index == route) for index in range(3)]
    assert escalate(logits, UNSURE, ALWAYS, in_time=in_time.__contains__) == (ran, reason)


def test_a_deadline_keeps_to_the_limits() -> None:
    assert escalate([0, 0, 9], UNSURE, [0, 0], limits=(1, 2), in_time=lambda index: False) == ([1], "deadline")
    given = escalate([0, 0, 9], UNSURE, ALWAYS, limits=(2, 2), explicit=True, in_time=lambda index: False)
    assert given == ([2], "explicit")


def test_a_deadline_that_forbids_nothing_is_not_named() -> None:
    assert escalate(NARROW, [1.0] * 3, [0.5, 0.5], in_time=lambda index: index == 0) == ([0], "router")


@given(vectors, st.lists(st.floats(0, 1), min_size=3, max_size=3), st.lists(st.floats(0, 2), min_size=2, max_size=2))
def test_tails_run_in_order_and_each_but_the_last_was_not_sure(
    logits: list[float], confidences: list[float], thresholds: list[float]
) -> None:
    ran, reason = escalate(logits, confidences, thresholds)
    assert ran == list(range(ran[0], ran[-1] + 1))
    assert ran[0] == int(np.argmax(single(logits)))
    assert all(confidences[index] < thresholds[index] for index in ran[:-1])
    assert ran[-1] == 2 or confidences[ran[-1]] >= thresholds[ran[-1]]
    assert reason == ("escalated" if len(ran) > 1 else "router")
