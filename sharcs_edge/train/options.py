"""What a training run is told to do; every field ends up in the bundle's training record."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from sharcs_edge.errors import UsageError

RecipeName = Literal["distill", "sharcs"]
Precision = Literal["fp32", "bf16", "fp16"]
Sandwich = Literal["all", "turn"]
Importance = Literal["none", "units", "all"]
Hardness = Literal["gain", "confidence", "entropy"]


_CHOICES: dict[str, tuple[str | None, ...]] = {
    "recipe": get_args(RecipeName),
    "precision": get_args(Precision),
    "importance": get_args(Importance),
    "sandwich": get_args(Sandwich),
    "hardness": (*get_args(Hardness), None),
}


@dataclass(frozen=True)
class TrainOptions:
    """Hyper-parameters.

    Attributes:
        recipe: ``distill`` (sandwich steps, gain labels) or ``sharcs`` (as published).
        epochs: passes over the training samples.
        batch_size: samples of one width in a step, over all processes.
        gradient_accumulation: steps whose mean gradient makes one update of the weights.
        learning_rate: peak of a linear schedule with warm-up.
        warmup: fraction of the training that warms up.
        max_length: longest input in tokens; longer texts are truncated.
        seed: of weights, order, dropout and drawn widths.
        importance: order heads and neurons (``units``) by their importance on training samples before training;
            ``all``: with ``width_dims`` all the residual dimensions, too; ``none`` leaves the encoder's own order.
        sandwich: ``distill`` only: train ``all`` narrow widths in every step beside the full one, or one in ``turn``.
        hardness: what says how hard a sample is for a width: its ``gain``, what the width lacks of the full width's
            probability of the truth (``distill`` only); its ``confidence``, the probability of the truth; or the
            ``entropy`` of the answer, whatever the truth. None: gain with ``distill``, confidence with ``sharcs``.
        hardness_decay: weight of the past in a running average of hardness over epochs. None: 0.5 with ``distill``;
            with ``sharcs`` no average but the lowest and highest value of the last ``label_window`` epochs.
        label_window: ``sharcs`` only: epochs of full width first, and epochs a hardness label looks back (W).
        easy_threshold: ``sharcs`` with two widths only: a sample is easy while its probability of the true class stays
            at or above it.
        max_drop: ``distill`` only: the router's offsets are set so that routing loses at most this much accuracy
            against the full width on dev.
        imitation: ``distill`` only: the share of a narrow width's loss that is its distance from the full width's
            answer; the rest is its loss on the labels.
        hidden_weight: ``distill`` only: weight of the distance between a narrow width's hidden states and the full
            width's; 0 leaves it out. It lowered the accuracy of every width (docs/method.md), hence the default.
        regression_tolerance: an error of this fraction of the labels' standard deviation counts as none where samples
            are judged hard or easy.
        precision: of the encoder's forward pass; bf16 and fp16 leave weights, router, head and losses in float32.
        checkpoint_seconds: at least this long between two checkpoints inside an epoch.

    Raises:
        UsageError: a field is outside its range.
    """

    recipe: RecipeName = "distill"
    epochs: int = 3
    batch_size: int = 32
    gradient_accumulation: int = 1
    learning_rate: float = 5e-5
    weight_decay: float = 0.01
    warmup: float = 0.06
    max_length: int = 128
    seed: int = 0
    importance: Importance = "all"
    sandwich: Sandwich = "all"
    hardness: Hardness | None = None
    hardness_decay: float | None = None
    label_window: int = 3
    easy_threshold: float = 0.7
    max_drop: float = 0.005
    imitation: float = 0.5
    hidden_weight: float = 0.0
    regression_tolerance: float = 0.1
    precision: Precision = "fp32"
    checkpoint_seconds: float = 120.0

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                expected = ", ".join(str(choice) for choice in allowed if choice is not None)
                raise UsageError(f"{name} is {getattr(self, name)!r}; expected one of {expected}")
        for name in ("epochs", "batch_size", "gradient_accumulation", "label_window"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; expected 1 or more")
        for name in ("hidden_weight", "regression_tolerance"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UsageError(f"{name} is {getattr(self, name):g}; expected 0 or more")
        if not 0.0 <= self.imitation <= 1.0:
            raise UsageError(f"imitation is {self.imitation:g}; expected from 0 to 1")
        if self.hardness_decay is not None and not 0.0 <= self.hardness_decay < 1.0:
            raise UsageError(f"hardness_decay is {self.hardness_decay:g}; expected from 0 to less than 1")
        if self.recipe == "sharcs" and self.hardness == "gain":
            raise UsageError(
                "hardness gain compares a narrow width with the full one on the same sample, which recipe sharcs never "
                "runs together; use confidence or entropy, or recipe distill"
            )
        if not 0.0 < self.easy_threshold < 1.0:
            raise UsageError(f"easy_threshold is {self.easy_threshold:g}; expected more than 0 and less than 1")
        if not 0.0 < self.learning_rate < 1.0:
            raise UsageError(f"learning_rate is {self.learning_rate:g}; expected more than 0 and less than 1")
        if self.max_length < 8:
            raise UsageError(f"max_length is {self.max_length}; expected at least 8 tokens")
        if self.recipe == "sharcs" and self.epochs <= self.label_window:
            raise UsageError(
                f"recipe sharcs trains the full width alone for its first {self.label_window} epochs, so epochs="
                f"{self.epochs} would never train a narrow width; give more epochs or a smaller label window"
            )
