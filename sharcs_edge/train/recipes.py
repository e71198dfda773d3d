"""The two ways to train: the published one, and the distilled sandwich with gain labels.

A recipe plans the steps of an epoch and computes a step's loss; on the way it remembers what it saw of every sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from sharcs_edge.config import SharcsConfig
from sharcs_edge.model.encoder import SharcsForSequenceClassification, SharcsOutput, TailOutput
from sharcs_edge.train.hardness import (
    ConfidenceAverage,
    ConfidenceWindow,
    GainAverage,
    draw_widths,
    published_thresholds,
)
from sharcs_edge.train.options import Hardness, TrainOptions
from sharcs_edge.train.sampler import Step, length_grouped_batches, single_width_steps
from sharcs_edge.train.tasks import Classification, Task

Arrays = dict[str, NDArray[Any]]
Part = dict[str, Any]


class Recipe(Protocol):
    """``state`` and ``load_state`` carry what a resumed run needs; all of it is a function of the run so far."""

    calibrates_router: bool

    def plan_epoch(self, epoch: int) -> list[Step]: ...

    def loss(self, model: SharcsForSequenceClassification, parts: list[Part], epoch: int) -> Tensor: ...

    def state(self) -> Arrays: ...

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None: ...


class SharcsRecipe:
    """As published (METHOD section 1): full width for the first epochs, then hardness labels from the confidence of
    the last ``label_window`` epochs; every step averages one batch per width; task and router losses weigh 1."""

    calibrates_router = False

    def __init__(self, plan: SharcsConfig, options: TrainOptions, lengths: NDArray[np.int64], task: Task) -> None:
        self.options = options
        self.task = task
        self.widths = plan.widths
        self.lengths = lengths
        self.thresholds = published_thresholds(plan.widths, options.easy_threshold)
        self.history = (
            ConfidenceWindow(len(lengths), options.label_window)
            if options.hardness_decay is None
            else ConfidenceAverage(len(lengths), options.hardness_decay)
        )
        self.targets = np.zeros((len(lengths), len(plan.widths)), dtype=np.bool_)
        self.targets[:, -1] = True
        self.planned_epoch = -1

    def plan_epoch(self, epoch: int) -> list[Step]:
        rng = np.random.default_rng((self.options.seed, epoch))
        # A resumed epoch keeps the labels it began with: the history has moved on since.
        if epoch != self.planned_epoch and epoch >= self.options.label_window:
            self.targets = self.history.labels(self.thresholds)
        self.planned_epoch = epoch
        drawn = draw_widths(self.targets, rng)
        return single_width_steps(drawn, len(self.widths), self.lengths, self.options.batch_size, rng)

    def loss(self, model: SharcsForSequenceClassification, parts: list[Part], epoch: int) -> Tensor:
        losses = []
        for part in parts:
            output: SharcsOutput = model(**part["inputs"], width=self.widths[part["width"]])
            samples = part["samples"].cpu().numpy()
            confidence = _ease(self.options.hardness or "confidence", self.task, output.logits, None, part["labels"])
            self.history.record(epoch, samples, confidence.cpu().numpy())
            targets = torch.from_numpy(self.targets[samples]).to(output.router_logits)
            losses.append(
                self.task.loss(output.logits, part["labels"])
                + F.binary_cross_entropy_with_logits(output.router_logits, targets)
            )
        return torch.stack(losses).mean()

    def state(self) -> Arrays:
        return {"history": self.history.values, "targets": self.targets, "planned_epoch": np.array(self.planned_epoch)}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        self.history.values = state["history"]
        self.targets = state["targets"]
        self.planned_epoch = int(state["planned_epoch"])


class DistillRecipe:
    """Sandwich steps: each batch trains the full width on the labels, and narrower ones on the labels and on the full
    width's answer; the router learns from how much they lacked, without changing the trunk.

    Sources: METHOD section 2, items 1, 2 and 6 (sandwich rule and in-place distillation after slimmable networks and
    DynaBERT; gap labels after Duo-LLM).
    """

    calibrates_router = True

    def __init__(self, plan: SharcsConfig, options: TrainOptions, lengths: NDArray[np.int64], task: Task) -> None:
        self.options = options
        self.task = task
        self.widths = plan.widths
        self.lengths = lengths
        decay = 0.5 if options.hardness_decay is None else options.hardness_decay
        self.history = GainAverage(len(lengths), len(plan.widths), decay)

    def plan_epoch(self, epoch: int) -> list[Step]:
        rng = np.random.default_rng((self.options.seed, epoch))
        batches = length_grouped_batches(np.arange(len(self.lengths)), self.lengths, self.options.batch_size, rng)
        # The width whose turn it is; with one width alone this is plain fine-tuning.
        narrow = max(1, len(self.widths) - 1)
        start = int(rng.integers(narrow))
        return [[((start + step) % narrow, batch)] for step, batch in enumerate(batches)]

    def loss(self, model: SharcsForSequenceClassification, parts: list[Part], epoch: int) -> Tensor:
        (part,) = parts
        labels: Tensor = part["labels"]
        if len(self.widths) == 1:
            return self.task.loss(model(**part["inputs"], width=1.0).logits, labels)
        narrow = range(len(self.widths) - 1) if self.options.sandwich == "all" else (part["width"],)
        widths = [*(self.widths[index] for index in narrow), 1.0]
        output: SharcsOutput = model(**part["inputs"], width=widths, detach_router=True)
        *students, full = output.tails
        samples = part["samples"].cpu().numpy()
        loss = self.task.loss(full.logits, labels)
        for index, student in zip(narrow, students, strict=True):
            ease = _ease(self.options.hardness or "gain", self.task, student.logits, full.logits, labels)
            self.history.record(samples, index, ease.cpu().numpy())
            share = self.options.imitation
            imitation = self.task.imitation(student.logits, full.logits)
            loss = loss + (1 - share) * self.task.loss(student.logits, labels) + share * imitation
            if self.options.hidden_weight > 0:
                mask: Tensor | None = part["inputs"].get("attention_mask")
                loss = loss + self.options.hidden_weight * _hidden_distance(student, full, mask)
        return loss + _known_targets_loss(output.router_logits, torch.from_numpy(self.history.targets(samples)))

    def state(self) -> Arrays:
        return {"history": self.history.values}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        self.history.values = state["history"]


def make_recipe(
    plan: SharcsConfig, options: TrainOptions, lengths: NDArray[np.int64], task: Task | None = None
) -> Recipe:
    """``lengths``: tokens of every training sample; ``task``: classification unless given."""
    recipe = SharcsRecipe if options.recipe == "sharcs" else DistillRecipe
    return recipe(plan, options, lengths, task or Classification())


def _ease(hardness: Hardness, task: Task, narrow: Tensor, full: Tensor | None, labels: Tensor) -> Tensor:
    """(batch,) in [0, 1]: how easy each sample is for a width, from its logits and, for the gain, the full width's."""
    if hardness == "entropy":
        return task.certainty(narrow)
    if hardness == "confidence":
        return task.truth_confidence(narrow, labels)
    assert full is not None  # TrainOptions refuses gain where the full width does not run beside
    return task.sufficiency(narrow, full, labels)


def _hidden_distance(narrow: TailOutput, full: TailOutput, attention_mask: Tensor | None) -> Tensor:
    """Mean squared distance of the hidden states of real tokens, relative to the teacher's own spread; a narrow
    residual stream is compared with the leading part of the full one. Images have no mask: every token is real."""
    weights = 1.0 if attention_mask is None else attention_mask[:, :, None]
    total = narrow.logits.new_zeros(())
    for student, teacher in zip(narrow.hidden_states, full.hidden_states, strict=True):
        target = teacher.detach()[..., : student.shape[-1]]
        total = total + ((student - target).square() * weights).sum() / (target.square() * weights).sum()
    return total / max(1, len(narrow.hidden_states))


def _known_targets_loss(router_logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy over the targets that are known (not NaN)."""
    targets = targets.to(router_logits)
    known = ~targets.isnan()
    return F.binary_cross_entropy_with_logits(router_logits[known], targets[known])
