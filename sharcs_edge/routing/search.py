"""The policies worth choosing: the best one within each budget of compute, by trying many on a split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sharcs_edge.routing.answers import Floats
from sharcs_edge.routing.policy import Policy, Signals, hand_on
from sharcs_edge_runtime.operating_points import CERTAIN_BIAS

Score = Callable[[NDArray[np.int64]], float]
"""How good a split's answers are if each sample is answered by this width: (samples,) indices."""

CANDIDATES: Final = 12_000
_FINEST = 101  # values tried of one threshold or offset


def best_policies(
    signals: Signals,
    quality: Floats,
    budgets: Sequence[float],
    *,
    score: Score | None = None,
    use_router: bool = True,
    use_confidence: bool = True,
    candidates: int = CANDIDATES,
) -> list[Policy | None]:
    """For each budget of mean cost, the policy with the best score on these samples within it, the
    cheaper of equals; None where even the narrowest width exceeds it.

    Tried are some ``candidates`` combinations of thresholds for each width to start at, and as many of router offsets
    and thresholds, halfway between neighbouring samples. Without the router every sample starts at the same width;
    without confidence nothing is handed on. Beside confidence, the router must earn its part: it is taken where its
    answers are better by more than the standard error of the difference, since the best of so many settings is better
    by chance alone. Values of a regression, which are not sure by themselves, need not be better by so much.

    Args:
        signals: of the samples.
        quality: (widths, samples), how good each answer is by itself.
        budgets: of mean cost per sample, in the unit of the signals, tails that hand on included.
        score: what is best; the mean quality unless given.
        use_router: whether the router may say where a sample starts.
        use_confidence: whether an unsure tail may hand on.
        candidates: how many to try; fewer take less time.
    """
    search = _Search(signals, budgets, score or _mean_of(quality), candidates)
    simple = search.constant_starts(use_confidence)
    if not use_router:
        return [None if found is None else found.policy for found in simple]
    routed = search.routed_starts(use_confidence)
    if use_confidence and not signals.own:
        # Nothing is sure where it starts, so that the router by itself, with finer offsets, may be better.
        routed = [_better(*pair) for pair in zip(routed, search.routed_starts(use_confidence=False), strict=True)]
    chosen: list[Policy | None] = []
    for plain, other in zip(simple, routed, strict=True):
        if plain is None or other is None:  # the cheapest of both is the same: the narrowest width for all
            chosen.append(None)
            continue
        gain, error = _gain(quality, other, plain)
        better = other.score > plain.score and (gain > error or not (use_confidence and signals.own))
        chosen.append(other.policy if better else plain.policy)
    return chosen


def constant_offsets(width: int, widths: int) -> tuple[float, ...]:
    """Offsets with which every sample starts at the width of this index, whatever the router says."""
    return tuple(CERTAIN_BIAS if index == width else 0.0 for index in range(widths))


def halfway(values: Floats, points: int) -> NDArray[np.float32]:
    """At most ``points`` values strictly between neighbours of ``values``, and one outside either end."""
    ordered = np.unique(values)
    middles = (ordered[1:] + ordered[:-1]) / 2
    chosen = np.unique(np.linspace(0, len(middles) - 1, min(points, len(middles))).round().astype(int))
    return np.concatenate([[ordered[0] - 1.0], middles[chosen], [ordered[-1] + 1.0]]).astype(np.float32)


@dataclass(frozen=True)
class _Found:
    score: float
    cost: float
    policy: Policy
    widths: NDArray[np.int64]


class _Search:
    """The best policies within each budget, by trying many."""

    def __init__(self, signals: Signals, budgets: Sequence[float], score: Score, candidates: int) -> None:
        self.signals = signals
        self.budgets = budgets
        self.score = score
        self.candidates = candidates
        self.narrow = signals.widths - 1

    def constant_starts(self, use_confidence: bool) -> list[_Found | None]:
        """All samples start at the same width, whatever the router says."""
        best: list[_Found | None] = [None] * len(self.budgets)
        for start in range(self.narrow + 1):
            free = self.narrow - start if use_confidence else 0
            thresholds = self._thresholds(start if use_confidence else self.narrow, free)
            self._try(best, constant_offsets(start, self.signals.widths), thresholds)
        return best

    def routed_starts(self, use_confidence: bool) -> list[_Found | None]:
        """The router, with its offsets, says where each sample starts."""
        best: list[_Found | None] = [None] * len(self.budgets)
        values = self.narrow * (2 if use_confidence else 1)
        thresholds = self._thresholds(0 if use_confidence else self.narrow, values)
        margins = self.signals.router_logits[:, -1:] - self.signals.router_logits[:, :-1]
        for offsets in product(*(halfway(column, self._points(values)).tolist() for column in margins.T)):
            self._try(best, (*offsets, 0.0), thresholds)
        return best

    def _thresholds(self, first: int, values: int) -> list[tuple[float, ...]]:
        """Combinations worth trying of the thresholds from the width ``first`` on, where this many ``values`` are
        searched altogether; narrower widths never hand on."""
        grids = [
            np.maximum(halfway(row, self._points(values)), 0.0).tolist()
            for row in self.signals.confidence[first : self.narrow]
        ]
        return [((0.0,) * first + combination) for combination in product(*grids)]

    def _points(self, values: int) -> int:
        """How many to try of each of ``values`` values that are combined, without the two ends that `halfway` adds."""
        return min(_FINEST, max(3, int(self.candidates ** (1.0 / values)) - 2)) if values else 0

    def _try(
        self, best: list[_Found | None], offsets: tuple[float, ...], thresholds: Sequence[tuple[float, ...]]
    ) -> None:
        starts = self.signals.starts(offsets)
        for limits in thresholds:
            decisions = hand_on(self.signals, starts, limits)
            cost = float(decisions.costs.mean())
            if not (within := [index for index, budget in enumerate(self.budgets) if cost <= budget]):
                continue
            score = self.score(decisions.widths)
            for index in within:
                known = best[index]
                if known is None or (score, -cost) > (known.score, -known.cost):
                    best[index] = _Found(score, cost, Policy(offsets, limits), decisions.widths)


def _mean_of(quality: Floats) -> Score:
    rows = np.arange(quality.shape[1])
    return lambda widths: float(quality[widths, rows].mean())


def _better(one: _Found | None, other: _Found | None) -> _Found | None:
    if one is None or other is None:
        return one or other
    return max(one, other, key=lambda found: (found.score, -found.cost))


def _gain(quality: Floats, one: _Found, other: _Found) -> tuple[float, float]:
    """How much better the answers of ``one`` are on average, and the standard error of that."""
    rows = np.arange(len(one.widths))
    difference = quality[one.widths, rows] - quality[other.widths, rows]
    return float(difference.mean()), float(difference.std()) / float(np.sqrt(len(rows)))
