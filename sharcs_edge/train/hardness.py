"""What is remembered about every training sample, and the hardness labels made from it.

Dense arrays, one row per sample: 10 million samples with three widths and a window of three take 120 MB.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sharcs_edge.errors import UsageError
from sharcs_edge_runtime.manifest import format_widths

FloatArray = NDArray[np.floating]
# Width -> (lower, upper): the width suffices for a sample whose probability of the true class stayed in
# [lower, upper) over the window; an upper bound of 1 is inclusive, else saturated easy samples would match nothing.
# Published sets (METHOD section 1); two widths: the published form [t, 1] / [0, t] at t = 0.7.
PUBLISHED_THRESHOLDS: Mapping[int, tuple[tuple[float, float], ...]] = {
    1: ((0.0, 1.0),),
    2: ((0.7, 1.0), (0.0, 0.7)),
    3: ((0.7, 1.0), (0.4, 0.9), (0.0, 0.5)),
    4: ((0.7, 1.0), (0.5, 0.9), (0.2, 0.7), (0.0, 0.5)),
}


def published_thresholds(widths: tuple[float, ...]) -> NDArray[np.float64]:
    """(widths, 2) lower and upper confidence bounds.

    Raises:
        UsageError: no set was published for this number of widths.
    """
    if len(widths) not in PUBLISHED_THRESHOLDS:
        raise UsageError(
            f"recipe sharcs has published thresholds for 2 to 4 widths, not for the {len(widths)} widths "
            f"{format_widths(widths)}; use fewer widths or --recipe distill"
        )
    return np.array(PUBLISHED_THRESHOLDS[len(widths)])


class ConfidenceWindow:
    """The probability of the true class of every sample in each of the last ``window`` epochs."""

    def __init__(self, samples: int, window: int) -> None:
        self.values = np.full((samples, window), np.nan, dtype=np.float32)

    def record(self, epoch: int, indices: NDArray[np.int64], confidence: FloatArray) -> None:
        """A sample seen twice in an epoch keeps the later value."""
        self.values[indices, epoch % self.values.shape[1]] = confidence

    def labels(self, thresholds: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(samples, widths) multi-hot hardness labels; a sample that matches no width gets the full one.

        ``thresholds``: (widths, 2). Samples without a full window match nothing.
        """
        unseen = np.isnan(self.values).any(axis=1)
        lowest, highest = self.values.min(axis=1), self.values.max(axis=1)
        matches = np.empty((len(self.values), len(thresholds)), dtype=np.bool_)
        for column, (lower, upper) in enumerate(thresholds):
            below = highest <= upper if upper >= 1.0 else highest < np.float32(upper)
            matches[:, column] = (lowest >= np.float32(lower)) & below & ~unseen
        matches[~matches.any(axis=1), -1] = True
        return matches


class GainAverage:
    """How well each width did on each sample compared with the full width: a running average in [0, 1].

    1: as good as the full width; 0: the full width was right and sure, the narrow one wrong. The first value of a
    sample is measured before the sample was ever trained on, which makes it the most honest one.
    """

    def __init__(self, samples: int, widths: int, decay: float = 0.5) -> None:
        self.decay = decay
        self.values = np.full((samples, widths), np.nan, dtype=np.float32)

    def record(self, indices: NDArray[np.int64], width: int, sufficiency: FloatArray) -> None:
        old = self.values[indices, width]
        mixed = self.decay * old + (1.0 - self.decay) * sufficiency
        self.values[indices, width] = np.where(np.isnan(old), sufficiency, mixed)

    def targets(self, indices: NDArray[np.int64]) -> FloatArray:
        """(len(indices), widths) router targets: each narrow width's average, NaN if never measured; the full
        width's is what the best narrow one lacks."""
        targets = self.values[indices]
        narrow = targets[:, :-1]
        known = ~np.isnan(narrow).all(axis=1)
        targets[known, -1] = 1.0 - np.nanmax(narrow[known], axis=1)
        return targets
