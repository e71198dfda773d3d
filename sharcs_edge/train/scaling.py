"""Regression labels: in standard deviations from their mean while training, in their own unit in the bundle."""

from __future__ import annotations

from copy import copy

import numpy as np
import torch
from numpy.typing import NDArray

from sharcs_edge.bundle import LabelScale
from sharcs_edge.model.encoder import SharcsForSequenceClassification
from sharcs_edge.train.dataset import EncodedSplit


def label_scale(labels: NDArray[np.float32]) -> LabelScale:
    """Of training labels (samples,), which are not all equal."""
    values = labels.astype(np.float64)
    return LabelScale(float(values.mean()), float(values.std()), float(values.min()), float(values.max()))


def standardised(split: EncodedSplit, scale: LabelScale) -> EncodedSplit:
    """The same samples with labels of about mean 0 and standard deviation 1."""
    changed = copy(split)
    changed.labels = ((split.labels - scale.mean) / scale.std).astype(np.float32)
    return changed


@torch.no_grad()
def answer_in_label_unit(model: SharcsForSequenceClassification, scale: LabelScale) -> None:
    """Folds the scale into the last linear layer of every head: a model that answered in standard deviations now
    answers in the unit of the labels, at every width."""
    for head in (model.head, *model.narrow_heads):
        head.classifier.weight.mul_(scale.std)
        head.classifier.bias.mul_(scale.std).add_(scale.mean)
