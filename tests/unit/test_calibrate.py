"""Calibration on known answers: what counts as lost, what is chosen and certified, and what is said of the rest."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sharcs_edge.calibrate.case import Against, Case, Prices, Promise
from sharcs_edge.calibrate.certify import Certification, Trial, certify, samples_to_certify
from sharcs_edge.calibrate.collect import Outputs
from sharcs_edge.calibrate.front import choose_front, divide, full_width
from sharcs_edge.calibrate.risk import fixed_sequence, p_value_of
from sharcs_edge.errors import DataError, UsageError
from sharcs_edge.routing.policy import decide
from sharcs_edge_runtime.manifest import TaskName

LARGE = Promise(0.05, 0.95, "labels")


def outputs_of(logits: NDArray[Any], router_logits: NDArray[Any] | None = None) -> Outputs:
    """Tails that cost 10, 20, 40, ... and take a tenth of that in milliseconds, behind a trunk of 5."""
    widths, samples, _ = logits.shape
    router = np.zeros((samples, widths)) if router_logits is None else router_logits
    tails = np.tile(10 * 2 ** np.arange(widths), (samples, 1))
    return Outputs(
        logits.astype(np.float32),
        router.astype(np.float32),
        np.full(samples, 5),
        tails,
        np.full(samples, 0.5),
        tails / 10,
        np.full(samples, 8),
    )


def separable(samples: int, flipped: float) -> tuple[Outputs, NDArray[np.int64]]:
    """Two widths; the narrow one is wrong for a share of the samples, and then less sure than where it is right."""
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 2, samples)
    wrong = draw.random(samples) < flipped
    margins = np.where(wrong, draw.uniform(0.1, 1, samples), draw.uniform(1.5, 4, samples))
    logits = np.zeros((2, samples, 2))
    logits[0, np.arange(samples), np.where(wrong, 1 - labels, labels)] = margins
    logits[1, np.arange(samples), labels] = 3.0
    return outputs_of(logits), labels


def calibrated(task: TaskName, outputs: Outputs, truth: NDArray[Any] | None, promise: Promise = LARGE) -> Certification:
    return certify(Case.of(task, outputs, truth, promise.against), promise)


@pytest.mark.parametrize("against", ["labels", "full"])
def test_a_narrow_width_that_knows_when_it_is_wrong_is_certified(against: Against) -> None:
    """A quarter of the samples must be handed on, and the best point does exactly that: 15 + a quarter of 20."""
    outputs, labels = separable(800, 0.25)
    found = calibrated("classification", outputs, labels, Promise(0.01, 0.95, against))
    cheapest = next(point for point in found.points if point.certified)
    assert cheapest.drop <= 0.01
    assert cheapest.macs == pytest.approx(15 + 0.25 * 20, abs=1.5)
    assert cheapest.starts == (1.0, 0.0)
    assert found.points[0].drop == pytest.approx(0.25, abs=0.04)  # the narrow width alone
    assert not found.points[0].certified


def test_the_figures_of_a_point_are_those_of_its_decisions_on_the_test_samples() -> None:
    outputs, labels = separable(300, 0.2)
    found = calibrated("classification", outputs, labels)
    rows = divide(300)[1]
    assert found.tested == len(rows) == 240
    point = next(point for point in found.points if 0 < point.shares[1] < 1)
    logits = outputs.logits[:, rows].astype(np.float64)
    confidence = 1 / (1 + np.exp(-np.abs(logits[0, :, 0] - logits[0, :, 1])))
    handed_on = confidence < point.thresholds[0]
    right = np.where(handed_on, logits[1].argmax(-1), logits[0].argmax(-1)) == labels[rows]
    assert point.shares == (1 - handed_on.mean(), handed_on.mean())
    assert point.score == right.mean()
    assert point.drop == pytest.approx(1 - right.mean())
    assert point.macs == pytest.approx(15 + 20 * handed_on.mean())
    assert point.mean_ms == pytest.approx(1.5 + 2 * handed_on.mean())
    assert point.drop <= point.drop_bound


def test_the_last_point_is_the_full_width_alone() -> None:
    outputs, labels = separable(100, 0.5)
    last = calibrated("classification", outputs, labels).points[-1]
    assert (last.shares, last.starts, last.macs, last.mean_ms) == ((0.0, 1.0), (0.0, 1.0), 25.0, 2.5)
    assert (last.score, last.drop, last.drop_bound, last.p_value, last.certified) == (1.0, 0.0, 0.0, 0.0, True)


def test_points_ascend_in_cost_and_the_certified_ones_are_dear() -> None:
    outputs, labels = separable(400, 0.3)
    points = calibrated("classification", outputs, labels).points
    assert [point.macs for point in points] == sorted(point.macs for point in points)
    certified = [point.certified for point in points]
    assert any(certified[:-1]) and certified == sorted(certified)


def test_too_few_samples_certify_nothing_and_the_number_that_would_do_does() -> None:
    promise = Promise(0.02, 0.95, "full")
    outputs, labels = separable(1000, 0.2)
    few = np.arange(100)
    found = calibrated("classification", outputs.take(few), labels[few], promise)
    assert not any(point.certified for point in found.points[:-1])
    assert found.least_samples == 187  # 149 to test: ln(.05) / ln(.98) = 148.3; and a fifth of all to choose by
    (needed,) = {min(one for one in found.samples_needed if one is not None)}
    assert needed >= found.least_samples
    enough = np.arange(2 * needed)
    assert any(
        point.certified
        for point in calibrated("classification", outputs.take(enough), labels[enough], promise).points[:-1]
    )


def test_what_no_number_of_samples_would_certify_has_none() -> None:
    outputs, labels = separable(100, 0.5)
    found = calibrated("classification", outputs, labels, Promise(0.001, 0.95, "labels"))
    assert found.points[0].drop > 0.3
    assert found.samples_needed[0] is None
    assert found.samples_needed[-1] is None  # the full width is certified already


def test_nothing_passes_after_a_point_that_no_number_of_samples_would_certify() -> None:
    certain, hopeless, fine = np.zeros(1000), np.repeat([1.0, 0.0], [19, 981]), np.repeat([1.0, 0.0], [8, 992])
    policy = full_width(2)
    promise = Promise(0.01, 0.95, "labels")
    p_value = p_value_of("paired_score", -1.0, promise.level)

    def needed(*all_losses: NDArray[np.float64]) -> list[int | None]:
        passed = fixed_sequence([p_value(one, 0.01) for one in all_losses], promise.level)
        trials = [Trial(policy, one, 0.0, good) for one, good in zip(all_losses, passed, strict=True)]
        return samples_to_certify(trials, p_value, promise)

    alone = needed(certain, fine)
    assert alone[0] is None and alone[1] is not None and alone[1] > 1250
    assert needed(certain, hopeless, fine) == [None, None, None]
    assert needed(certain, fine, hopeless) == [*alone, None]


def test_a_better_narrow_width_has_a_drop_below_zero() -> None:
    outputs, labels = separable(200, 0.0)
    worse = outputs.logits.copy()
    worse[1, :40] = worse[1, :40, ::-1]  # the full width is wrong for some
    points = calibrated("classification", outputs_of(worse), labels).points
    assert points[0].certified
    assert points[0].drop < -0.1
    assert points[0].drop_bound < 0.05


def test_without_labels_agreement_counts_and_nothing_is_scored() -> None:
    outputs, _ = separable(400, 0.2)
    points = calibrated("classification", outputs, None, Promise(0.05, 0.95, "full")).points
    assert {point.score for point in points} == {None}
    assert points[0].drop == pytest.approx(0.2, abs=0.05)


def test_an_artifact_of_one_width_has_one_point() -> None:
    outputs, labels = separable(50, 0.0)
    found = calibrated("classification", outputs_of(outputs.logits[1:]), labels)
    (point,) = found.points
    assert (point.thresholds, point.shares, point.macs, point.certified) == ((), (1.0,), 15.0, True)


def test_multi_label_by_labels_is_f1_and_against_full_the_whole_set() -> None:
    draw = np.random.default_rng(0)
    truth = draw.random((60, 4)) < 0.5
    full = np.where(truth, 2.0, -2.0)
    narrow = full.copy()
    narrow[:30, 0] *= -1  # one of four labels is wrong for half of the samples
    outputs = outputs_of(np.stack([narrow, full]))
    by_labels = Case.of("multi_label", outputs, truth, "labels")
    given = narrow >= 0
    f1 = 2 * (given & truth).sum(1) / np.maximum(given.sum(1) + truth.sum(1), 1)
    both_empty = (given.sum(1) + truth.sum(1)) == 0
    np.testing.assert_allclose(by_labels.quality[0], np.where(both_empty, 1.0, f1), rtol=1e-6)
    against_full = Case.of("multi_label", outputs, None, "full")
    assert against_full.quality[0].tolist() == [0.0] * 30 + [1.0] * 30
    assert calibrated("multi_label", outputs, truth).method.bound == "betting"
    assert calibrated("multi_label", outputs, None, Promise(0.05, 0.95, "full")).method.bound == "binomial"


def test_a_regression_hands_on_where_two_widths_differ() -> None:
    """In units of the labels' standard deviation among the samples to choose by, part of the operating points."""
    draw = np.random.default_rng(0)
    values = draw.normal(10, 3, 400)
    far = draw.random(400) < 0.3
    middle = values + 0.01
    narrow = np.where(far, values + 9, values)
    outputs = outputs_of(np.stack([narrow, middle, values])[..., None])
    scale = values[divide(400)[0]].std()
    case = Case.of("regression", outputs, values.astype(np.float32), "labels")
    assert case.value_scale == pytest.approx(scale, rel=1e-5)
    assert case.quality[0, ~far].min() == 1.0 and case.quality[0, far].max() < 0.1
    found = certify(case, LARGE)
    assert found.method.bound == "betting"
    cheapest = next(point for point in found.points if point.certified)
    assert cheapest.macs < 75 and cheapest.drop < 0.05
    against_full = Case.of("regression", outputs, None, "full")
    assert against_full.value_scale == pytest.approx(scale, rel=1e-5)
    assert certify(against_full, Promise(0.05, 0.95, "full")).points[-1].score is None


