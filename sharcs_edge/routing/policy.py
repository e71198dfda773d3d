"""Router proposes, confidence disposes: which widths answer each sample under a policy, and what that costs.

A sample starts at the width that the router proposes. While the tail that ran is less sure than its threshold, the
next wider tail runs on the same trunk output; the widest one that ran answers. The cost is the trunk and every tail
that ran. Training, benchmarks and calibration simulate with this module what a runtime does (runtime/SPEC.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sharcs_edge.errors import UsageError
from sharcs_edge.routing.answers import Floats


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
    and of the one that answers; ``costs`` (samples,), of everything that ran, in the unit of the signals."""

    starts: NDArray[np.int64]
    widths: NDArray[np.int64]
    costs: NDArray[np.int64]


@dataclass(frozen=True)
class Signals:
    """What routing can see of each sample, and what it costs.

    Attributes:
        router_logits: (samples, widths), float32.
        confidence: (widths, samples) in [0, 1].
        own: an answer is sure of itself; otherwise only beside that of the next narrower width, provided that one ran
            too, else it is not sure at all.
        trunk_cost: (samples,) multiply-accumulates, or nanoseconds.
        tail_cost: (samples, widths), in the same unit.
    """

    router_logits: NDArray[np.float32]
    confidence: Floats
    own: bool
    trunk_cost: NDArray[np.int64]
    tail_cost: NDArray[np.int64]

    @property
    def widths(self) -> int:
        """How many widths there are."""
        return len(self.confidence)

    @property
    def full_cost(self) -> float:
        """Mean cost where the full width answers everything."""
        return float((self.trunk_cost + self.tail_cost[:, -1]).mean())

    @cached_property
    def cost_until(self) -> NDArray[np.int64]:
        """(samples, widths): of the trunk and all tails up to this one."""
        return np.asarray(self.trunk_cost[:, None] + np.cumsum(self.tail_cost, axis=1))

    def starts(self, offsets: Sequence[float]) -> NDArray[np.int64]:
        """(samples,) index of the width with the highest logit plus offset, in binary32; ties go to the narrower."""
        return np.asarray((self.router_logits + np.array(offsets, dtype=np.float32)).argmax(axis=1))

    def take(self, rows: NDArray[np.int64]) -> Signals:
        """These samples alone, in this order."""
        return Signals(
            self.router_logits[rows], self.confidence[:, rows], self.own, self.trunk_cost[rows], self.tail_cost[rows]
        )


def decide(signals: Signals, policy: Policy) -> Decisions:
    """Runs a policy over samples.

    Raises:
        UsageError: the policy is for another number of widths.
    """
    if len(policy.offsets) != signals.widths:
        raise UsageError(f"the policy has {len(policy.offsets)} widths, the outputs have {signals.widths}")
    return hand_on(signals, signals.starts(policy.offsets), policy.thresholds)


def hand_on(signals: Signals, starts: NDArray[np.int64], thresholds: Sequence[float]) -> Decisions:
    """What happens to samples that start at these widths: (samples,) indices."""
    widths = starts.copy()
    for width, threshold in enumerate(thresholds):
        own = signals.confidence[width]
        sure = own if signals.own else np.where(starts < width, own, 0.0)
        widths[(widths == width) & (sure < threshold)] += 1
    # Tails that ran: from the start to the answering one.
    rows = np.arange(len(starts))
    until = signals.cost_until
    skipped = until[rows, starts] - signals.tail_cost[rows, starts] - signals.trunk_cost
    return Decisions(starts, widths, until[rows, widths] - skipped)
