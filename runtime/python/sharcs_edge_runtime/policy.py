"""Which width runs for one input: limits, router logits, ties (SPEC.md, section 5, holds the order of decisions)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sharcs_edge_runtime.errors import ArtifactError, UsageError, WidthError
from sharcs_edge_runtime.manifest import WIDTH_TOLERANCE, find_width, format_widths

Reason = Literal["router", "explicit", "min_width", "max_width", "only_width"]


@dataclass(frozen=True)
class Budget:
    """What the caller allows per input: one `width`, or limits that the router's choice is held to.

    `min_width` and `max_width` are inclusive and need not be widths of the artifact. Raises UsageError for a value
    outside (0, 1], `width` together with a limit, or limits that contradict each other.
    """

    width: float | None = None
    min_width: float | None = None
    max_width: float | None = None

    def __post_init__(self) -> None:
        for name in ("width", "min_width", "max_width"):
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1:
                raise UsageError(f"{name} is {value!r}; expected a fraction above 0 and up to 1, such as 0.5")
        if self.width is not None and (self.min_width is not None or self.max_width is not None):
            raise UsageError("width fixes the route and cannot be combined with min_width or max_width; leave one out")
        if self.min_width is not None and self.max_width is not None and self.min_width > self.max_width:
            raise WidthError(
                f"min_width {self.min_width:g} is above max_width {self.max_width:g}, so that no width is allowed; "
                "swap or widen them"
            )


@dataclass(frozen=True)
class Route:
    """The width chosen for one input; `index` counts within the artifact's widths."""

    index: int
    width: float
    reason: Reason


class RoutePolicy:
    """The decision of SPEC.md, section 5. Immutable, so that threads may share it."""

    def __init__(self, widths: Sequence[float], bias: Sequence[float] | None = None) -> None:
        """`widths`: the artifact's, ascending. `bias`: added to the router logits, one finite number per width."""
        self.widths = tuple(widths)
        values = [0.0] * len(self.widths) if bias is None else list(bias)
        if len(values) != len(self.widths) or not all(math.isfinite(value) for value in values):
            raise UsageError(f"the route bias is {values}; expected {len(self.widths)} finite numbers, one per width")
        self._bias = np.asarray(values, dtype=np.float32)

    def allowed(self, budget: Budget) -> tuple[int, int]:
        """First and last index (inclusive) of the widths that `budget` allows; WidthError if there is none."""
        if budget.width is not None:
            index = find_width(self.widths, budget.width)
            return index, index
        low = 0.0 if budget.min_width is None else budget.min_width - WIDTH_TOLERANCE
        high = 1.0 if budget.max_width is None else budget.max_width
        inside = [index for index, width in enumerate(self.widths) if low <= width <= high + WIDTH_TOLERANCE]
        if not inside:
            raise WidthError(
                f"no width lies within {_limits(budget)}: the artifact has {format_widths(self.widths)}; "
                "widen the limits or export that width"
            )
        return inside[0], inside[-1]

    def choose(self, router_logits: NDArray[np.float32], budget: Budget) -> Route:
        """The route of one input. `router_logits`: (widths,). Equal scores go to the narrower width.

        Raises WidthError for a budget that no width satisfies, ArtifactError for logits that are not finite.
        """
        first, last = self.allowed(budget)
        if budget.width is not None:
            return Route(first, self.widths[first], "explicit")
        if len(self.widths) == 1:
            return Route(0, self.widths[0], "only_width")
        # binary32, so that every runtime adds alike; Python floats compare faster than array elements.
        scores: list[float] = (router_logits + self._bias).tolist()
        if not all(map(math.isfinite, scores)):
            raise ArtifactError(
                f"the router's scores are not finite ({scores}): the artifact is damaged or does not run on this "
                "machine; run `python -m sharcs_edge_runtime.verify` on it"
            )
        free = max(range(len(scores)), key=scores.__getitem__)  # max() keeps the first, which is the narrower
        if first <= free <= last:
            return Route(free, self.widths[free], "router")
        held = max(range(first, last + 1), key=scores.__getitem__)
        return Route(held, self.widths[held], "min_width" if free < first else "max_width")


def require_count(name: str, value: object) -> None:
    """UsageError unless the argument `name` is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UsageError(f"{name} is {value!r}; expected an integer of at least 1")


def _limits(budget: Budget) -> str:
    limits = (("min_width", budget.min_width), ("max_width", budget.max_width))
    return ", ".join(f"{name} {value:g}" for name, value in limits if value is not None)