def test_a_regression_of_one_value_is_refused() -> None:
    outputs = outputs_of(np.ones((2, 20, 1)))
    with pytest.raises(DataError, match="too few different values"):
        Case.of("regression", outputs, np.ones(20), "labels")


def test_less_than_ten_samples_are_refused() -> None:
    outputs, labels = separable(9, 0.0)
    with pytest.raises(DataError, match="9 texts are too few to calibrate on; give hundreds or thousands, at least 10"):
        Case.of("classification", outputs, labels, "labels")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 0.95), "max-drop is 0; expected a number above 0 and below 1, such as 0.01"),
        ((1.0, 0.95), "max-drop is 1; "),
        ((float("nan"), 0.95), "max-drop is nan; "),
        ((0.01, 1.0), "confidence is 1; expected a number above 0 and below 1, such as 0.95"),
    ],
)
def test_promises_that_nobody_can_give(arguments: tuple[float, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Promise(*arguments)


@given(st.integers(10, 5000))
def test_samples_are_divided_once_and_for_all(samples: int) -> None:
    choosing, testing = divide(samples)
    assert sorted([*choosing, *testing]) == list(range(samples))
    assert len(choosing) == pytest.approx(samples / 5, abs=0.5)
    assert (divide(samples)[0] == choosing).all()


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 3))
def test_a_front_starts_dear_and_ends_with_the_narrowest_width(seed: int, widths: int) -> None:
    draw = np.random.default_rng(seed)
    outputs = outputs_of(draw.normal(size=(widths, 25, 3)), draw.normal(size=(25, widths)))
    case = Case.of("classification", outputs, draw.integers(0, 3, 25), "labels")
    front = choose_front(case.signals, case.quality, case.agreement, size=6, candidates=200)
    costs = [float(decide(case.signals, policy).costs.mean()) for policy in front]
    assert costs == sorted(costs, reverse=True)
    assert len(front) == len(set(front)) <= 6
    if widths > 1:
        assert costs[-1] == 15 and costs[0] < case.signals.full_cost
    assert (decide(case.signals, full_width(widths)).widths == widths - 1).all()


