"""The router proposes a start width, confidence hands on; what it costs; which policies a split chooses."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharcs_edge.errors import UsageError
from sharcs_edge.routing.policy import Policy
from sharcs_edge.train.escalation import best_policies, decide, policies_of_record, policy_rows
from sharcs_edge.train.metrics import SplitOutputs
from sharcs_edge.train.tasks import Regression


def log_probabilities(*rows: float) -> list[list[float]]:
    """Logits of two classes with these probabilities of class 0."""
    return [[np.log(p), np.log(1 - p)] for p in rows]


def four_samples() -> SplitOutputs:
    """Class 0 is true; the narrowest width is sure, unsure, sure, unsure; the middle one sure but for the last."""
    logits = [
        log_probabilities(0.9, 0.6, 0.95, 0.4),
        log_probabilities(0.9, 0.8, 0.95, 0.6),
        log_probabilities(0.99, 0.99, 0.99, 0.99),
    ]
    router = [[5, 0, 0], [5, 0, 0], [0, 0, 5], [5, 0, 0]]
    return SplitOutputs(
        logits=np.array(logits, dtype=np.float32),
        router_logits=np.array(router, dtype=np.float32),
        labels=np.zeros(4, dtype=np.int64),
        trunk_macs=np.full(4, 10),
        tail_macs=np.tile([1, 3, 10], (4, 1)),
    )


def test_an_unsure_tail_hands_on_and_every_tail_that_ran_is_paid() -> None:
    decisions = decide(four_samples(), Policy((0.0, 0.0, 0.0), (0.7, 0.7)))
    assert decisions.starts.tolist() == [0, 0, 2, 0]
    assert decisions.widths.tolist() == [0, 1, 2, 2]
    assert decisions.costs.tolist() == [10 + 1, 10 + 1 + 3, 10 + 10, 10 + 1 + 3 + 10]


def test_offsets_move_the_start_and_zero_thresholds_never_hand_on() -> None:
    decisions = decide(four_samples(), Policy((0.0, 6.0, 0.0), (0.0, 0.0)))
    assert decisions.widths.tolist() == decisions.starts.tolist() == [1, 1, 1, 1]
    assert decisions.costs.tolist() == [13] * 4


def test_a_threshold_above_one_always_hands_on() -> None:
    assert decide(four_samples(), Policy((9.0, 0.0, 0.0), (1.5, 1.5))).widths.tolist() == [2] * 4


def test_a_number_is_sure_only_where_two_widths_agree() -> None:
    values = np.array([[[1.0], [1.0]], [[1.05], [4.0]], [[1.0], [5.0]]], dtype=np.float32)
    outputs = SplitOutputs(
        logits=values,
        router_logits=np.zeros((2, 3), dtype=np.float32),
        labels=np.array([1.0, 5.0], dtype=np.float32),
        trunk_macs=np.zeros(2, dtype=np.int64),
        tail_macs=np.tile([1, 3, 10], (2, 1)),
        task=Regression(),
    )
    decisions = decide(outputs, Policy((1.0, 0.0, 0.0), (0.5, 0.9)))
    assert decisions.widths.tolist() == [1, 2]
    # Started at the middle width there is nothing to agree with, so a threshold above 0 hands on.
    assert decide(outputs, Policy((0.0, 1.0, 0.0), (0.5, 0.9))).widths.tolist() == [2, 2]


def test_a_policy_must_fit_the_widths() -> None:
    with pytest.raises(UsageError, match="3 router offsets need 2 thresholds"):
        Policy((0.0, 0.0, 0.0), (0.5,))
    with pytest.raises(UsageError, match="policy has 2 widths, the outputs have 3"):
        decide(four_samples(), Policy((0.0, 0.0), (0.5,)))


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 1000),
    widths=st.integers(1, 4),
    use_router=st.booleans(),
    use_confidence=st.booleans(),
    share=st.floats(0.1, 1.2),
)
def test_best_policies_hold_their_budget_and_beat_every_static_width(
    seed: int, widths: int, use_router: bool, use_confidence: bool, share: float
) -> None:
    rng = np.random.default_rng(seed)
    samples = 30
    outputs = SplitOutputs(
        logits=rng.normal(size=(widths, samples, 3)).astype(np.float32),
        router_logits=rng.normal(size=(samples, widths)).astype(np.float32),
        labels=rng.integers(0, 3, samples),
        trunk_macs=np.full(samples, 50),
        tail_macs=rng.integers(90, 110, (samples, 1)) * np.arange(1, widths + 1),
    )
    static = [(float(outputs.macs[:, w].mean()), outputs.score(np.full(samples, w))) for w in range(widths)]
    budget = share * static[-1][0]
    (policy,) = best_policies(outputs, [budget], use_router=use_router, use_confidence=use_confidence)
    within = [score for cost, score in static if cost <= budget]
    if policy is None:
        assert not within
        return
    decisions = decide(outputs, policy)
    assert decisions.costs.mean() <= budget
    assert outputs.score(decisions.widths) >= max(within, default=0.0)
    if not use_confidence:
        assert (decisions.widths == decisions.starts).all()
    if not use_router:
        assert len(set(decisions.starts.tolist())) == 1


def test_a_record_of_policies_gives_the_same_rows_on_the_same_samples() -> None:
    outputs = four_samples()
    records = json.loads(json.dumps(policies_of_record(outputs)))
    assert [one["name"] for one in records] == ["escalated 67%"]  # the trunk alone costs half of the full width
    assert policy_rows(outputs, records) == [(one["name"], one["scores"], one["macs"]) for one in records]
    assert records[0]["macs"] <= 2 / 3 * 20


def test_the_choice_finds_the_threshold_that_separates_right_from_wrong() -> None:
    outputs = four_samples()
    (policy,) = best_policies(outputs, [22.0], use_router=False)
    assert policy is not None
    decisions = decide(outputs, policy)
    assert decisions.widths[3] > 0 and outputs.score(decisions.widths) == 1.0


def test_where_numbers_are_not_sure_the_router_alone_spends_the_budget() -> None:
    """The router knows how wrong the narrowest width is; beside it, no width is ever sure."""
    rng = np.random.default_rng(0)
    samples = 300
    truth, error = rng.normal(size=samples), rng.random(samples)
    values = np.stack([truth + 3 * error, truth + error / 4, truth])
    nothing = np.zeros(samples)
    outputs = SplitOutputs(
        logits=values[..., None].astype(np.float32),
        router_logits=np.stack([-4 * error, nothing, nothing - 9], axis=1).astype(np.float32),
        labels=truth.astype(np.float32),
        trunk_macs=np.full(samples, 10),
        tail_macs=np.tile([10, 50, 150], (samples, 1)),
        task=Regression(),
    )
    (policy,) = best_policies(outputs, [35.0])  # 20 and 3/8 of 40
    assert policy is not None
    decisions = decide(outputs, policy)
    assert decisions.widths.tolist() == decisions.starts.tolist()
    assert 34.5 < decisions.costs.mean() <= 35.0
    assert error[decisions.widths == 1].min() > error[decisions.widths == 0].max()
