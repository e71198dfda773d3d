"""When an input leaves an encoder early, and what it has cost by then."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.curves.early_exit import confident_exits, exit_macs, exited, patience_exits
from sharcs_edge.model.configuration import SharcsEncoderConfig
from sharcs_edge.train.metrics import SplitOutputs
from sharcs_edge.train.tasks import Regression

# 4 layers of 8 dimensions: each costs 4 * 8 * 8 + 2 * 8 * 16 per token, 2 * 8 per token squared; a head 8 * 8 + 8 * 3.
LAYER, SQUARED, HEAD = 512, 16, 88


@pytest.fixture
def config() -> SharcsEncoderConfig:
    return SharcsEncoderConfig(
        embedding_size=8,
        hidden_size=8,
        num_layers=4,
        num_heads=2,
        intermediate_size=16,
        id2label={0: "a", 1: "b", 2: "c"},
        trunk_layers=0,
        router_hidden_size=1,
    )


def test_an_exit_costs_its_layers_for_all_tokens_and_every_head_asked(config: SharcsEncoderConfig) -> None:
    tokens = 5
    until = exit_macs(config, np.array([tokens])).cumsum(axis=1)[0]
    layer = LAYER * tokens + SQUARED * tokens**2
    assert until[:3].tolist() == [n * layer + n * HEAD for n in (1, 2, 3)]
    # The last layer: keys, values, scores and context of all tokens, the rest of the first one.
    last = 2 * 64 * tokens + SQUARED * tokens + 2 * 64 + 256
    assert until[3] == 3 * layer + last + 4 * HEAD


def test_strengthened_exits_skip_all_but_the_first_token_of_their_own_layer(config: SharcsEncoderConfig) -> None:
    tokens, head = 5, 8 * 16 + 8 * 3
    until = exit_macs(config, np.array([tokens]), strengthened=True).cumsum(axis=1)[0]
    layer = LAYER * tokens + SQUARED * tokens**2
    first_only = 2 * 64 * tokens + SQUARED * tokens + 2 * 64 + 256
    assert until[:3].tolist() == [n * layer + first_only + (n + 1) * head for n in (0, 1, 2)]
    assert until[3] == 3 * layer + first_only + 3 * head + HEAD


def answers(classes: list[list[int]]) -> SplitOutputs:
    """(exits, samples) classes of three."""
    logits = np.eye(3, dtype=np.float32)[np.array(classes)]
    samples = len(classes[0])
    nothing = np.zeros(samples, dtype=np.int64)
    costs = np.tile(np.arange(1, len(classes) + 1), (samples, 1))
    return SplitOutputs(logits, np.zeros((samples, len(classes)), np.float32), nothing, nothing, costs)


def exit_of(classes: list[int], patience: int) -> int:
    """Algorithm 1 of Zhou et al. 2020, for one input."""
    counter = 0
    for index in range(1, len(classes)):
        counter = counter + 1 if classes[index] == classes[index - 1] else 0
        if counter == patience:
            return index
    return len(classes) - 1


@given(st.lists(st.lists(st.integers(0, 2), min_size=6, max_size=6), min_size=1, max_size=8), st.integers(1, 6))
def test_patience_counts_answers_that_agree_with_the_one_before(samples: list[list[int]], patience: int) -> None:
    outputs = answers(np.array(samples).T.tolist())
    assert patience_exits(outputs, patience).tolist() == [exit_of(sample, patience) for sample in samples]


def test_numbers_agree_within_the_tolerance() -> None:
    values = np.array([[0.0, 0.0], [0.3, 0.1], [0.35, 0.2], [2.0, 0.3]], dtype=np.float32)[..., None]
    nothing = np.zeros(2, dtype=np.int64)
    labels = np.zeros(2, dtype=np.float32)
    outputs = SplitOutputs(values, np.zeros((2, 4), np.float32), labels, nothing, np.ones((2, 4), int), Regression())
    assert patience_exits(outputs, 1, 0.11).tolist() == [2, 1]
    assert patience_exits(outputs, 2, 0.11).tolist() == [3, 2]


def test_the_first_confident_exit_answers_and_its_cost_includes_those_before() -> None:
    confidence = np.array([[0.9, 0.2, 0.2], [0.1, 0.8, 0.2], [0.0, 0.0, 0.0]])
    exits = confident_exits(confidence, (0.5, 0.7))
    assert exits.tolist() == [0, 1, 2]
    assert confident_exits(confidence, (0.0, 1.5)).tolist() == [0, 0, 0]
    outputs = answers([[0, 1, 1], [1, 0, 1], [1, 1, 1]])
    score, macs = exited(outputs, exits)
    assert score == pytest.approx(2 / 3)
    assert macs == pytest.approx((1 + (1 + 2) + (1 + 2 + 3)) / 3)
