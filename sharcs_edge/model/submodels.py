"""The trunk and each tail as modules of their own, with just their weights: what exporters write to files."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sharcs_edge.config import WidthSlice
from sharcs_edge.model.encoder import SharcsForSequenceClassification
from sharcs_edge.model.layers import ClassificationHead, EncoderLayer, attention_bias


class Trunk(nn.Module):
    """``input_ids, attention_mask[, token_type_ids] -> hidden, router_logits``, all by position.

    ``router_logits`` has one column per exported width, in their order.
    """

    def __init__(self, model: SharcsForSequenceClassification, widths: tuple[WidthSlice, ...]) -> None:
        super().__init__()
        self.embeddings = model.embeddings
        self.layers = model.layers[: model.config.trunk_layers]
        self.full = model.config.full
        self.router = model.router
        kept = [width.index for width in widths]
        self.router_output = narrow_linear(
            model.router.output, len(kept), model.router.output.in_features, rows=torch.tensor(kept)
        )

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        hidden = self.embeddings(input_ids, token_type_ids)
        bias = attention_bias(attention_mask, hidden.dtype)
        for layer in self.layers:
            hidden = layer(hidden, bias, self.full)
        return hidden, self.router_output(self.router.features(hidden, attention_mask))


class Tail(nn.Module):
    """``hidden, attention_mask -> logits`` at one width, its weights cut out and contiguous."""

    def __init__(self, model: SharcsForSequenceClassification, width: WidthSlice) -> None:
        super().__init__()
        config = model.config
        # The cut-out tensors are this module's full size and it has one set of LayerNorms.
        self.width = WidthSlice(0, width.width, width.heads, width.hidden, width.intermediate)
        self.entry_norm = model.entry_norms[width.index]
        self.layers = nn.ModuleList(_narrow_layer(model, layer, width) for layer in model.layers[config.trunk_layers :])
        self.head = ClassificationHead(
            width.hidden, config.hidden_size, config.label_count, config.head_activation, config.head_dropout
        )
        self.head.dense = narrow_linear(model.head.dense, config.hidden_size, width.hidden)
        self.head.classifier = model.head.classifier
        self.eval()

    def forward(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        bias = attention_bias(attention_mask, hidden.dtype)
        x = self.entry_norm(hidden[..., : self.width.hidden])
        for layer in self.layers[:-1]:
            x = layer(x, bias, self.width)
        x = self.layers[-1](x, bias, self.width, first_token_only=True)
        logits: Tensor = self.head(x, self.width)
        return logits


def narrow_linear(linear: nn.Linear, out_features: int, in_features: int, rows: Tensor | None = None) -> nn.Linear:
    """A copy of the leading block of ``linear``, or of the given output ``rows``."""
    chosen = torch.arange(out_features) if rows is None else rows
    narrow = nn.Linear(in_features, out_features)
    with torch.no_grad():
        narrow.weight.copy_(linear.weight[chosen, :in_features])
        narrow.bias.copy_(linear.bias[chosen])
    return narrow


def _narrow_layer(model: SharcsForSequenceClassification, layer: nn.Module, width: WidthSlice) -> EncoderLayer:
    config = model.config
    assert isinstance(layer, EncoderLayer)
    size = width.heads * config.head_size
    narrow = EncoderLayer(
        width.hidden,
        width.heads,
        config.head_size,
        width.intermediate,
        config.hidden_activation,
        config.norm_eps,
        config.hidden_dropout,
        config.attention_dropout,
        (width.hidden,),
    )
    attention = narrow.attention
    attention.query = narrow_linear(layer.attention.query, size, width.hidden)
    attention.key = narrow_linear(layer.attention.key, size, width.hidden)
    attention.value = narrow_linear(layer.attention.value, size, width.hidden)
    attention.output = narrow_linear(layer.attention.output, width.hidden, size)
    narrow.attention_norms = nn.ModuleList([layer.attention_norms[width.index]])
    narrow.up = narrow_linear(layer.up, width.intermediate, width.hidden)
    narrow.down = narrow_linear(layer.down, width.hidden, width.intermediate)
    narrow.output_norms = nn.ModuleList([layer.output_norms[width.index]])
    return narrow
