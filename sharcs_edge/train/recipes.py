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
from sharcs_edge.train.hardness import ConfidenceWindow, GainAverage, published_thresholds
from sharcs_edge.train.options import TrainOptions
from sharcs_edge.train.sampler import Step, length_grouped_batches, single_width_steps

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

    def __init__(self, plan: SharcsConfig, options: TrainOptions, lengths: NDArray[np.int64]) -> None:
        self.options = options
        self.widths = plan.widths
        self.lengths = lengths
        self.thresholds = published_thresholds(plan.widths)
        self.history = ConfidenceWindow(len(lengths), options.label_window)
        self.targets = np.zeros((len(lengths), len(plan.widths)), dtype=np.bool_)
        self.targets[:, -1] = True
        self.planned_epoch = -1

    def plan_epoch(self, epoch: int) -> list[Step]:
        rng = np.random.default_rng((self.options.seed, epoch))
        # A resumed epoch keeps the labels it began with: the history has moved on since.
        if epoch != self.planned_epoch and epoch >= self.options.label_window:
            self.targets = self.history.labels(self.thresholds)
        self.planned_epoch = epoch
        # One of the matching widths at random: the largest of independent uniform draws over the matches.
        draws = np.where(self.targets, rng.random(self.targets.shape), -1.0)
        return single_width_steps(draws.argmax(axis=1), len(self.widths), self.lengths, self.options.batch_size, rng)

    def loss(self, model: SharcsForSequenceClassification, parts: list[Part], epoch: int) -> Tensor:
        losses = []
        for part in parts:
            output: SharcsOutput = model(**part["inputs"], width=self.widths[part["width"]])
            samples = part["samples"].cpu().numpy()
            confidence = _true_class_probability(output.logits, part["labels"])
            self.history.record(epoch, samples, confidence.cpu().numpy())
            targets = torch.from_numpy(self.targets[samples]).to(output.router_logits)
            losses.append(
                F.cross_entropy(output.logits, part["labels"])
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
    """Sandwich steps: each batch trains the full width on the labels and one narrower width on the labels and on the
    full width's answer; the router learns from how much the narrow width lacked, without changing the trunk.

    Sources: METHOD section 2, items 1, 2 and 6 (sandwich rule and in-place distillation after slimmable networks and
    DynaBERT; gap labels after Duo-LLM).
    """

    calibrates_router = True

    def __init__(self, plan: SharcsConfig, options: TrainOptions, lengths: NDArray[np.int64]) -> None:
        self.options = options
        self.widths = plan.widths
        self.lengths = lengths
        self.history = GainAverage(len(lengths), len(plan.widths))

    def plan_epoch(self, epoch: int) -> list[Step]:
        rng = np.random.default_rng((self.options.seed, epoch))
        batches = length_grouped_batches(np.arange(len(self.lengths)), self.lengths, self.options.batch_size, rng)
        narrow = max(1, len(self.widths) - 1)
        # Narrow widths take turns; with one width alone this is plain fine-tuning.
        start = int(rng.integers(narrow))
        return [[(int(i), (start + step) % narrow) for i in batch] for step, batch in enumerate(batches)]

    def loss(self, model: SharcsForSequenceClassification, parts: list[Part], epoch: int) -> Tensor:
        (part,) = parts
        labels: Tensor = part["labels"]
        if len(self.widths) == 1:
            return F.cross_entropy(model(**part["inputs"], width=1.0).logits, labels)
        output: SharcsOutput = model(**part["inputs"], width=(self.widths[part["width"]], 1.0), detach_router=True)
        narrow, full = output.tails
        teacher = full.logits.detach()
        task = F.cross_entropy(full.logits, labels)
        imitation = F.kl_div(
            narrow.logits.log_softmax(-1), teacher.log_softmax(-1), log_target=True, reduction="batchmean"
        )
        student = F.cross_entropy(narrow.logits, labels)
        samples = part["samples"].cpu().numpy()
        sufficiency = _sufficiency(narrow.logits, teacher, labels)
        self.history.record(samples, part["width"], sufficiency.cpu().numpy())
        router = _known_targets_loss(output.router_logits, torch.from_numpy(self.history.targets(samples)))
        loss = task + 0.5 * (student + imitation) + router
        if self.options.hidden_weight > 0:
            mask: Tensor = part["inputs"]["attention_mask"]
            loss = loss + self.options.hidden_weight * _hidden_distance(narrow, full, mask)
        return loss

    def state(self) -> Arrays:
        return {"history": self.history.values}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        self.history.values = state["history"]


def make_recipe(plan: SharcsConfig, options: TrainOptions, lengths: NDArray[np.int64]) -> Recipe:
    """``lengths``: tokens of every training sample."""
    recipe = SharcsRecipe if options.recipe == "sharcs" else DistillRecipe
    return recipe(plan, options, lengths)


def _true_class_probability(logits: Tensor, labels: Tensor) -> Tensor:
    """(batch, labels), (batch,) -> (batch,)."""
    return logits.detach().softmax(-1).gather(1, labels[:, None])[:, 0]


def _sufficiency(narrow: Tensor, full: Tensor, labels: Tensor) -> Tensor:
    """(batch,) in [0, 1]: 1 minus what the narrow width lacks in probability of the true class."""
    gap = _true_class_probability(full, labels) - _true_class_probability(narrow, labels)
    return 1.0 - gap.clamp(0.0, 1.0)


def _hidden_distance(narrow: TailOutput, full: TailOutput, attention_mask: Tensor) -> Tensor:
    """Mean squared distance of the hidden states of real tokens, relative to the teacher's own spread; a narrow
    residual stream is compared with the leading part of the full one."""
    weights = attention_mask[:, :, None]
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
