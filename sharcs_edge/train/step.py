"""A training step as one module: several forward passes, one loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sharcs_edge.model.encoder import SharcsForSequenceClassification
from sharcs_edge.train.options import Precision
from sharcs_edge.train.precision import DTYPES, MixedPrecisionEncoder
from sharcs_edge.train.recipes import Part, Recipe


class StepLoss(nn.Module):
    """A recipe's loss over the parts of a step.

    DistributedDataParallel wraps this and not the encoder: it allows one forward pass per backward pass, and a recipe
    may run the encoder once per width, each time leaving other parameters unused.
    """

    def __init__(self, model: SharcsForSequenceClassification, recipe: Recipe, precision: Precision) -> None:
        super().__init__()
        self.encoder: Any = MixedPrecisionEncoder(model, DTYPES[precision]) if precision in DTYPES else model
        self.recipe = recipe
        self.device_type = model.device.type

    def forward(self, parts: list[Part], epoch: int) -> Tensor:
        """The loss, a scalar."""
        with torch.autocast(self.device_type, enabled=False):  # with fp16, accelerate turns it on around all of this
            return self.recipe.loss(self.encoder, parts, epoch)
