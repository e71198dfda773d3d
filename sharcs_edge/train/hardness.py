"""What is remembered about every training sample, and the hardness labels made from it.

Dense arrays of float32, one row per sample: with three widths, or a window of three, 10 million samples take 120 MB,
in memory and in a checkpoint. float16 would save half of it and round a sample across a threshold now and then. What is
computed over all samples goes block by block, so that no intermediate result is larger than the arrays themselves.

Where several processes train together, each records what all of them saw: their arrays stay the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from sharcs_edge.errors import UsageError
from sharcs_edge.train import processes
from sharcs_edge_runtime.manifest import format_widths

FloatArray = NDArray[np.floating]
_BLOCK = 1 << 18  # samples
# Width -> (lower, upper): the width suffices for a sample whose probability of the true class stayed in
# [lower, upper) over the window; an upper bound of 1 is inclusive, else saturated easy samples would match nothing.
# Published sets (METHOD section 1); two widths: the published form [t, 1] / [0, t] at t = 0.7.
PUBLISHED_THRESHOLDS: Mapping[int, tuple[tuple[float, float], ...]] = {
    1: ((0.0, 1.0),),
    2: ((0.7, 1.0), (0.0, 0.7)),
    3: ((0.7, 1.0), (0.4, 0.9), (0.0, 0.5)),
    4: ((0.7, 1.0), (0.5, 0.9), (0.2, 0.7), (0.0, 0.5)),
}


def published_thresholds(widths: tuple[float, ...], easy: float | None = None) -> NDArray[np.float64]:
    """(widths, 2) lower and upper confidence bounds; ``easy``: the t of two widths.

    Raises:
        UsageError: no set was published for this number of widths.
    """
    if len(widths) not in PUBLISHED_THRESHOLDS:
        raise UsageError(
            f"recipe sharcs has published thresholds for 2 to 4 widths, not for the {len(widths)} widths "
            f"{format_widths(widths)}; use fewer widths or --recipe distill"
        )
    if len(widths) == 2 and easy is not None:
        return np.array([(easy, 1.0), (0.0, easy)])
    return np.array(PUBLISHED_THRESHOLDS[len(widths)])


class ConfidenceWindow:
    """The probability of the true class of every sample in each of the last ``window`` epochs."""

    def __init__(self, samples: int, window: int) -> None:
        self.values = np.full((samples, window), np.nan, dtype=np.float32)

    def record(self, epoch: int, indices: NDArray[np.int64], confidence: FloatArray) -> None:
        """A sample seen twice in an epoch keeps the later value."""
        indices, confidence = _from_all(indices, confidence)
        self.values[indices, epoch % self.values.shape[1]] = confidence

    def labels(self, thresholds: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(samples, widths) multi-hot hardness labels; a sample that matches no width gets the full one.

        ``thresholds``: (widths, 2). Samples without a full window match nothing.
        """
        return _labels_within(self.values, thresholds)


class ConfidenceAverage:
    """A running average of every sample's probability of the true class: smoother than a window's extremes."""

    def __init__(self, samples: int, decay: float) -> None:
        self.decay = decay
        self.values = np.full((samples, 1), np.nan, dtype=np.float32)

    def record(self, epoch: int, indices: NDArray[np.int64], confidence: FloatArray) -> None:
        """A sample seen twice in an epoch counts twice."""
        indices, confidence = _from_all(indices, confidence)
        self.values[indices, 0] = _averaged(self.values[indices, 0], confidence, self.decay)

    def labels(self, thresholds: NDArray[np.float64]) -> NDArray[np.bool_]:
        """As :meth:`ConfidenceWindow.labels`, with the average in place of the lowest and the highest value."""
        return _labels_within(self.values, thresholds)


def draw_widths(labels: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.int8]:
    """(samples, widths) multi-hot labels -> (samples,) one of the matching widths of each sample, at random."""
    drawn = np.empty(len(labels), dtype=np.int8)
    for rows in _blocks(len(labels)):
        # The largest of independent uniform draws over the matches.
        drawn[rows] = np.where(labels[rows], rng.random(labels[rows].shape), -1.0).argmax(axis=1)
    return drawn


class GainAverage:
    """How well each width did on each sample compared with the full width: a running average in [0, 1].

    1: as good as the full width; 0: the full width was right and sure, the narrow one wrong. The first value of a
    sample is measured before the sample was ever trained on, which makes it the most honest one.
    """

    def __init__(self, samples: int, widths: int, decay: float = 0.5) -> None:
        self.decay = decay
        self.values = np.full((samples, widths), np.nan, dtype=np.float32)

    def record(self, indices: NDArray[np.int64], width: int, sufficiency: FloatArray) -> None:
        indices, sufficiency = _from_all(indices, sufficiency)
        self.values[indices, width] = _averaged(self.values[indices, width], sufficiency, self.decay)

    def targets(self, indices: NDArray[np.int64]) -> FloatArray:
        """(len(indices), widths) router targets: each narrow width's average, NaN if never measured; the full
        width's is what the best narrow one lacks."""
        targets = self.values[indices]
        narrow = targets[:, :-1]
        known = ~np.isnan(narrow).all(axis=1)
        targets[known, -1] = 1.0 - np.nanmax(narrow[known], axis=1)
        return targets


def _averaged(old: FloatArray, new: FloatArray, decay: float) -> FloatArray:
    """NaN in ``old`` where there is none yet."""
    return np.where(np.isnan(old), new, decay * old + (1.0 - decay) * new)


def _labels_within(values: FloatArray, thresholds: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(samples, values) all within the bounds (widths, 2) of each width, where none is NaN; else the full width."""
    matches = np.empty((len(values), len(thresholds)), dtype=np.bool_)
    for rows in _blocks(len(values)):
        lowest, highest = values[rows].min(axis=1), values[rows].max(axis=1)  # NaN where unseen
        for column, (lower, upper) in enumerate(thresholds):
            below = highest <= upper if upper >= 1.0 else highest < np.float32(upper)
            matches[rows, column] = (lowest >= np.float32(lower)) & below
        matches[rows, -1] |= ~matches[rows].any(axis=1)
    return matches


def _blocks(samples: int) -> Iterator[slice]:
    return (slice(start, start + _BLOCK) for start in range(0, samples, _BLOCK))


def _from_all(indices: NDArray[np.int64], values: FloatArray) -> tuple[NDArray[np.int64], FloatArray]:
    """What all processes recorded, the main one's last: an assignment keeps its values where another process repeated
    its sample (`sampler.share`)."""
    if processes.count() == 1:
        return indices, values
    recorded = processes.gather((indices, values))[::-1]
    return np.concatenate([rows for rows, _ in recorded]), np.concatenate([row_values for _, row_values in recorded])
