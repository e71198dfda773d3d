"""What the logits of one input mean, and how sure they are (SPEC.md, section 8)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, TypeAlias

from sharcs_edge_runtime.manifest import TaskName

Fields: TypeAlias = tuple[
    str | None, float | None, tuple[str, ...] | None, float | None, tuple[float, ...] | None, float | None
]
"""The first ones of `Prediction`, in its order: label, score, labels, value, scores and confidence."""


class Outcome(Protocol):
    """What one tail said. `confidence`: in [0, 1], in binary64."""

    confidence: float

    def fields(self, labels: Sequence[str]) -> Fields:
        """The answer, with None for what the task does not have; `labels` in the order of the logits."""


class ClassOutcome:
    """One label; as sure as it is probable."""

    __slots__ = ("_best", "_powers", "_total", "confidence")

    def __init__(self, logits: Sequence[float]) -> None:
        """`logits`: of all labels, finite."""
        top = max(logits)
        self._best = logits.index(top)  # the first of equals
        self._powers = [math.exp(value - top) for value in logits]
        self._total = math.fsum(self._powers)
        self.confidence = 1.0 / self._total

    def fields(self, labels: Sequence[str]) -> Fields:
        """Label, score, scores and confidence."""
        total = self._total
        scores = tuple([power / total for power in self._powers])
        score = scores[self._best]
        return labels[self._best], score, None, None, scores, score


class LabelsOutcome:
    """Any number of labels; as sure as the least sure of them."""

    __slots__ = ("_logits", "confidence")

    def __init__(self, logits: Sequence[float]) -> None:
        """`logits`: of all labels, finite."""
        self._logits = logits
        self.confidence = _sigmoid(min(map(abs, logits)))

    def fields(self, labels: Sequence[str]) -> Fields:
        """Labels, scores and confidence."""
        holds = tuple([label for label, value in zip(labels, self._logits, strict=True) if value >= 0])
        return None, None, holds, None, tuple(map(_sigmoid, self._logits)), self.confidence


class ValueOutcome:
    """A value, which cannot tell by itself how sure it is: as sure as it is close to the next narrower tail's.

    Without one that ran just before, it is not sure at all: 0 for the decision, None in the prediction.
    """

    __slots__ = ("_compared", "_value", "confidence")

    def __init__(self, value: float, before: ValueOutcome | None, scale: float | None) -> None:
        """`before`: of the tail that ran just before. `scale`: standard deviation of the values, if it is known."""
        self._value = value
        self._compared = before is not None and scale is not None
        self.confidence = 0.0
        if before is not None and scale is not None:
            self.confidence = math.exp(-abs(value - before._value) / scale)

    def fields(self, labels: Sequence[str]) -> Fields:
        """Value, and confidence if there was something to compare with."""
        return None, None, None, self._value, None, self.confidence if self._compared else None


def read_outcome(task: TaskName, logits: Sequence[float], before: Outcome | None, value_scale: float | None) -> Outcome:
    """`logits`: of one input, finite. `before`: of the tail that ran just before. `value_scale`: for regression."""
    if task == "classification":
        return ClassOutcome(logits)
    if task == "multi_label":
        return LabelsOutcome(logits)
    return ValueOutcome(logits[0], before if isinstance(before, ValueOutcome) else None, value_scale)


def _sigmoid(value: float) -> float:
    """1 / (1 + e^-x), without overflow for large negative x."""
    power = math.exp(-abs(value))
    return (1.0 if value >= 0 else power) / (1.0 + power)
