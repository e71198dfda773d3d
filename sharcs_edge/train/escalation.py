"""Router proposes, confidence disposes: which widths answer each sample of a split, and the policies worth choosing.

A sample starts at the width that the router proposes. While the tail that ran is less sure than its threshold, the
next wider tail runs on the same trunk output; the widest one that ran answers. The cost is the trunk and every tail
that ran. Shapes as in `sharcs_edge.train.metrics`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharcs_edge.errors import UsageError
from sharcs_edge.train.metrics import SplitOutputs, halfway

Floats = NDArray[np.floating[Any]]
RECORDED_BUDGETS = (0.2, 1 / 3, 0.5, 2 / 3)
_CANDIDATES = 12_000
_FINEST = 101  # values tried of one threshold or offset
_CERTAIN = 1e6  # added to a router logit: this width, whatever the router says


@dataclass(frozen=True)
class Policy:
    """One setting of the routing.

    Attributes:
        offsets: added to the router logits, one per width; the largest sum is the width to start at.
        thresholds: a tail less sure than this hands on to the next wider one; one per width but the full one. 0 never
            hands on, more than 1 always does.
    """

    offsets: tuple[float, ...]
    thresholds: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.thresholds) != len(self.offsets) - 1:
            raise UsageError(
                f"{len(self.offsets)} router offsets need {len(self.offsets) - 1} thresholds, one for every width but "
                f"the full one; got {len(self.thresholds)}"
            )


@dataclass(frozen=True)
class Decisions:
    """What a policy does with each sample: ``starts`` and ``widths`` (samples,), indices of the first width that ran
    and of the one that answers; ``macs`` (samples,), the multiply-accumulates of everything that ran."""

    starts: NDArray[np.int64]
    widths: NDArray[np.int64]
    macs: NDArray[np.int64]


def confidences(outputs: SplitOutputs) -> tuple[Floats, bool]:
    """(widths, samples) in [0, 1], and whether an answer is sure of itself.

    Where it cannot be (a number), it is as sure as it is close to the next narrower width's answer, e^-x at x standard
    deviations of the labels, provided that one ran too; else it is not sure at all.
    """
    own = outputs.task.answer_confidence(outputs.logits)
    if own is not None:
        return own, True
    values = outputs.logits[..., 0]
    agreement = np.zeros(values.shape)
    agreement[1:] = np.exp(-np.abs(np.diff(values, axis=0)) / max(float(outputs.labels.std()), 1e-9))
    return agreement, False


def decide(outputs: SplitOutputs, policy: Policy) -> Decisions:
    """Runs a policy over a split.

    Raises:
        UsageError: the policy is for another number of widths.
    """
    if len(policy.offsets) != len(outputs.logits):
        raise UsageError(f"the policy has {len(policy.offsets)} widths, the outputs have {len(outputs.logits)}")
    starts = outputs.routes(np.array(policy.offsets, dtype=np.float32))
    return _escalate(outputs, starts, policy.thresholds, *confidences(outputs))


def _escalate(
    outputs: SplitOutputs, starts: NDArray[np.int64], thresholds: Sequence[float], confidence: Floats, own: bool
) -> Decisions:
    widths = starts.copy()
    for width, threshold in enumerate(thresholds):
        sure = confidence[width] if own else np.where(starts < width, confidence[width], 0.0)
        widths[(widths == width) & (sure < threshold)] += 1
    # Tails that ran: from the start to the answering one.
    rows = np.arange(len(starts))
    until = np.cumsum(outputs.tail_macs, axis=1)
    before = until[rows, starts] - outputs.tail_macs[rows, starts]
    return Decisions(starts, widths, outputs.trunk_macs + until[rows, widths] - before)


def measured(outputs: SplitOutputs, policy: Policy) -> tuple[dict[str, float], float]:
    """Every metric of the task under a policy, and the mean multiply-accumulates."""
    decisions = decide(outputs, policy)
    answers = outputs.answers[decisions.widths, np.arange(len(outputs.labels))]
    return outputs.task.scores(answers, outputs.labels), float(decisions.macs.mean())


def policies_of_record(outputs: SplitOutputs) -> list[dict[str, Any]]:
    """The best policy on these samples within each of :data:`RECORDED_BUDGETS`, as a training record keeps it: the
    budget as a share of the full width's multiply-accumulates, the policy, its scores here and their cost."""
    if len(outputs.logits) == 1:
        return []
    full = float(outputs.macs[:, -1].mean())
    records = []
    for budget, policy in zip(
        RECORDED_BUDGETS, best_policies(outputs, [share * full for share in RECORDED_BUDGETS]), strict=True
    ):
        if policy is not None:
            scores, macs = measured(outputs, policy)
            records.append(
                {"name": f"escalated {budget:.0%}", "budget": budget, **asdict(policy), "scores": scores, "macs": macs}
            )
    return records


