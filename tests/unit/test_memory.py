"""What is remembered of 10 million samples, and every array made from it on the way, stays below 1 GB."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sharcs_edge.train.hardness import ConfidenceWindow, GainAverage, draw_widths, published_thresholds
from sharcs_edge.train.sampler import single_width_steps

SAMPLES = 10_000_000
WIDTHS = (0.25, 0.5, 1.0)
LIMIT = 1_000_000_000


@pytest.fixture(autouse=True)
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def peak() -> int:
    return tracemalloc.get_traced_memory()[1]


def test_confidence_window_labels_and_draws() -> None:
    history = ConfidenceWindow(SAMPLES, window=3)
    history.values[:] = np.linspace(0.0, 1.0, SAMPLES, dtype=np.float32)[:, None]
    assert history.values.nbytes == 12 * SAMPLES
    labels = history.labels(published_thresholds(WIDTHS))
    drawn = draw_widths(labels, np.random.default_rng(0))
    assert labels[-1].tolist() == [True, False, False] and labels[0].tolist() == [False, False, True]
    assert set(np.unique(drawn).tolist()) == {0, 1, 2}
    assert peak() < LIMIT / 4


def test_gain_average_and_its_targets() -> None:
    history = GainAverage(SAMPLES, len(WIDTHS))
    everyone = np.arange(SAMPLES)
    history.record(everyone[:1000], 0, np.ones(1000, dtype=np.float32))
    assert history.values.nbytes == 12 * SAMPLES
    assert history.targets(everyone[:64]).shape == (64, 3)
    assert peak() < LIMIT / 2


def test_the_plan_of_an_epoch() -> None:
    """Of a tenth as many samples: its size is proportional."""
    samples = SAMPLES // 10
    assigned = (np.arange(samples) % len(WIDTHS)).astype(np.int8)
    lengths = np.full(samples, 20)
    tracemalloc.reset_peak()
    steps = single_width_steps(assigned, len(WIDTHS), lengths, 32, np.random.default_rng(0))
    assert sum(len(batch) for step in steps for _, batch in step) >= samples
    assert peak() < LIMIT / 10


def test_a_checkpoint_is_as_large_as_the_arrays_and_written_without_a_copy(tmp_path: Path) -> None:
    history = GainAverage(SAMPLES, len(WIDTHS))
    before = peak()
    np.savez(tmp_path / "state.npz", history=history.values)
    assert (tmp_path / "state.npz").stat().st_size < history.values.nbytes + 10_000
    assert peak() - before < history.values.nbytes / 2
