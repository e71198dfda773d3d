"""What a task means for training: its losses, how hard a sample is, how good and how sure an answer is.

Shapes: ``logits`` (..., samples, outputs), one output per label, one alone for regression. ``labels``: classification,
class index (samples,), int64; multi-label, 0 or 1 for each label (samples, labels), float32; regression, value
(samples,), float32, in the unit of the logits. What a metric is comes from `sharcs_edge_runtime.tasks`, which ships.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from sharcs_edge.errors import UsageError
from sharcs_edge.routing import answers
from sharcs_edge.routing.answers import DEFAULT_TOLERANCE, Floats
from sharcs_edge_runtime.manifest import TaskName
from sharcs_edge_runtime.tasks import METRICS, Label, decide, encode_labels, measure, measure_random

PROBLEM_TYPES: Mapping[TaskName, Literal["single_label_classification", "multi_label_classification", "regression"]] = {
    "classification": "single_label_classification",
    "multi_label": "multi_label_classification",
    "regression": "regression",
}
"""What transformers calls the tasks."""


@dataclass(frozen=True)
class Task(ABC):
    """One task. The methods over tensors are for a training step, those over arrays for a whole split."""

    name: ClassVar[TaskName]

    @property
    def metric(self) -> str:
        """The headline: the higher the better."""
        return METRICS[self.name][0].name

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every metric, the headline first."""
        return tuple(metric.name for metric in METRICS[self.name])

    def encode_labels(self, labels: Sequence[Label], names: Sequence[str]) -> NDArray[Any]:
        """True labels as the arrays that this module takes."""
        encoded = encode_labels(self.name, labels, names)
        return encoded.astype(np.float32) if encoded.dtype == np.bool_ else encoded

    # --- a step: tensors

    @abstractmethod
    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean loss against the labels."""

    @abstractmethod
    def imitation(self, narrow: Tensor, full: Tensor) -> Tensor:
        """Mean distance of a narrow width's answer from the full one's, which learns nothing from it."""

    @abstractmethod
    def truth_confidence(self, logits: Tensor, labels: Tensor) -> Tensor:
        """(samples,) in [0, 1], without gradient: how sure the answer is of the truth, for hardness windows."""

    @abstractmethod
    def sufficiency(self, narrow: Tensor, full: Tensor, labels: Tensor) -> Tensor:
        """(samples,) in [0, 1], without gradient: 1 where the narrow width does as well as the full one, or better."""

    @abstractmethod
    def certainty(self, logits: Tensor) -> Tensor:
        """(samples,) in [0, 1], without gradient: 1 minus the entropy of the answer, of its largest possible value.

        Raises:
            UsageError: answers of this task have none.
        """

    # --- a split: arrays

    def quality(self, logits: Floats, labels: NDArray[Any]) -> Floats:
        """(..., samples) in [0, 1]: how good each answer is by itself."""
        return answers.quality(self.name, logits, labels)

    def answer_confidence(self, logits: Floats) -> Floats | None:
        """(..., samples) in [0, 1]: how sure each answer is of itself; None where one answer cannot tell."""
        return answers.answer_confidence(self.name, logits)

    def decide(self, logits: Floats) -> NDArray[Any]:
        """The answers of logits: (..., samples) class indices or values, (..., samples, labels) booleans."""
        return decide(self.name, logits)

    def scores(self, answers: NDArray[Any], labels: NDArray[Any]) -> dict[str, float]:
        """Every metric of (samples, ...) answers, the headline first."""
        return measure(self.name, answers, self._truth(labels))

    def score(self, answers: NDArray[Any], labels: NDArray[Any]) -> float:
        """The headline alone."""
        return METRICS[self.name][0].measure(answers, self._truth(labels))

    def random_scores(self, answers: NDArray[Any], labels: NDArray[Any], routes: NDArray[np.int64]) -> dict[str, float]:
        """Every metric of (widths, samples, ...) answers under random routes with the shares of ``routes``."""
        return measure_random(self.name, answers, self._truth(labels), routes)

    def _truth(self, labels: NDArray[Any]) -> NDArray[Any]:
        return labels


class Classification(Task):
    """One class per sample: cross-entropy, Kullback-Leibler divergence, probability of the true class, accuracy."""

    name = "classification"

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels)

    def imitation(self, narrow: Tensor, full: Tensor) -> Tensor:
        return F.kl_div(narrow.log_softmax(-1), full.detach().log_softmax(-1), log_target=True, reduction="batchmean")

    def truth_confidence(self, logits: Tensor, labels: Tensor) -> Tensor:
        return logits.detach().softmax(-1).gather(1, labels[:, None])[:, 0]

    def sufficiency(self, narrow: Tensor, full: Tensor, labels: Tensor) -> Tensor:
        """1 minus what the narrow width lacks in probability of the true class."""
        gap = self.truth_confidence(full, labels) - self.truth_confidence(narrow, labels)
        return 1.0 - gap.clamp(0.0, 1.0)

    def certainty(self, logits: Tensor) -> Tensor:
        log_probabilities = logits.detach().log_softmax(-1)
        entropy = -(log_probabilities.exp() * log_probabilities).sum(-1)
        return 1.0 - entropy / math.log(logits.shape[-1])


class MultiLabel(Task):
    """Any number of labels per sample, none included: binary cross-entropy over all labels, micro-averaged F1.

    A sample is as sure as its least sure label. The mean over labels would say little: where few of many labels hold,
    it stays near 1 however wrong those few are.
    """

    name = "multi_label"

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, labels)

    def imitation(self, narrow: Tensor, full: Tensor) -> Tensor:
        """Kullback-Leibler divergence of each label's Bernoulli distribution, mean over samples and labels."""
        teacher = full.detach()
        holds = teacher.sigmoid() * (F.logsigmoid(teacher) - F.logsigmoid(narrow))
        lacks = (-teacher).sigmoid() * (F.logsigmoid(-teacher) - F.logsigmoid(-narrow))
        return (holds + lacks).mean()

    def truth_confidence(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The probability of the true state of the label that is least sure of it."""
        return _true_states(logits, labels).amin(-1)

    def sufficiency(self, narrow: Tensor, full: Tensor, labels: Tensor) -> Tensor:
        """1 minus what the narrow width lacks in probability of the true state, at the label where it lacks most."""
        gap = _true_states(full, labels) - _true_states(narrow, labels)
        return 1.0 - gap.amax(-1).clamp(0.0, 1.0)

    def certainty(self, logits: Tensor) -> Tensor:
        """Of the label that is least sure."""
        given = logits.detach().abs().amin(-1)
        entropy = -(given.sigmoid() * F.logsigmoid(given) + (-given).sigmoid() * F.logsigmoid(-given))
        return 1.0 - entropy / math.log(2)

    def _truth(self, labels: NDArray[Any]) -> NDArray[Any]:
        return labels > 0.5


def _true_states(logits: Tensor, labels: Tensor) -> Tensor:
    """(samples, labels): the probability that each label gives to what is true of it."""
    return torch.where(labels > 0.5, logits.detach(), -logits.detach()).sigmoid()


@dataclass(frozen=True)
class Regression(Task):
    """One number per sample: mean squared error, and rank correlation over a split.

    Attributes:
        tolerance: an error up to it counts as none; a fraction of ``scale``.
        scale: the standard deviation of the training labels in the unit of logits and labels; 1 while training, whose
            labels are standardised.
    """

    name = "regression"
    tolerance: float = DEFAULT_TOLERANCE
    scale: float = 1.0

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.mse_loss(logits[..., 0] / self.scale, labels / self.scale)

    def imitation(self, narrow: Tensor, full: Tensor) -> Tensor:
        return F.mse_loss(narrow / self.scale, full.detach() / self.scale)

    def truth_confidence(self, logits: Tensor, labels: Tensor) -> Tensor:
        """1 up to the tolerance, then e^-x at an error of x standard deviations more: 0.7 at 0.36, 0.5 at 0.69."""
        return self._decay(self._error(logits, labels))

    def sufficiency(self, narrow: Tensor, full: Tensor, labels: Tensor) -> Tensor:
        """1 while the narrow error exceeds the full one by the tolerance at most, then e^-x at x standard deviations
        more."""
        return self._decay(self._error(narrow, labels) - self._error(full, labels))

    def certainty(self, logits: Tensor) -> Tensor:
        raise UsageError("hardness entropy needs probabilities, and a regression answers with a number; use gain")

    def quality(self, logits: Floats, labels: NDArray[Any]) -> Floats:
        """The confidence of the truth, which falls with the error alone: 1 within the tolerance."""
        return answers.quality(self.name, logits, labels, self.tolerance, self.scale)

    def _error(self, logits: Tensor, labels: Tensor) -> Tensor:
        return (logits.detach()[..., 0] - labels).abs() / self.scale

    def _decay(self, error: Tensor) -> Tensor:
        return (-(error - self.tolerance).clamp(min=0.0)).exp()


def make_task(name: TaskName, tolerance: float = DEFAULT_TOLERANCE, scale: float = 1.0) -> Task:
    """``tolerance`` and ``scale`` are of :class:`Regression` alone."""
    if name == "regression":
        return Regression(tolerance, scale)
    return MultiLabel() if name == "multi_label" else Classification()
