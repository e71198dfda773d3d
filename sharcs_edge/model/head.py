"""From the last layer's hidden states to logits."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN

from sharcs_edge.model.configuration import SharcsEncoderConfig
from sharcs_edge.model.layers import sliced_linear
from sharcs_edge.model.router import masked_mean


class ClassificationHead(nn.Module):
    """First token (or mean) -> dense -> activation (-> LayerNorm) -> classifier, or straight to the classifier.

    A narrow width reads the leading columns of the first linear; all widths share the rest. ``hidden`` is the largest
    residual size that it will read.
    """

    def __init__(self, config: SharcsEncoderConfig, hidden: int) -> None:
        super().__init__()
        self.reads_mean = config.head_pooling == "mean"
        size = config.hidden_size if config.head_dense else hidden
        self.dense = nn.Linear(hidden, size, bias=config.head_dense_bias) if config.head_dense else None
        self.activation = ACT2FN[config.head_activation]
        self.norm = nn.LayerNorm(size, eps=config.norm_eps, bias=config.norm_bias) if config.head_norm else None
        self.dropout = nn.Dropout(config.head_dropout)
        self.classifier = nn.Linear(size, config.label_count)

    def forward(self, x: Tensor, before: Tensor, attention_mask: Tensor) -> Tensor:
        """(batch, tokens, hidden of the width) and (batch, tokens) -> logits (batch, labels); not ``before``."""
        pooled = masked_mean(x, attention_mask) if self.reads_mean else x[:, 0]
        if self.dense is not None:
            pooled = self.activation(sliced_linear(self.dense, pooled, self.dense.out_features, x.shape[-1]))
        if self.norm is not None:
            pooled = self.norm(pooled)
        return sliced_linear(self.classifier, self.dropout(pooled), self.classifier.out_features, pooled.shape[-1])


class NarrowHead(nn.Module):
    """First token behind the last layer, and the mean of what went into it -> dense -> tanh -> classifier.

    The mean gives a shallow or thin tail what its first token has hardly begun to gather, at no other cost: the last
    layer still computes the first token alone. ``hidden`` is the residual size of the width that owns it.
    """

    def __init__(self, config: SharcsEncoderConfig, hidden: int) -> None:
        super().__init__()
        self.dense = nn.Linear(2 * hidden, config.hidden_size)
        self.dropout = nn.Dropout(config.head_dropout)
        self.classifier = nn.Linear(config.hidden_size, config.label_count)

    def forward(self, x: Tensor, before: Tensor, attention_mask: Tensor) -> Tensor:
        """(batch, 1 or tokens, hidden), (batch, tokens, hidden) and its mask -> logits (batch, labels)."""
        features = torch.cat((x[:, 0], masked_mean(before, attention_mask)), dim=-1)
        logits: Tensor = self.classifier(self.dropout(self.dense(features).tanh()))
        return logits
