"""Routing: limits always hold, ties go to the narrower width, reasons say what really decided."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sharcs_edge_runtime.errors import ArtifactError, UsageError, WidthError
from sharcs_edge_runtime.policy import Budget, Route, RoutePolicy

WIDTHS = (0.25, 0.5, 1.0)
finite = st.floats(-1e4, 1e4, width=32)


def single(values: list[float]) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)


def choose(logits: list[float], budget: Budget | None = None, bias: list[float] | None = None) -> Route:
    policy = RoutePolicy(WIDTHS[: len(logits)], bias)
    return policy.choose(single(logits), budget or Budget())


@pytest.mark.parametrize(
    ("logits", "budget", "expected"),
    [
        ([0, 1, 2], Budget(), Route(2, 1.0, "router")),
        ([0, 2, 1], Budget(), Route(1, 0.5, "router")),
        ([1, 1, 1], Budget(), Route(0, 0.25, "router")),
        ([0, 1, 1], Budget(), Route(1, 0.5, "router")),
        ([0, 1, 2], Budget(width=0.25), Route(0, 0.25, "explicit")),
        ([0, 1, 2], Budget(width=0.2500001), Route(0, 0.25, "explicit")),
        ([0, 1, 2], Budget(max_width=0.5), Route(1, 0.5, "max_width")),
        ([1, 0, 2], Budget(max_width=0.5), Route(0, 0.25, "max_width")),
        ([1, 0, 0], Budget(max_width=0.5), Route(0, 0.25, "router")),
        ([2, 0, 1], Budget(min_width=0.5), Route(2, 1.0, "min_width")),
        ([2, 1, 1], Budget(min_width=0.3), Route(1, 0.5, "min_width")),
        ([2, 0, 1], Budget(min_width=0.5, max_width=0.6), Route(1, 0.5, "min_width")),
        ([0, 0, 1], Budget(min_width=0.5, max_width=0.6), Route(1, 0.5, "max_width")),
        ([5], Budget(), Route(0, 0.25, "only_width")),
        ([5], Budget(max_width=1), Route(0, 0.25, "only_width")),
        ([5], Budget(width=0.25), Route(0, 0.25, "explicit")),
    ],
)
def test_decisions(logits: list[float], budget: Budget, expected: Route) -> None:
    assert choose(logits, budget) == expected


def test_bias_moves_the_choice() -> None:
    assert choose([0, 0, 1]).index == 2
    assert choose([0, 0, 1], bias=[0, 1.5, 0]).index == 1


def test_scores_are_added_in_single_precision() -> None:
    # In binary64 the sum would exceed the tie by 1e-9; in binary32 it is a tie, which the narrower width wins.
    assert choose([1.0, 1.0, 0.0], bias=[0.0, 1e-9, 0.0]).index == 0


@st.composite
def limits(draw: st.DrawFn) -> Budget:
    low, high = sorted((draw(st.floats(0.01, 1)), draw(st.floats(0.01, 1))))
    return Budget(
        min_width=low if draw(st.booleans()) else None,
        max_width=high if draw(st.booleans()) else None,
    )


@given(st.lists(finite, min_size=3, max_size=3), limits(), st.lists(finite, min_size=3, max_size=3))
def test_the_choice_stays_within_limits_and_is_the_best_there(
    logits: list[float], budget: Budget, bias: list[float]
) -> None:
    policy = RoutePolicy(WIDTHS, bias)
    scores = (single(logits) + single(bias)).tolist()
    allowed = [
        index
        for index, width in enumerate(WIDTHS)
        if (budget.min_width or 0) - 1e-6 <= width <= (budget.max_width or 1) + 1e-6
    ]
    if not allowed:
        with pytest.raises(WidthError, match=r"the artifact has 0\.25, 0\.5, 1;"):
            policy.choose(single(logits), budget)
        return
    route = policy.choose(single(logits), budget)
    assert route.index in allowed
    assert route.width == WIDTHS[route.index]
    assert scores[route.index] == max(scores[index] for index in allowed)
    assert all(scores[index] < scores[route.index] for index in allowed if index < route.index)
    free = int(np.argmax(scores))
    assert (route.reason == "router") == (route.index == free)
    if route.reason == "max_width":
        assert budget.max_width is not None and WIDTHS[free] > budget.max_width
    if route.reason == "min_width":
        assert budget.min_width is not None and WIDTHS[free] < budget.min_width


@given(st.lists(finite, min_size=3, max_size=3))
def test_without_limits_it_is_the_first_argmax(logits: list[float]) -> None:
    best = int(single(logits).argmax())
    assert choose(logits) == Route(best, WIDTHS[best], "router")


@pytest.mark.parametrize("value", [0, -0.5, 1.5, math.nan, math.inf, True, "0.5"])
@pytest.mark.parametrize("name", ["width", "min_width", "max_width"])
def test_values_outside_the_range_are_usage_errors(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"{name} is .*expected a fraction above 0 and up to 1"):
        Budget(**{name: value})


def test_contradictions_are_named() -> None:
    with pytest.raises(WidthError, match=r"min_width 0\.5 is above max_width 0\.25"):
        Budget(min_width=0.5, max_width=0.25)
    with pytest.raises(UsageError, match="cannot be combined"):
        Budget(width=0.5, max_width=1)


def test_widths_that_do_not_exist_are_refused_with_those_that_do() -> None:
    with pytest.raises(WidthError, match=r"no width 0\.3: there are 0\.25, 0\.5, 1"):
        choose([0, 1, 2], Budget(width=0.3))
    with pytest.raises(WidthError, match=r"within min_width 0\.6, max_width 0\.9: the artifact has 0\.25, 0\.5, 1"):
        choose([0, 1, 2], Budget(min_width=0.6, max_width=0.9))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_scores_that_are_not_finite_are_an_artifact_error(bad: float) -> None:
    with pytest.raises(ArtifactError, match="not finite"):
        choose([0, bad, 1])


@pytest.mark.parametrize("bias", [[0.0], [0, 0, math.nan], [0] * 4])
def test_bias_must_fit_the_widths(bias: list[float]) -> None:
    with pytest.raises(UsageError, match="expected 3 finite numbers"):
        RoutePolicy(WIDTHS, bias)
