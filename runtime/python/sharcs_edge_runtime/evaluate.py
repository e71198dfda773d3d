"""Quality, compute and latency of an artifact on labelled texts, per width and routed, on this machine."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sharcs_edge_runtime.budget import Budget
from sharcs_edge_runtime.errors import InputError
from sharcs_edge_runtime.manifest import TaskName
from sharcs_edge_runtime.session import Prediction, Session
from sharcs_edge_runtime.tasks import Label, encode_labels, measure, measure_random, same_answers
from sharcs_edge_runtime.tokenization import Text

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LABELS_SHOWN = 10


@dataclass(frozen=True)
class EvaluationRow:
    """One way to answer the texts.

    `name`: "w=0.25" (that width for every text), "full" (width 1), "routed" or "random" (routes drawn with the routed
    shares). `share`: of the routed texts that this width answered, 0..1. `scores`: every metric of the task by its
    name, the headline first. `mean_macs`: per text, of the trunk and every tail that ran, without padding.
    Milliseconds: wall time of one prediction, tokenization included. `estimated`: computed from other rows, not
    measured; its milliseconds are None.
    """

    name: str
    width: float | None
    share: float | None
    scores: Mapping[str, float]
    mean_macs: float
    mean_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    estimated: bool

    def to_dict(self) -> dict[str, Any]:
        """The row as plain JSON values, each score under its own name."""
        plain = asdict(self)
        scores = plain.pop("scores")
        return {**{name: plain.pop(name) for name in ("name", "width", "share")}, **scores, **plain}


@dataclass(frozen=True)
class Agreement:
    """How close routed answers are to those of the widest width.

    `same`: share of texts (0..1) with the same label, or the same set of labels; None for regression. `difference`:
    mean absolute difference of the values; None but for regression.
    """

    same: float | None
    difference: float | None

    @classmethod
    def of(cls, task: TaskName, routed: NDArray[Any], full: NDArray[Any]) -> Agreement:
        """Of answers as `sharcs_edge_runtime.tasks` has them, (texts, ...)."""
        if task == "regression":
            return cls(None, float(np.abs(routed.astype(np.float64) - full).mean()))
        return cls(float(same_answers(task, routed, full, 0.0).mean()), None)

    def to_dict(self) -> dict[str, float]:
        """``agreement`` or ``mean_difference``, whichever the task has."""
        named = {"agreement": self.same, "mean_difference": self.difference}
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True)
class EvaluationRecord:
    """The result of `evaluate`.

    `agreement`: of the routed answers with those of the widest width. `budget_met`: share of the routed texts, 0..1,
    whose prediction says so; None for a budget without a limit on time or drop.
    """

    artifact: str
    task: TaskName
    texts: int
    threads: int
    mean_tokens: float
    truncated: int
    agreement: Agreement
    budget_met: float | None
    rows: tuple[EvaluationRow, ...]

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON values."""
        plain = {key: value for key, value in asdict(self).items() if key not in ("agreement", "rows")}
        return {**plain, **self.agreement.to_dict(), "rows": [row.to_dict() for row in self.rows]}


@dataclass(frozen=True)
class _Run:
    """Everything kept of one way to answer; arrays are (texts,), answers (texts, ...)."""

    answers: NDArray[Any]
    milliseconds: NDArray[np.float64]
    macs: NDArray[np.float64]
    widths: NDArray[np.float64]