def policy_rows(
    outputs: SplitOutputs, records: Iterable[Mapping[str, Any]]
) -> list[tuple[str, dict[str, float], float]]:
    """(name, scores, mean multiply-accumulates) of recorded policies on other samples."""
    return [
        (one["name"], *measured(outputs, Policy(tuple(one["offsets"]), tuple(one["thresholds"])))) for one in records
    ]


def best_policies(
    outputs: SplitOutputs, budgets: Sequence[float], *, use_router: bool = True, use_confidence: bool = True
) -> list[Policy | None]:
    """For each budget of mean multiply-accumulates, the policy with the best headline score on these samples within
    it, the cheaper of equals; None where even the narrowest width exceeds it.

    Tried are some 12,000 combinations of thresholds for each width to start at, and as many of router offsets and
    thresholds, halfway between neighbouring samples. Without the router every sample starts at the same width; without
    confidence nothing is handed on. Beside confidence, the router must earn its part: it is taken where its answers
    are better by more than the standard error of the difference, since the best of so many settings is better by chance
    alone.
    """
    search = _Search(outputs, budgets)
    simple = search.constant_starts(use_confidence)
    if not use_router:
        return [None if found is None else found.policy for found in simple]
    routed = search.routed_starts(use_confidence)
    chosen: list[Policy | None] = []
    for plain, other in zip(simple, routed, strict=True):
        if plain is None or other is None:  # the cheapest of both is the same: the narrowest width for all
            chosen.append(None)
            continue
        gain, error = _gain(outputs, other, plain)
        better = other.score > plain.score and (gain > error or not use_confidence)
        chosen.append(other.policy if better else plain.policy)
    return chosen


@dataclass(frozen=True)
class _Found:
    score: float
    cost: float
    policy: Policy
    widths: NDArray[np.int64]


class _Search:
    """The best policies within each budget, by trying many."""

    def __init__(self, outputs: SplitOutputs, budgets: Sequence[float]) -> None:
        self.outputs = outputs
        self.budgets = budgets
        self.narrow = len(outputs.logits) - 1
        self.confidence, self.own = confidences(outputs)

    def constant_starts(self, use_confidence: bool) -> list[_Found | None]:
        """All samples start at the same width, whatever the router says."""
        best: list[_Found | None] = [None] * len(self.budgets)
        for start in range(self.narrow + 1):
            offsets = tuple(_CERTAIN if width == start else 0.0 for width in range(self.narrow + 1))
            free = self.narrow - start if use_confidence else 0
            self._try(best, offsets, self._thresholds(start if use_confidence else self.narrow, free))
        return best

    def routed_starts(self, use_confidence: bool) -> list[_Found | None]:
        """The router, with its offsets, says where each sample starts."""
        best: list[_Found | None] = [None] * len(self.budgets)
        values = self.narrow * (2 if use_confidence else 1)
        thresholds = self._thresholds(0 if use_confidence else self.narrow, values)
        margins = self.outputs.router_logits[:, -1:] - self.outputs.router_logits[:, :-1]
        for offsets in product(*(halfway(column, _points(values)).tolist() for column in margins.T)):
            self._try(best, (*offsets, 0.0), thresholds)
        return best

    def _thresholds(self, first: int, values: int) -> list[tuple[float, ...]]:
        """Combinations worth trying of the thresholds from the width ``first`` on, where this many ``values`` are
        searched altogether; narrower widths never hand on."""
        grids = [
            np.maximum(halfway(row, _points(values)), 0.0).tolist() for row in self.confidence[first : self.narrow]
        ]
        return [((0.0,) * first + combination) for combination in product(*grids)]

    def _try(
        self, best: list[_Found | None], offsets: tuple[float, ...], thresholds: Sequence[tuple[float, ...]]
    ) -> None:
        starts = self.outputs.routes(np.array(offsets, dtype=np.float32))
        for limits in thresholds:
            decisions = _escalate(self.outputs, starts, limits, self.confidence, self.own)
            cost = float(decisions.macs.mean())
            if not (within := [index for index, budget in enumerate(self.budgets) if cost <= budget]):
                continue
            score = self.outputs.score(decisions.widths)
            for index in within:
                known = best[index]
                if known is None or (score, -cost) > (known.score, -known.cost):
                    best[index] = _Found(score, cost, Policy(offsets, limits), decisions.widths)


def _gain(outputs: SplitOutputs, one: _Found, other: _Found) -> tuple[float, float]:
    """How much better the answers of ``one`` are on average, and the standard error of that."""
    rows = np.arange(len(one.widths))
    difference = outputs.quality[one.widths, rows] - outputs.quality[other.widths, rows]
    return float(difference.mean()), float(difference.std()) / float(np.sqrt(len(rows)))


def _points(values: int) -> int:
    """How many to try of each of ``values`` values that are combined, without the two ends that `halfway` adds."""
    return min(_FINEST, max(3, int(_CANDIDATES ** (1.0 / values)) - 2)) if values else 0
