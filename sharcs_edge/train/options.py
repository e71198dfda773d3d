"""What a training run is told to do; every field ends up in the bundle's training record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from sharcs_edge.errors import UsageError

RecipeName = Literal["distill", "sharcs"]


@dataclass(frozen=True)
class TrainOptions:
    """Hyper-parameters.

    Attributes:
        recipe: ``distill`` (sandwich steps, gain labels) or ``sharcs`` (as published).
        epochs: passes over the training samples.
        batch_size: samples of one width in a step.
        learning_rate: peak of a linear schedule with warm-up.
        warmup: fraction of the training that warms up.
        max_length: longest input in tokens; longer texts are truncated.
        seed: of weights, order, dropout and drawn widths.
        label_window: ``sharcs`` only: epochs of full width first, and epochs a hardness label looks back (W).
        max_drop: ``distill`` only: the router's offsets are set so that routing loses at most this much accuracy
            against the full width on dev.
        hidden_weight: ``distill`` only: weight of the distance between a narrow width's hidden states and the full
            width's; 0 leaves it out. It lowered the accuracy of every width (docs/method.md), hence the default.
        checkpoint_seconds: at least this long between two checkpoints inside an epoch.

    Raises:
        UsageError: a field is outside its range.
    """

    recipe: RecipeName = "distill"
    epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 5e-5
    weight_decay: float = 0.01
    warmup: float = 0.06
    max_length: int = 128
    seed: int = 0
    label_window: int = 3
    max_drop: float = 0.005
    hidden_weight: float = 0.0
    checkpoint_seconds: float = 120.0

    def __post_init__(self) -> None:
        if self.recipe not in get_args(RecipeName):
            raise UsageError(f"recipe is {self.recipe!r}; expected one of {', '.join(get_args(RecipeName))}")
        for name in ("epochs", "batch_size", "label_window"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; expected 1 or more")
        if self.hidden_weight < 0:
            raise UsageError(f"hidden_weight is {self.hidden_weight:g}; expected 0 or more")
        if not 0.0 < self.learning_rate < 1.0:
            raise UsageError(f"learning_rate is {self.learning_rate:g}; expected more than 0 and less than 1")
        if self.max_length < 8:
            raise UsageError(f"max_length is {self.max_length}; expected at least 8 tokens")
        if self.recipe == "sharcs" and self.epochs <= self.label_window:
            raise UsageError(
                f"recipe sharcs trains the full width alone for its first {self.label_window} epochs, so epochs="
                f"{self.epochs} would never train a narrow width; give more epochs or a smaller label window"
            )
