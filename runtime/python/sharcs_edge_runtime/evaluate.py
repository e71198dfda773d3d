"""Accuracy, compute and latency of an artifact on labelled texts, per width and routed, on this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sharcs_edge_runtime.errors import InputError
from sharcs_edge_runtime.policy import Budget
from sharcs_edge_runtime.session import Prediction, Session
from sharcs_edge_runtime.tokenization import Text

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LABELS_SHOWN = 10


@dataclass(frozen=True)
class EvaluationRow:
    """One way to answer the texts.

    `name`: "w=0.25" (that width for every text), "full" (width 1), "routed" or "random" (routes drawn with the routed
    shares). `share`: of the routed texts that ran this width. `mean_macs`: per text, trunk and router included, no
    padding. `accuracy`, `share`: 0..1. Milliseconds: wall time of one prediction, tokenization included. `estimated`:
    computed from other rows, not measured; its milliseconds are None.
    """

    name: str
    width: float | None
    share: float | None
    accuracy: float
    mean_macs: float
    mean_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    estimated: bool


@dataclass(frozen=True)
class EvaluationRecord:
    """The result of `evaluate`; `agreement`: share of texts (0..1) whose routed label is that of the widest width."""

    artifact: str
    texts: int
    threads: int
    mean_tokens: float
    truncated: int
    agreement: float
    rows: tuple[EvaluationRow, ...]

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON values."""
        return {**asdict(self), "rows": [asdict(row) for row in self.rows]}


@dataclass(frozen=True)
class _Run:
    """Everything kept of one way to answer; arrays are (texts,)."""

    labels: NDArray[np.int64]
    milliseconds: NDArray[np.float64]
    macs: NDArray[np.float64]
    widths: NDArray[np.float64]


def evaluate(
    session: Session,
    texts: Sequence[Text],
    labels: Sequence[str],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> EvaluationRecord:
    """Answer every text with each width and routed (under the session's budget), one by one, and compare.

    For each text all ways run in turn, starting with another one each time, so that a machine that slows down or
    speeds up does so for all of them. `progress` is called with (texts done, texts) after each text.
    Raises InputError for texts or labels that do not fit the artifact, naming their index, before anything is timed.
    """
    truth = _check(session, texts, labels)
    ways = [*(Budget(width=width) for width in session.widths), session.budget]  # the last one is "routed"
    for budget in ways:  # the first run of a graph pays for its memory
        session.predict(texts[0], budget=budget)
    predictions: list[list[Prediction]] = [[] for _ in ways]
    for index, text in enumerate(texts):
        for turn in range(len(ways)):
            way = (index + turn) % len(ways)
            predictions[way].append(session.predict(text, budget=ways[way]))
        if progress is not None:
            progress(index + 1, len(texts))
    *static, routed = (_collect(session, answers) for answers in predictions)
    shares = [float((routed.widths == width).mean()) for width in session.widths]
    rows = [
        _measured(_static_name(width), width, share, run, truth)
        for width, share, run in zip(session.widths, shares, static, strict=True)
    ]
    tokens = [prediction.tokens for prediction in predictions[-1]]
    return EvaluationRecord(
        artifact=str(session.artifact.path),
        texts=len(texts),
        threads=session.threads,
        mean_tokens=float(np.mean(tokens)),
        truncated=sum(prediction.truncated for prediction in predictions[-1]),
        agreement=float((routed.labels == static[-1].labels).mean()),
        rows=(*rows, _measured("routed", None, None, routed, truth), _random(rows)),
    )


def _check(session: Session, texts: Sequence[Text], labels: Sequence[str]) -> NDArray[np.int64]:
    """Indices of the true labels (texts,); every text is tokenized once so that a bad one stops it here."""
    if len(texts) != len(labels):
        raise InputError(f"there are {len(texts)} texts and {len(labels)} labels; expected one label per text")
    if not texts:
        raise InputError("there are no texts to evaluate; give at least one text with its label")
    known = {label: index for index, label in enumerate(session.labels)}
    for index, label in enumerate(labels):
        if label not in known:
            shown = ", ".join(session.labels[:_LABELS_SHOWN])
            more = f", ... ({len(known)} in all)" if len(known) > _LABELS_SHOWN else ""
            raise InputError(f"label {label!r} of text {index} is not one that the artifact knows: {shown}{more}")
    for index, text in enumerate(texts):
        session.encoder.encode(text, f"text {index}")
    return np.array([known[label] for label in labels])


def _collect(session: Session, predictions: Sequence[Prediction]) -> _Run:
    index = {label: place for place, label in enumerate(session.labels)}
    trunk = session.manifest.trunk.macs
    tails = {width: session.manifest.tail(width).macs for width in session.widths}
    macs = [trunk.count(answer.tokens) + tails[answer.width].count(answer.tokens) for answer in predictions]
    return _Run(
        labels=np.array([index[answer.label] for answer in predictions]),
        milliseconds=np.array([answer.milliseconds for answer in predictions]),
        macs=np.array(macs, dtype=np.float64),
        widths=np.array([answer.width for answer in predictions]),
    )


def _static_name(width: float) -> str:
    return "full" if width == 1 else f"w={width:g}"


def _measured(
    name: str, width: float | None, share: float | None, run: _Run, truth: NDArray[np.int64]
) -> EvaluationRow:
    p50, p95 = np.percentile(run.milliseconds, (50, 95))
    return EvaluationRow(
        name=name,
        width=width,
        share=share,
        accuracy=float((run.labels == truth).mean()),
        mean_macs=float(run.macs.mean()),
        mean_ms=float(run.milliseconds.mean()),
        p50_ms=float(p50),
        p95_ms=float(p95),
        estimated=False,
    )


def _random(static: Sequence[EvaluationRow]) -> EvaluationRow:
    """The expectation over random routes with the routed shares: what a router must beat to be worth anything."""
    return EvaluationRow(
        name="random",
        width=None,
        share=None,
        accuracy=sum(row.accuracy * (row.share or 0.0) for row in static),
        mean_macs=sum(row.mean_macs * (row.share or 0.0) for row in static),
        mean_ms=None,
        p50_ms=None,
        p95_ms=None,
        estimated=True,
    )
