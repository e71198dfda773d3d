"""Selection on dev, curves on test, and what random routing costs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.ablation import roc_area
from benchmarks.curves.points import (
    Point,
    at_policy,
    at_random,
    cost_at,
    curve_on_test,
    mixture,
    select,
    select_all,
)
from benchmarks.curves.separate import stacked
from sharcs_edge.routing.policy import Policy
from sharcs_edge.train.metrics import SplitOutputs


def point(dev_score: float, dev_macs: float, test_score: float = 0.0, test_macs: float = 0.0) -> Point:
    return Point(f"{dev_score} at {dev_macs}", dev_score, dev_macs, test_score, test_macs)


def outputs(answers: list[list[int]], labels: list[int], costs: list[int], sure: float = 5.0) -> SplitOutputs:
    """``answers``: (widths, samples) classes of two; ``costs``: of each width's tail; the trunk costs 1."""
    logits = np.full((*np.shape(answers), 2), 0.0, dtype=np.float32)
    np.put_along_axis(logits, np.array(answers)[..., None], sure, axis=-1)
    samples = len(labels)
    return SplitOutputs(
        logits,
        np.zeros((samples, len(costs)), dtype=np.float32),
        np.array(labels),
        np.ones(samples, dtype=np.int64),
        np.tile(np.array(costs), (samples, 1)),
    )


def test_selection_is_on_dev_alone_and_prefers_the_cheaper_of_equals() -> None:
    cheap, dear, wrong = point(0.8, 0.3), point(0.8, 0.4), point(0.7, 0.2, test_score=1.0)
    assert select([dear, cheap, wrong], 0.5) is cheap
    assert select([dear, cheap, wrong], 0.25) is wrong
    assert select([dear, cheap, wrong], 0.1) is None


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1.5)), min_size=1, max_size=20))
def test_a_larger_budget_never_lowers_the_dev_score(values: list[tuple[float, float]]) -> None:
    chosen = select_all([point(score, macs) for score, macs in values])
    scores = [chosen[budget].dev_score for budget in sorted(chosen)]
    assert scores == sorted(scores)
    assert chosen[float("inf")].dev_score == max(score for score, _ in values)
    assert all(one.dev_macs <= budget + 1e-6 for budget, one in chosen.items())


def test_a_curve_has_no_point_where_a_seed_has_none() -> None:
    low, high = point(0.8, 0.2, 0.7, 0.25), point(0.9, 1.0, 0.9, 1.0)
    curve = curve_on_test([{0.2: low, 1 / 3: low, float("inf"): high}, {1 / 3: low, float("inf"): high}])
    assert curve == [(0.25, [0.7, 0.7]), (1.0, [0.9, 0.9])]


def test_the_cost_of_a_score_lies_between_the_neighbours() -> None:
    curve = [(0.2, [0.8]), (0.4, [0.8, 0.9]), (1.0, [0.95])]  # mean scores 0.8, 0.85, 0.95
    assert cost_at(curve, 0.825) == pytest.approx(0.3)
    assert cost_at(curve, 0.9) == pytest.approx(0.7)
    assert cost_at(curve, 0.5) == 0.2
    assert cost_at(curve, 0.96) is None


def test_a_mixture_costs_its_budget() -> None:
    costs = (0.2, 0.5, 1.0)
    shares = mixture(costs, 0, 2, 0.6)
    assert shares == pytest.approx((0.5, 0.0, 0.5))
    assert mixture(costs, 1, 2, 5.0) == (0.0, 0.0, 1.0)
    assert mixture(costs, 1, 2, 0.4) is None
    assert mixture(costs, 2, 1, 0.9) is None


@given(st.integers(1, 50), st.lists(st.floats(0.01, 1), min_size=3, max_size=3))
def test_random_routing_gives_out_whole_samples(samples: int, weights: list[float]) -> None:
    right = outputs([[0] * samples] * 3, [0] * samples, [1, 2, 4])
    score, macs = at_random(right, weights)
    assert score == pytest.approx(1.0)
    expected = 1 + float(np.dot(weights, [1, 2, 4])) / sum(weights)
    assert macs == pytest.approx(expected, abs=6 / samples)


def test_random_routing_scores_the_mean_of_its_widths() -> None:
    score, macs = at_random(outputs([[1, 1, 1, 1], [0, 0, 0, 0]], [0, 0, 0, 0], [1, 3]), (0.5, 0.5))
    assert (score, macs) == (0.5, 3.0)


def test_a_cascade_pays_for_every_model_from_the_embeddings() -> None:
    narrow = outputs([[1, 1]], [1, 1], [3], sure=0.1)  # trunk 1 and tail 3
    full = outputs([[0, 0], [1, 1]], [1, 1], [0, 9])  # its widest costs 1 and 9
    cascade = stacked([{"dev": narrow}, {"dev": full}])["dev"]
    assert at_policy(cascade, Policy((0.0, 0.0), (0.9,))) == (1.0, 14.0)
    assert at_policy(cascade, Policy((0.0, 0.0), (0.0,))) == (1.0, 4.0)
    assert at_policy(cascade, Policy((0.0, 1.0), (0.9,))) == (1.0, 10.0)


def test_roc_area_counts_pairs_in_order_and_ties_half() -> None:
    assert roc_area(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])) == 0.75
    assert roc_area(np.array([1.0, 1.0, 1.0]), np.array([False, True, True])) == 0.5
    assert roc_area(np.array([1.0, 2.0]), np.array([True, True])) is None
