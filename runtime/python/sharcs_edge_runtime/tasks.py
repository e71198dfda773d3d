"""What an answer is for each task, and how good answers are: shared by training, evaluation and verification.

Shapes: ``logits`` (..., samples, labels). ``answers`` and ``truth``: classification, index of the label (..., samples),
integers; multi-label, whether each label holds (..., samples, labels), booleans; regression, the value (..., samples),
floats. Leading dimensions, such as one of widths, belong to ``logits`` and ``answers`` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from sharcs_edge_runtime.manifest import TaskName

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[Any]

Label: TypeAlias = str | tuple[str, ...] | float
"""A true label as data has it: the name of a class, the names that hold (maybe none), or a value."""

_RANDOM_DRAWS: Final = 32


def encode_labels(task: TaskName, labels: Sequence[Label], names: Sequence[str]) -> Array:
    """True labels as numbers: int64 (samples,), bool (samples, names) or float32 (samples,), by task.

    Raises KeyError for a label that is not in `names`.
    """
    if task == "regression":
        return np.array(labels, dtype=np.float32)
    place = {name: index for index, name in enumerate(names)}
    if task == "classification":
        return np.array([place[str(label)] for label in labels], dtype=np.int64)
    holds = np.zeros((len(labels), len(names)), dtype=np.bool_)
    for row, label in enumerate(labels):
        assert isinstance(label, tuple)
        holds[row, [place[name] for name in label]] = True
    return holds


def decide(task: TaskName, logits: Array) -> Array:
    """The answers that logits stand for: the largest one (the first of equals), those of 0 and above (a sigmoid of 0.5
    and above), or the only one as it is."""
    if task == "classification":
        return np.asarray(logits.argmax(axis=-1))
    return np.asarray(logits >= 0) if task == "multi_label" else np.asarray(logits[..., 0])


def same_answers(task: TaskName, answers: Array, others: Array, tolerance: float) -> NDArray[np.bool_]:
    """(..., samples): the same label, the same set of labels, or values that differ by at most `tolerance`."""
    if task == "regression":
        return np.asarray(np.abs(answers.astype(np.float64) - others) <= tolerance)
    same = answers == others
    return np.asarray(same.all(axis=-1) if task == "multi_label" else same)


@dataclass(frozen=True)
class Metric:
    """A measure of answers against the truth.

    `title`: the name for people. `is_share`: a share of something, shown in percent. `is_mean`: the mean of one figure
    per sample, so that its expectation over random routes is known exactly.
    """

    name: str
    title: str
    measure: Callable[[Array, Array], float]
    is_share: bool = False
    is_mean: bool = False


def _accuracy(answers: Array, truth: Array) -> float:
    return float((answers == truth).mean())


def _exact_match(answers: Array, truth: Array) -> float:
    return float((answers == truth).all(axis=-1).mean())


def _micro_f1(answers: Array, truth: Array) -> float:
    """F1 over all pairs of sample and label; 1 where no label holds and none was given."""
    named = int(answers.sum()) + int(truth.sum())
    return 2.0 * int((answers & truth).sum()) / named if named else 1.0


def _pearson(answers: Array, truth: Array) -> float:
    """Linear correlation; 0, which is no relation, where one side is constant."""
    if answers.min() == answers.max() or truth.min() == truth.max():
        return 0.0
    x, y = (values.astype(np.float64) - values.mean(dtype=np.float64) for values in (answers, truth))
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def _spearman(answers: Array, truth: Array) -> float:
    """Correlation of ranks; equal values share their mean rank."""
    return _pearson(_ranks(answers), _ranks(truth))


def _ranks(values: Array) -> Array:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[place.reshape(-1)])


def _mean_absolute_error(answers: Array, truth: Array) -> float:
    return float(np.abs(answers.astype(np.float64) - truth).mean())


METRICS: Final[Mapping[TaskName, tuple[Metric, ...]]] = {
    "classification": (Metric("accuracy", "accuracy", _accuracy, is_share=True, is_mean=True),),
    "multi_label": (
        Metric("micro_f1", "micro F1", _micro_f1, is_share=True),
        Metric("exact_match", "exact match", _exact_match, is_share=True, is_mean=True),
    ),
    "regression": (
        Metric("spearman", "Spearman", _spearman),
        Metric("pearson", "Pearson", _pearson),
        Metric("mean_absolute_error", "mean error", _mean_absolute_error, is_mean=True),
    ),
}
"""Of each task; the first one is its headline: the higher the better, at most 1."""


def metrics_with(headline: str) -> tuple[Metric, ...]:
    """The metrics of the task whose headline has this name; KeyError if there is none."""
    return {metrics[0].name: metrics for metrics in METRICS.values()}[headline]


def measure(task: TaskName, answers: Array, truth: Array) -> dict[str, float]:
    """Every metric of the task by its name, over (samples, ...) answers; the first one is the headline."""
    return {metric.name: metric.measure(answers, truth) for metric in METRICS[task]}


def measure_random(task: TaskName, answers: Array, truth: Array, routes: NDArray[np.int64]) -> dict[str, float]:
    """What random routes with the same shares can be expected to give: what a router must beat to be worth anything.

    `answers`: (widths, samples, ...) of every width; `routes`: (samples,). Exact for means over samples, else the mean
    over 32 shuffles of the routes, which are the same ones on every machine.
    """
    samples = np.arange(len(routes))
    shares = np.bincount(routes, minlength=len(answers)) / len(routes)
    draw = np.random.default_rng(0)
    shuffles = [draw.permutation(routes) for _ in range(_RANDOM_DRAWS)]
    found = {}
    for metric in METRICS[task]:
        if metric.is_mean:
            found[metric.name] = float(shares @ [metric.measure(one, truth) for one in answers])
        else:
            drawn = [metric.measure(answers[shuffle, samples], truth) for shuffle in shuffles]
            found[metric.name] = float(np.mean(drawn))
    return found