def evaluate(
    session: Session,
    texts: Sequence[Text],
    labels: Sequence[Label],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> EvaluationRecord:
    """Answer every text with each width and routed (under the session's budget and, where it is calibrated, its
    operating points), one by one, and compare.

    `labels`: one per text, as the task has them: a label, a tuple of labels (maybe empty), or a number.

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
    task = session.manifest.task
    shares = [float((routed.widths == width).mean()) for width in session.widths]
    rows = [
        _measured(_static_name(width), width, share, run, measure(task, run.answers, truth))
        for width, share, run in zip(session.widths, shares, static, strict=True)
    ]
    routes = np.searchsorted(session.widths, routed.widths)
    random = measure_random(task, np.stack([run.answers for run in static]), truth, routes)
    tokens = [prediction.tokens for prediction in predictions[-1]]
    return EvaluationRecord(
        artifact=str(session.artifact.path),
        task=task,
        texts=len(texts),
        threads=session.threads,
        mean_tokens=float(np.mean(tokens)),
        truncated=sum(prediction.truncated for prediction in predictions[-1]),
        agreement=Agreement.of(task, routed.answers, static[-1].answers),
        budget_met=_share_met(predictions[-1]),
        rows=(
            *rows,
            _measured("routed", None, None, routed, measure(task, routed.answers, truth)),
            _random(rows, random),
        ),
    )


def _check(session: Session, texts: Sequence[Text], labels: Sequence[Label]) -> NDArray[Any]:
    """The true labels as `encode_labels` gives them; every text is tokenized once so that a bad one stops it here."""
    if len(texts) != len(labels):
        raise InputError(f"there are {len(texts)} texts and {len(labels)} labels; expected one label per text")
    if not texts:
        raise InputError("there are no texts to evaluate; give at least one text with its label")
    for index, label in enumerate(labels):
        _check_label(session, label, index)
    for index, text in enumerate(texts):
        session.encoder.encode(text, f"text {index}")
    return encode_labels(session.manifest.task, labels, session.labels)


def _check_label(session: Session, label: object, index: int) -> None:
    task = session.manifest.task
    if task == "regression":
        if isinstance(label, bool) or not isinstance(label, (int, float)) or not math.isfinite(label):
            raise InputError(f"label {label!r} of text {index} is no number, which this artifact's task asks for")
        return
    if task == "multi_label" and not isinstance(label, tuple):
        raise InputError(f"label {label!r} of text {index} is no tuple of labels; expected one, empty if none holds")
    for name in label if isinstance(label, tuple) else (label,):
        if name not in session.labels:
            shown = ", ".join(session.labels[:_LABELS_SHOWN])
            more = f", ... ({len(session.labels)} in all)" if len(session.labels) > _LABELS_SHOWN else ""
            raise InputError(f"label {name!r} of text {index} is not one that the artifact knows: {shown}{more}")


def answers_of(session: Session, predictions: Sequence[Prediction]) -> NDArray[Any]:
    """What predictions say, as `sharcs_edge_runtime.tasks` has answers: (texts, ...)."""
    field = {"classification": "label", "multi_label": "labels", "regression": "value"}[session.manifest.task]
    answers = [getattr(prediction, field) for prediction in predictions]
    return encode_labels(session.manifest.task, answers, session.labels)


def _collect(session: Session, predictions: Sequence[Prediction]) -> _Run:
    trunk = session.manifest.trunk.macs
    tails = {width: session.manifest.tail(width).macs for width in session.widths}
    macs = [
        trunk.count(answer.tokens) + sum([tails[width].count(answer.tokens) for width in answer.ran])
        for answer in predictions
    ]
    return _Run(
        answers=answers_of(session, predictions),
        milliseconds=np.array([answer.milliseconds for answer in predictions]),
        macs=np.array(macs, dtype=np.float64),
        widths=np.array([answer.width for answer in predictions]),
    )


def _share_met(routed: Sequence[Prediction]) -> float | None:
    met = [prediction.budget_met for prediction in routed if prediction.budget_met is not None]
    return sum(met) / len(met) if met else None


def _static_name(width: float) -> str:
    return "full" if width == 1 else f"w={width:.3g}"


def _measured(
    name: str, width: float | None, share: float | None, run: _Run, scores: Mapping[str, float]
) -> EvaluationRow:
    p50, p95 = np.percentile(run.milliseconds, (50, 95))
    return EvaluationRow(
        name=name,
        width=width,
        share=share,
        scores=scores,
        mean_macs=float(run.macs.mean()),
        mean_ms=float(run.milliseconds.mean()),
        p50_ms=float(p50),
        p95_ms=float(p95),
        estimated=False,
    )


def _random(static: Sequence[EvaluationRow], scores: Mapping[str, float]) -> EvaluationRow:
    """The expectation over random routes with the routed shares: what a router must beat to be worth anything."""
    return EvaluationRow(
        name="random",
        width=None,
        share=None,
        scores=scores,
        mean_macs=sum(row.mean_macs * (row.share or 0.0) for row in static),
        mean_ms=None,
        p50_ms=None,
        p95_ms=None,
        estimated=True,
    )
