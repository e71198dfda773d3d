"""What calibration is about: the promise, and the samples with what each width's answer to them is worth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sharcs_edge.calibrate.collect import Outputs
from sharcs_edge.calibrate.front import divide
from sharcs_edge.errors import DataError, UsageError
from sharcs_edge.routing.answers import DEFAULT_TOLERANCE, Floats, agreement_confidence, answer_confidence, quality
from sharcs_edge.routing.policy import Policy, Signals, decide
from sharcs_edge_runtime.manifest import TaskName
from sharcs_edge_runtime.tasks import decide as answers_of
from sharcs_edge_runtime.tasks import same_answers

Against = Literal["labels", "full"]
MINIMUM_SAMPLES = 10


@dataclass(frozen=True)
class Promise:
    """With probability ``confidence`` over the draw of the calibration samples, no certified point loses more than
    ``max_drop`` against the full width: of the quality by the labels, or of the agreement with the full width.

    Raises:
        UsageError: a number outside (0, 1).
    """

    max_drop: float = 0.01
    confidence: float = 0.95
    against: Against = "labels"

    def __post_init__(self) -> None:
        for name, value, example in (("max-drop", self.max_drop, 0.01), ("confidence", self.confidence, 0.95)):
            if not 0.0 < value < 1.0:
                raise UsageError(f"{name} is {value:g}; expected a number above 0 and below 1, such as {example}")

    @property
    def level(self) -> float:
        """The probability that the promise allows for being wrong."""
        return 1.0 - self.confidence


@dataclass(frozen=True)
class Prices:
    """Nanoseconds on a device: ``trunk`` (samples,), ``tails`` (samples, widths)."""

    trunk: NDArray[np.int64]
    tails: NDArray[np.int64]


@dataclass(frozen=True)
class Case:
    """Samples with all that calibration asks of them.

    Attributes:
        task: of the artifact.
        outputs: of every width on every sample.
        truth: the labels as `sharcs_edge_runtime.tasks` has them; None without labels.
        signals: what routing sees, at its cost in multiply-accumulates.
        priced: the same at the cost that decides what is cheap: nanoseconds on a device, or multiply-accumulates.
        agreement: (widths, samples) in [0, 1], with the full width's answer: whether it is the same label or the same
            set of labels; for regression the quality that the value has if the full width's is true.
        quality: (widths, samples) in [0, 1]: what the promise is about; by the labels, or the agreement itself.
        value_scale: standard deviation of the values of a regression: of the labels, or of the full width's answers; of
            the samples to choose by alone, since the policies depend on it.
    """

    task: TaskName
    outputs: Outputs
    truth: NDArray[Any] | None
    signals: Signals
    priced: Signals
    agreement: Floats
    quality: Floats
    value_scale: float | None

    @classmethod
    def of(
        cls,
        task: TaskName,
        outputs: Outputs,
        truth: NDArray[Any] | None,
        against: Against,
        prices: Prices | None = None,
    ) -> Case:
        """Raises DataError for less than ten samples, or a regression without two different values.

        ``prices``: multiply-accumulates if None.
        """
        if len(outputs.router_logits) < MINIMUM_SAMPLES:
            raise DataError(
                f"{len(outputs.router_logits)} texts are too few to calibrate on; give hundreds or thousands, at least "
                f"{MINIMUM_SAMPLES}"
            )
        logits = outputs.logits.astype(np.float64)  # as runtimes compute confidence
        scale = None
        if task == "regression":
            values = logits[-1, :, 0] if truth is None else truth
            scale = float(np.std(values[divide(len(values))[0]], dtype=np.float64))
            if scale == 0:
                raise DataError("the calibration texts have too few different values; give more texts")
        own = answer_confidence(task, logits)
        confidence = agreement_confidence(logits[..., 0], scale or 1.0) if own is None else own
        signals = Signals(outputs.router_logits, confidence, own is not None, outputs.trunk_macs, outputs.tail_macs)
        priced = signals if prices is None else replace(signals, trunk_cost=prices.trunk, tail_cost=prices.tails)
        agreement = _agreement(task, logits, scale or 1.0)
        good = agreement
        if against == "labels":
            assert truth is not None
            good = quality(task, logits, truth, DEFAULT_TOLERANCE, scale or 1.0).astype(np.float64)
        return cls(task, outputs, truth, signals, priced, agreement, good, scale)

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self.outputs.router_logits)

    def take(self, rows: NDArray[np.int64]) -> Case:
        """These samples alone, in this order."""
        return replace(
            self,
            outputs=self.outputs.take(rows),
            truth=None if self.truth is None else self.truth[rows],
            signals=self.signals.take(rows),
            priced=self.priced.take(rows),
            agreement=self.agreement[:, rows],
            quality=self.quality[:, rows],
        )

    def losses(self, policy: Policy) -> Floats:
        """(samples,) what each answer lacks of the full width's quality; below 0 where it is better."""
        widths = decide(self.signals, policy).widths
        return np.asarray(self.quality[-1] - self.quality[widths, np.arange(len(self))])


def _agreement(task: TaskName, logits: Floats, scale: float) -> Floats:
    answers = answers_of(task, logits)
    if task == "regression":
        return quality(task, logits, answers[-1], DEFAULT_TOLERANCE, scale)
    return same_answers(task, answers, answers[-1], 0.0).astype(np.float64)
