"""`operating_points.json`: what `calibrate` found out about an artifact (SPEC.md, section 14).

An operating point is one setting of the routing, a bias per width and a confidence threshold per width but the widest,
with its quality and cost on the calibration texts. The file lies beside `manifest.json` and is bound to it by hash.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Final, Literal

from sharcs_edge_runtime._attached import BINDING, Attached
from sharcs_edge_runtime._strict_json import (
    Reader,
    array,
    boolean,
    integer,
    mapping,
    number,
    one_of,
    optional,
    record,
    show,
    text,
)
from sharcs_edge_runtime.manifest import Manifest

SCHEMA_VERSION: Final = 1
OPERATING_POINTS_NAME: Final = "operating_points.json"
CERTAIN_BIAS: Final = 1e6
"""Added to a router logit: this width, whatever the router says."""

_SHARE_SLACK: Final = 1e-6


@dataclass(frozen=True)
class OperatingPoint:
    """One setting of the routing, and what the calibration texts showed about it. W: number of widths.

    Attributes:
        bias: (W,), added to the router logits; the largest sum is the width to start at.
        thresholds: (W - 1,); a tail whose confidence is below its threshold hands on to the next wider one. 0 never
            hands on, more than 1 always does. The widest has none.
        shares: (W,), share of the texts that each width answered; they add up to 1.
        starts: (W,), share of the texts that started at each width.
        macs: mean multiply-accumulates per text, of the trunk and every tail that ran.
        mean_ms: mean wall time per text on the machine that calibrated; None if it was not measured.
        score: the headline metric; None without labels.
        drop: estimated loss of quality against the full width, of 1; below 0: better than it.
        drop_bound: the drop is at most this, at `OperatingPoints.confidence`, for this point looked at by itself.
        p_value: of the test that the drop exceeds `OperatingPoints.max_drop`.
        certified: the promise of the file covers this point.
    """

    bias: tuple[float, ...]
    thresholds: tuple[float, ...]
    shares: tuple[float, ...]
    starts: tuple[float, ...]
    macs: float
    mean_ms: float | None
    score: float | None
    drop: float
    drop_bound: float
    p_value: float
    certified: bool


@dataclass(frozen=True)
class Method:
    """How points were certified: the multiple `test` and the `bound` of one p-value, by name."""

    test: str
    bound: str


@dataclass(frozen=True)
class OperatingPoints(Attached):
    """The front: operating points in ascending mean cost; the last one always runs the widest width, alone.

    The promise: with probability `confidence` over the draw of the calibration texts, no certified point loses more
    than `max_drop` against the full width, on texts like them.

    Attributes:
        tools: versions that made it, by name.
        against: what a lost answer is: a worse one by the labels, or one that differs from the full width's.
        samples: calibration texts; `tested`: those of them that the tests used.
        metric: name of the task's headline, of which `OperatingPoint.score` is.
        max_drop: the loss that the promise allows, of 1.
        confidence: of the promise, between 0 and 1.
        value_scale: standard deviation of the values (regression only, else None): the unit of its confidence.
        points: the front.
    """

    _NAME: ClassVar[str] = OPERATING_POINTS_NAME
    _VERSION: ClassVar[int] = SCHEMA_VERSION
    _COMMAND: ClassVar[str] = "calibrate"
    _CURE: ClassVar[str] = "run `sharcs-edge calibrate` again, or delete the file to route without it"

    tools: Mapping[str, str]
    against: Literal["labels", "full"]
    samples: int
    tested: int
    metric: str
    max_drop: float
    confidence: float
    method: Method
    value_scale: float | None
    points: tuple[OperatingPoint, ...]

    @property
    def full(self) -> OperatingPoint:
        """The point that always runs the widest width alone: the reference, and always certified."""
        return self.points[-1]

    @property
    def default(self) -> int:
        """The point of a session whose budget asks for none: the cheapest certified one."""
        return next(index for index, point in enumerate(self.points) if point.certified)

    def within(self, max_drop: float | None) -> tuple[int, ...]:
        """The points that a budget of this `max_drop` may use, ascending; without one, all.

        A drop that is smaller than the promise of the file leaves the full width alone: nothing else is promised.
        """
        if max_drop is None:
            return tuple(range(len(self.points)))
        last = len(self.points) - 1
        promised = self.max_drop <= max_drop
        return tuple(i for i, point in enumerate(self.points) if i == last or (promised and point.certified))

    @classmethod
    def _readers(cls) -> Mapping[str, Reader]:
        return _OPERATING_POINTS

    @classmethod
    def _inconsistencies(cls, sound: Mapping[str, Any]) -> Iterator[str]:
        return _inconsistencies(sound)

    def _misfits(self, manifest: Manifest) -> Iterator[str]:
        if (found := len(self.full.bias)) != len(manifest.widths):
            yield f"the artifact has {len(manifest.widths)} widths, these points are for {found} @ $.points"
        if (self.value_scale is None) == (manifest.task == "regression"):
            expected = "a number for regression" if manifest.task == "regression" else f"null for {manifest.task}"
            yield f"expected {expected}, got {show(self.value_scale)} @ $.value_scale"


def _inconsistencies(sound: Mapping[str, Any]) -> Iterator[str]:
    """Every broken rule between fields that could be read."""
    if {"samples", "tested"} <= sound.keys() and sound["tested"] > sound["samples"]:
        yield f"expected at most samples ({sound['samples']}), got {sound['tested']} @ $.tested"
    if sound.get("confidence") == 1:
        yield "no test is certain: expected a number below 1, got 1.0 @ $.confidence"
    points: Sequence[OperatingPoint] = sound.get("points", ())
    widths = len(points[0].bias) if points else 0
    for index, point in enumerate(points):
        yield from _point_problems(point, widths, f"$.points[{index}]")
    for index, (before, point) in enumerate(pairwise(points), start=1):
        if point.macs < before.macs:
            yield f"points must ascend in macs, {point.macs:g} follows {before.macs:g} @ $.points[{index}].macs"
    if points:
        yield from _last_problems(points[-1], f"$.points[{len(points) - 1}]")


def _point_problems(point: OperatingPoint, widths: int, path: str) -> Iterator[str]:
    for name, size in (("bias", widths), ("thresholds", widths - 1), ("shares", widths), ("starts", widths)):
        if (found := len(getattr(point, name))) != size:
            yield f"expected {size} numbers for {widths} widths, got {found} @ {path}.{name}"
    for name in ("shares", "starts"):
        if abs(math.fsum(getattr(point, name)) - 1) > _SHARE_SLACK:
            yield f"expected shares that add up to 1, got {math.fsum(getattr(point, name)):.6g} @ {path}.{name}"


def _last_problems(point: OperatingPoint, path: str) -> Iterator[str]:
    for name in ("shares", "starts"):
        values = getattr(point, name)
        if values and values[-1] != 1:
            place = f"{path}.{name}[{len(values) - 1}]"
            yield f"the last point runs the widest width for every text: expected 1.0, got {values[-1]:g} @ {place}"
    if point.drop != 0:
        yield f"the last point is the full width: expected a drop of 0.0, got {point.drop:g} @ {path}.drop"
    if not point.certified:
        yield f"the last point is the full width: expected true, got false @ {path}.certified"


_SHARE: Final = number(0.0, 1.0)
_DROP: Final = number(-1.0, 1.0)
_LARGE: Final = 1e18
_POINT: dict[str, Reader] = {
    "bias": array(number(-CERTAIN_BIAS, CERTAIN_BIAS)),
    "thresholds": array(number(0.0, 2.0), empty=True),
    "shares": array(_SHARE),
    "starts": array(_SHARE),
    "macs": number(0.0, _LARGE),
    "mean_ms": optional(number(0.0, _LARGE)),
    "score": optional(_DROP),
    "drop": _DROP,
    "drop_bound": _DROP,
    "p_value": _SHARE,
    "certified": boolean,
}
_OPERATING_POINTS: dict[str, Reader] = {
    "schema_version": one_of(SCHEMA_VERSION),
    **BINDING,
    "tools": mapping(text()),
    "against": one_of("labels", "full"),
    "samples": integer(1),
    "tested": integer(0),
    "metric": text(),
    "max_drop": _SHARE,
    "confidence": number(0.0, 1.0, above_minimum=True),
    "method": record(Method, {"test": text(), "bound": text()}),
    "value_scale": optional(number(0.0, _LARGE, above_minimum=True)),
    "points": array(record(OperatingPoint, _POINT)),
}
