"""Hardness labels, gain averages, steps and offsets."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharcs_edge.errors import UsageError
from sharcs_edge.train import hardness
from sharcs_edge.train.hardness import ConfidenceWindow, GainAverage, draw_widths, published_thresholds
from sharcs_edge.train.metrics import SplitOutputs, choose_offsets
from sharcs_edge.train.sampler import length_grouped_batches, share, single_width_steps

WIDTHS = (0.25, 0.5, 1.0)


def window(rows: list[list[float]]) -> ConfidenceWindow:
    history = ConfidenceWindow(len(rows), 3)
    for epoch, column in enumerate(np.array(rows).T):
        history.record(epoch, np.arange(len(rows)), column)
    return history


@pytest.mark.parametrize(
    ("confidence", "expected"),
    [
        ([1.0, 1.0, 1.0], [1, 0, 0]),  # saturated: the upper bound 1 is inclusive
        ([0.75, 0.8, 0.85], [1, 1, 0]),  # fits two widths
        ([0.7, 0.9, 0.9], [1, 0, 0]),  # .9 is outside [.4, .9)
        ([0.45, 0.45, 0.49], [0, 1, 1]),
        ([0.0, 0.1, 0.2], [0, 0, 1]),
        ([0.2, 0.95, 0.5], [0, 0, 1]),  # swings: matches nothing, so the full width
    ],
)
def test_hardness_labels_of_the_published_thresholds(confidence: list[float], expected: list[int]) -> None:
    assert window([confidence]).labels(published_thresholds(WIDTHS)).tolist() == [[bool(x) for x in expected]]


def test_a_sample_without_a_full_window_goes_to_the_full_width() -> None:
    history = ConfidenceWindow(2, 3)
    history.record(0, np.array([0]), np.array([1.0]))
    assert history.labels(published_thresholds(WIDTHS)).tolist() == [[False, False, True]] * 2


def test_the_window_forgets_the_oldest_epoch() -> None:
    history = window([[0.1, 0.9, 0.9]])
    assert history.labels(published_thresholds(WIDTHS)).tolist() == [[False, False, True]]
    history.record(3, np.array([0]), np.array([0.95]))
    assert history.labels(published_thresholds(WIDTHS)).tolist() == [[True, False, False]]


def test_the_easy_threshold_is_that_of_two_widths_alone() -> None:
    assert published_thresholds((0.25, 1.0), 0.9).tolist() == [[0.9, 1.0], [0.0, 0.9]]
    assert published_thresholds(WIDTHS, 0.9).tolist() == published_thresholds(WIDTHS).tolist()


def test_five_widths_have_no_published_thresholds() -> None:
    with pytest.raises(UsageError, match="2 to 4 widths"):
        published_thresholds((0.1, 0.2, 0.3, 0.4, 1.0))


def test_gain_average_starts_with_the_first_value_and_fills_the_full_width() -> None:
    gains = GainAverage(3, 3)
    gains.record(np.array([0, 1]), 0, np.array([1.0, 0.2]))
    gains.record(np.array([0]), 0, np.array([0.0]))
    gains.record(np.array([1]), 1, np.array([0.75]))
    targets = gains.targets(np.array([0, 1, 2]))
    assert targets[0, 0] == 0.5
    assert np.isnan(targets[0, 1])
    assert targets[0, 2] == 0.5
    np.testing.assert_allclose(targets[1], [0.2, 0.75, 0.25], atol=1e-3)
    assert np.isnan(targets[2]).all()


def test_labels_and_draws_do_not_depend_on_the_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).random((50, 3)).tolist()
    results = []
    for block in (7, 50, 1000):
        monkeypatch.setattr(hardness, "_BLOCK", block)
        labels = window(rows).labels(published_thresholds(WIDTHS))
        results.append((labels, draw_widths(labels, np.random.default_rng(1))))
    for labels, drawn in results:
        np.testing.assert_array_equal(labels, results[0][0])
        np.testing.assert_array_equal(drawn, results[0][1])
        assert labels[np.arange(50), drawn].all()


@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=200),
    batch_size=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_length_grouped_batches_hold_every_sample_once(lengths: list[int], batch_size: int, seed: int) -> None:
    indices = np.arange(len(lengths))
    batches = length_grouped_batches(indices, np.array(lengths), batch_size, np.random.default_rng(seed))
    assert sorted(np.concatenate(batches).tolist()) == indices.tolist()
    assert all(1 <= len(batch) <= batch_size for batch in batches)
    assert len(batches) == -(-len(lengths) // batch_size)


@given(assigned=st.lists(st.integers(0, 2), min_size=1, max_size=120), batch_size=st.integers(1, 9))
def test_single_width_steps(assigned: list[int], batch_size: int) -> None:
    """Every step has one batch per used width, all equally large; every sample occurs, only in its own width."""
    lengths = np.arange(len(assigned)) % 13 + 1
    steps = single_width_steps(np.array(assigned), 3, lengths, batch_size, np.random.default_rng(0))
    used = set(assigned)
    largest = max(Counter(assigned).values())
    assert len(steps) == -(-largest // batch_size)
    assert Counter(width for step in steps for width, samples in step for _ in samples) == dict.fromkeys(used, largest)
    for step in steps:
        assert {width for width, _ in step} == used
        assert len({len(samples) for _, samples in step}) == 1
        assert len(step[0][1]) <= batch_size
    seen = {(int(sample), width) for step in steps for width, samples in step for sample in samples}
    assert seen == set(enumerate(assigned))


@given(size=st.integers(1, 20), widths=st.integers(1, 3), processes=st.integers(1, 6))
def test_shares_of_a_step_make_up_the_step(size: int, widths: int, processes: int) -> None:
    """Each sample counts once, and the processes' weighted means average to the mean of the whole step."""
    loss = np.random.default_rng(0).random((widths, size))
    step = [(width, np.arange(size)) for width in range(widths)]
    means, seen = [], []
    for rank in range(processes):
        assignments, weight = share(step, rank, processes)
        assert len(assignments) % widths == 0 and assignments  # a part of every width, never empty
        means.append(weight * np.mean([loss[width, sample] for sample, width in assignments]))
        seen += assignments if weight else []
    assert sorted(seen) == sorted((sample, width) for sample in range(size) for width in range(widths))
    assert np.mean(means) == pytest.approx(loss.mean())


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), max_drop=st.sampled_from([0.0, 0.01, 0.1]), widths=st.integers(1, 4))
def test_offsets_hold_the_drop_and_never_cost_more_than_full(seed: int, max_drop: float, widths: int) -> None:
    rng = np.random.default_rng(seed)
    samples = 40
    outputs = SplitOutputs(
        logits=rng.normal(size=(widths, samples, 3)).astype(np.float32),
        router_logits=rng.normal(size=(samples, widths)).astype(np.float32),
        labels=rng.integers(0, 3, samples),
        trunk_macs=np.full(samples, 50),
        tail_macs=np.tile(np.arange(1, widths + 1) * 100, (samples, 1)),
    )
    routes = outputs.routes(choose_offsets(outputs, max_drop))
    summary = outputs.summary(routes)
    assert summary["routed_accuracy"] >= summary["accuracy"][-1] - max_drop - 1e-6
    assert summary["routed_macs"] <= summary["mean_macs"][-1]


def test_offsets_find_the_samples_that_a_perfect_router_marks() -> None:
    labels = np.array([0] * 10)
    right, wrong = [2.0, 0.0], [0.0, 2.0]
    narrow = [right] * 7 + [wrong] * 3
    router = np.array([[1.0, 3.0]] * 7 + [[-1.0, 3.0]] * 3, dtype=np.float32)  # ranks well, badly placed
    logits = np.array([narrow, [right] * 10], dtype=np.float32)
    outputs = SplitOutputs(logits, router, labels, np.zeros(10, dtype=np.int64), np.array([[1, 4]] * 10))
    routes = outputs.routes(choose_offsets(outputs, 0.0))
    assert routes.tolist() == [0] * 7 + [1] * 3
