"""The front that calibration found, with the times of the machine that a record is of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from sharcs_edge.profile.records import Record
from sharcs_edge_runtime.tasks import METRICS


@dataclass(frozen=True)
class FrontPoint:
    """One operating point.

    Attributes:
        index: in `operating_points.json`.
        ms: mean per text, ESTIMATED from the measured stages for texts of the record's mean length.
        quality: the headline metric, or without labels 1 - drop.
        certified: calibration's promise covers it.
        used: share of the record's texts that the session ran at it.
    """

    index: int
    ms: float
    quality: float
    certified: bool
    used: float


def front_of(record: Record) -> list[FrontPoint]:
    """The points of a record in their order; none where the artifact is not calibrated or no texts were routed."""
    calibrated = record.get("operating_points")
    if calibrated is None or record["texts"] is None or record["mix"] is None:
        return []
    used = record["mix"].get("points", {})
    return [
        FrontPoint(
            index,
            _estimate(record, point["starts"], point["shares"]),
            1.0 - point["drop"] if point["score"] is None else point["score"],
            point["certified"],
            used.get(str(index), 0.0),
        )
        for index, point in enumerate(calibrated["points"])
    ]


def quality_name(record: Record) -> tuple[str, float]:
    """What `FrontPoint.quality` is, for people, and by what it is multiplied to be read: 100 for a share."""
    calibrated = record["operating_points"]
    if any(point["score"] is None for point in calibrated["points"]):
        return "agreement with full width", 100.0
    metrics = {metric.name: metric for group in METRICS.values() for metric in group}
    found = metrics.get(calibrated["metric"])
    return (calibrated["metric"], 1.0) if found is None else (found.title, 100.0 if found.is_share else 1.0)


def _estimate(record: Record, starts: Sequence[float], shares: Sequence[float]) -> float:
    """Each width runs for the texts that started at it or below, less those answered below it."""
    answered = (0.0, *accumulate(shares))
    runs = [max(begun - done, 0.0) for begun, done in zip(accumulate(starts), answered, strict=False)]
    shared = _stage_ms(record, "tokenise", None) + _stage_ms(record, "trunk", None)
    tails = zip(runs, record["artifact"]["widths"], strict=True)
    return shared + math.fsum(run * _stage_ms(record, "tail", width) for run, width in tails)


def _stage_ms(record: Record, stage: str, width: float | None) -> float:
    """The mean at the texts' mean length: linear between the measured lengths, and beyond the outer two."""
    tokens = record["texts"]["tokens_mean"]
    rows = [row for row in record["stages"] if row["stage"] == stage and row["width"] == width]
    times = sorted((row["tokens"], row["ms"]["mean"]) for row in rows)
    if len(times) == 1:
        return float(times[0][1] * tokens / times[0][0])
    segments = list(pairwise(times))
    (left, low), (right, high) = next((pair for pair in segments if tokens <= pair[1][0]), segments[-1])
    return max(float(low + (tokens - left) * (high - low) / (right - left)), 0.0)
