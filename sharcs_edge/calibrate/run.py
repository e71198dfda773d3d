"""One calibration from texts to `operating_points.json`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharcs_edge.calibrate.case import Case, Prices, Promise
from sharcs_edge.calibrate.certify import certify
from sharcs_edge.calibrate.collect import collect
from sharcs_edge.errors import UsageError
from sharcs_edge.latency import Latency, Timing
from sharcs_edge_runtime.artifact import file_sha256
from sharcs_edge_runtime.manifest import MANIFEST_NAME, Manifest, TaskName
from sharcs_edge_runtime.operating_points import SCHEMA_VERSION, OperatingPoints
from sharcs_edge_runtime.session import Session
from sharcs_edge_runtime.tasks import METRICS, Label, encode_labels
from sharcs_edge_runtime.tokenization import Text

_LIBRARIES = ("sharcs-edge", "onnxruntime", "numpy", "scipy")


@dataclass(frozen=True)
class Calibration:
    """The result of :func:`calibrate`.

    Attributes:
        artifact: its folder.
        file: the operating points, in it.
        task: of the artifact.
        widths: of the artifact, ascending.
        points: what the file holds.
        timing: of the milliseconds that decided which points are cheap; None where multiply-accumulates did.
        samples_needed: of each point, about how many texts would certify it at the losses seen; None where it is
            certified, and where no number up to a million would do.
        least_samples: how many texts it takes to certify a point that never loses; None for more than a million.
    """

    artifact: Path
    file: Path
    task: TaskName
    widths: tuple[float, ...]
    points: OperatingPoints
    timing: Timing | None
    samples_needed: tuple[int | None, ...]
    least_samples: int | None

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON values: the file's fields, and what it would take to certify more points."""
        record = asdict(self.points)
        for point, needed in zip(record["points"], self.samples_needed, strict=True):
            point["samples_needed"] = needed
        points = record.pop("points")
        return {
            "artifact": str(self.artifact),
            "file": str(self.file),
            **record,
            "timing": None if self.timing is None else self.timing.to_dict(),
            "least_samples": self.least_samples,
            "default": self.points.default,
            "points": points,
        }


def calibrate(
    session: Session,
    texts: Sequence[Text],
    labels: Sequence[Label] | None,
    promise: Promise,
    *,
    timing: Timing | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Calibration:
    """Runs every width on every text, chooses operating points and certifies what the texts prove of them; writes
    ``operating_points.json`` into the artifact, in one step, and replaces an older one.

    ``labels``: one per text, known to the artifact; None for a promise against the full width. ``timing``: what makes a
    point cheap is its time there; its multiply-accumulates if None. ``progress``: called with (texts done, texts) after
    each.

    Raises:
        UsageError: a promise against labels without any.
        InputError: a text that cannot be answered.
        DataError: too few texts.
        ArtifactError: results that are not finite; a file that cannot be written.
    """
    if labels is None and promise.against == "labels":
        raise UsageError("a promise against the labels needs labels; without any, promise against full")
    task = session.manifest.task
    truth = None if labels is None else encode_labels(task, labels, session.labels)
    outputs = collect(session, texts, progress=progress)
    prices = None if timing is None else prices_of(session.manifest, outputs.tokens, timing.latency)
    case = Case.of(task, outputs, truth, promise.against, prices)
    found = certify(case, promise)
    points = OperatingPoints(
        schema_version=SCHEMA_VERSION,
        manifest_sha256=file_sha256(session.artifact.file(MANIFEST_NAME)),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        tools={name: version(name) for name in _LIBRARIES},
        against=promise.against,
        samples=len(texts),
        tested=found.tested,
        metric=METRICS[task][0].name,
        max_drop=promise.max_drop,
        confidence=promise.confidence,
        method=found.method,
        value_scale=case.value_scale,
        points=found.points,
    )
    file = points.write(session.artifact)
    path = session.artifact.path
    return Calibration(path, file, task, session.widths, points, timing, found.samples_needed, found.least_samples)


def prices_of(manifest: Manifest, tokens: NDArray[np.int64], latency: Latency) -> Prices:
    """What the trunk and each tail cost for texts of so many tokens (texts,)."""
    graphs = [manifest.trunk, *(manifest.tail(width) for width in manifest.widths)]
    lengths, texts = np.unique(tokens, return_inverse=True)
    table = np.array([[latency.graph_ms(graph, length) for graph in graphs] for length in lengths.tolist()])
    nanoseconds = (table * 1e6).round().astype(np.int64)[texts]
    return Prices(nanoseconds[:, 0], nanoseconds[:, 1:])