@pytest.mark.parametrize(
    ("tails", "points"),
    [((30, 20, 100), range(2, 25)), ((2, 10, 100), range(2, 25)), ((9, 9, 8), [0]), ((0, 0, 0), [0])],
)
def test_odd_prices_choose_no_point_of_as_many_multiply_accumulates_as_the_full_width(
    tails: tuple[int, ...], points: Container[int]
) -> None:
    draw = np.random.default_rng(0)
    outputs = outputs_of(draw.normal(size=(3, 100, 3)))
    prices = Prices(np.zeros(100, dtype=np.int64), np.tile(tails, (100, 1)))
    case = Case.of("classification", outputs, draw.integers(0, 3, 100), "labels", prices)
    front = choose_front(case.signals, case.quality, case.agreement, priced=case.priced, candidates=500)
    assert len(front) in points
    assert all(decide(case.signals, policy).costs.mean() < case.signals.full_cost for policy in front)


def test_points_are_cheap_in_time_and_ascend_in_multiply_accumulates_too() -> None:
    """Three widths, the two narrow ones about as slow: what runs the narrowest first then takes longer."""
    draw = np.random.default_rng(0)
    size = 400
    labels = draw.integers(0, 2, size)
    logits = np.zeros((3, size, 2))
    for width, wrong in enumerate((0.3, 0.15, 0.0)):
        right = draw.random(size) >= wrong
        rows = np.arange(size)
        logits[width, rows, np.where(right, labels, 1 - labels)] = np.where(right, draw.uniform(1, 4, size), 0.3)
    outputs = outputs_of(logits)
    slow = Prices(np.full(size, 1), np.tile([38, 39, 40], (size, 1)))
    prices: tuple[Prices | None, ...] = (None, slow)
    cases = [Case.of("classification", outputs, labels, "labels", price) for price in prices]
    for case in cases:
        front = choose_front(case.signals, case.quality, case.agreement, priced=case.priced, size=8, candidates=500)
        for signals in (case.signals, case.priced):
            costs = [float(decide(signals, policy).costs.mean()) for policy in front]
            assert costs == sorted(costs, reverse=True)
    by_macs, by_time = (certify(case, Promise(0.02)).points for case in cases)
    default = next(point for point in by_time if point.certified)
    assert next(point for point in by_macs if point.certified).starts[0] == 1.0
    assert default.starts in [(0.0, 1.0, 0.0), (0.0, 0.0, 1.0)]
