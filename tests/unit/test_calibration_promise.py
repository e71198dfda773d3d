"""The promise holds at its rate over resampled calibration sets, and breaks without the correction."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from sharcs_edge.calibrate.case import Against, Case, Promise
from sharcs_edge.calibrate.certify import run_trials
from sharcs_edge.calibrate.collect import Outputs
from sharcs_edge.calibrate.risk import fixed_sequence, holm
from sharcs_edge.routing.policy import Policy, decide

SIZE = 10_000
MAX_DROP, CONFIDENCE = 0.05, 0.9


def population(informed: bool) -> tuple[Outputs, NDArray[np.int64]]:
    """What three widths answer on 10,000 samples, and the true labels.

    Harder samples are answered wrong more often by narrow widths. If ``informed``, the router and the margins of the
    logits know of it, with noise; if not, both are noise alone, and any two policies of one cost are equally good.
    """
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 2, SIZE)
    hardness = draw.beta(0.7, 2.0, SIZE)
    logits = np.zeros((3, SIZE, 2), dtype=np.float32)
    for width, skill in enumerate((0.55, 0.3, 0.2)):
        wrong = draw.random(SIZE) < skill * hardness
        sure = 4.0 * (1.0 - hardness) * np.where(wrong, 0.5, 1.0) if informed else np.full(SIZE, 2.0)
        logits[width, np.arange(SIZE), np.where(wrong, 1 - labels, labels)] = np.abs(draw.normal(sure, 0.7)) + 1e-3
    known = hardness if informed else 0.0 * hardness
    router = np.stack([0.5 - known, 0.2 + 0.0 * known, known - 0.1], axis=1) + draw.normal(0, 0.4, (SIZE, 3))
    tails = np.tile([[10, 30, 100]], (SIZE, 1))
    outputs = Outputs(
        logits, router.astype(np.float32), np.full(SIZE, 5), tails, np.full(SIZE, 0.5), tails / 10.0, np.full(SIZE, 8)
    )
    return outputs, labels


def at_most(times: int) -> float:
    """Of a rate that was counted this often: the promised one and three standard errors."""
    level = 1 - CONFIDENCE
    return level + 3 * float(np.sqrt(level * CONFIDENCE / times))


@pytest.mark.parametrize(("against", "informed"), [("full", True), ("full", False), ("labels", True)])
def test_no_certified_point_loses_more_than_promised(against: Against, informed: bool) -> None:
    """Many calibrations in little time, with a coarse search."""
    outputs, labels = population(informed)
    whole = Case.of("classification", outputs, labels, against)
    promise = Promise(MAX_DROP, CONFIDENCE, against)
    draw = np.random.default_rng(1)
    times, broken, useful = 40, 0, 0
    for _ in range(times):
        front, _ = run_trials(whole.take(draw.integers(0, SIZE, 300)), promise, candidates=100)
        certified = [one.policy for one in front if one.certified]
        broken += any(float(whole.losses(policy).mean()) > MAX_DROP for policy in certified)
        useful += bool(certified)
    assert broken / times <= at_most(times)
    assert useful / times > 0.25  # where nothing can be certified, nothing is shown


def test_the_promise_breaks_without_a_correction() -> None:
    """Picking the cheapest of many policies by its own test, on the samples that it is picked by, fails far more often
    than once in ten; the same p-values with a correction do not."""
    whole = Case.of("classification", *population(informed=False), "full")
    draw = np.random.default_rng(3)
    sure = whole.signals.confidence[:-1]
    policies = [
        Policy((*draw.normal(0, 0.6, 2).tolist(), 0.0), tuple(np.quantile(sure, draw.random(2)).tolist()))
        for _ in range(400)
    ]
    policies.sort(key=lambda policy: -float(decide(whole.signals, policy).costs.mean()))  # the dearest first
    losses = np.stack([whole.losses(policy) for policy in policies]).astype(np.int8)
    too_much = losses.mean(axis=1) > MAX_DROP
    level, times, samples = 1 - CONFIDENCE, 300, 185  # so many that a single exact test nearly uses up its level
    broken = {"none": 0, "holm": 0, "fixed sequence": 0}
    for _ in range(times):
        lost = losses[:, draw.integers(0, SIZE, samples)].sum(axis=1)
        p_values = binom.cdf(lost, samples, MAX_DROP).tolist()
        passed = np.flatnonzero(np.array(p_values) <= level)
        broken["none"] += bool(len(passed) and too_much[passed[-1]])
        broken["holm"] += bool((too_much & holm(p_values, level)).any())
        broken["fixed sequence"] += bool((too_much & fixed_sequence(p_values, level)).any())
    assert broken["none"] / times > at_most(times) + 0.03
    assert broken["holm"] / times <= at_most(times)
    assert broken["fixed sequence"] / times <= at_most(times)
