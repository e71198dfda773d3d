"""The way of one input through the tails: where it starts, and when it goes on to a wider one (SPEC.md, section 5)."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from operator import add
from typing import TYPE_CHECKING, Literal

from sharcs_edge_runtime.errors import ArtifactError, UsageError

if TYPE_CHECKING:
    from sharcs_edge_runtime.keeper import Allowance

Reason = Literal["router", "explicit", "only_width", "min_width", "max_width", "memory", "deadline", "escalated"]
"""What decided which width answers."""
Ceiling = Literal["max_width", "memory"]
"""What forbids the widths above the widest allowed one."""


def choose_route(
    router_logits: Sequence[float],
    bias: Sequence[float],
    first: int,
    last: int,
    ceiling: Ceiling = "max_width",
) -> tuple[int, Reason]:
    """Where an input starts, as an index into the artifact's widths, and why.

    That is the width with the largest sum of router logit and bias, both binary32 of (widths,), among `first` to
    `last`, inclusive. Equal sums go to the narrower width. Raises ArtifactError for logits that are not finite.
    """
    # Every runtime adds in binary32: a binary64 sum of two binary32 values, rounded once more, is the same number.
    scores = array("f", map(add, router_logits, bias))
    if not all_finite(scores):
        raise ArtifactError(
            f"the router's scores are not finite ({scores.tolist()}): the artifact is damaged or does not run on this "
            "machine; run `python -m sharcs_edge_runtime.verify` on it"
        )
    free = scores.index(max(scores))  # the first of equals, which is the narrower
    if first <= free <= last:
        return free, "router"
    held = max(range(first, last + 1), key=scores.__getitem__)
    return held, "min_width" if free < first else ceiling


def all_finite(values: Sequence[float]) -> bool:
    """Whether no value is NaN or infinite. `values`: binary32, whose sum in binary64 cannot overflow."""
    return math.isfinite(sum(values))


class Escalation:
    """The tails that one input takes: `index` is the one to run now, or that answers; `reason`, why that one."""

    __slots__ = ("_allowance", "_startable", "index", "ran", "reason")

    def __init__(
        self, router_logits: Sequence[float], allowance: Allowance, startable: Callable[[int], bool] | None
    ) -> None:
        """`router_logits`: (widths,). `startable`: whether a tail would end by the deadline; None without one.

        Raises ArtifactError for router logits that are not finite.
        """
        self._allowance = allowance
        self._startable = startable
        self.ran: list[int] = []
        self.reason: Reason
        if allowance.explicit:
            self.index, self.reason = allowance.first, "explicit"
        elif len(allowance.bias) == 1:
            self.index, self.reason = 0, "only_width"
        else:
            self.index, self.reason = choose_route(
                router_logits, allowance.bias, allowance.first, allowance.last, allowance.ceiling
            )
        if startable is not None:
            self._hold_deadline(startable)

    def _hold_deadline(self, startable: Callable[[int], bool]) -> None:
        """Start at the widest tail up to the route that would end in time, else at the narrowest that may run."""
        while self.index > self._allowance.first and not startable(self.index):
            self.index -= 1
            self.reason = "deadline"

    @property
    def cut_short(self) -> bool:
        """Whether a limit, not the operating point, gave the answer to a width that is not the widest."""
        return self.index < len(self._allowance.thresholds) and self.reason not in ("router", "escalated", "only_width")

    def goes_on(self, confidence: float) -> bool:
        """The tail `index` ran and is this sure of its answer: True if the next wider one, now `index`, must run."""
        allowance, index = self._allowance, self.index
        self.ran.append(index)
        if index == len(allowance.thresholds) or allowance.explicit or not confidence < allowance.thresholds[index]:
            return False
        if index == allowance.last:
            self.reason = allowance.ceiling
            return False
        if self._startable is not None and not self._startable(index + 1):
            self.reason = "deadline"
            return False
        self.index, self.reason = index + 1, "escalated"
        return True


def require_count(name: str, value: object) -> None:
    """UsageError unless the argument `name` is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UsageError(f"{name} is {value!r}; expected an integer of at least 1")
