"""The trunk and each tail as modules of their own, with just their weights: what exporters write to files."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from sharcs_edge.config import LayerSlice, WidthSlice
from sharcs_edge.model.encoder import SharcsForSequenceClassification
from sharcs_edge.model.layers import ClassificationHead, EncoderLayer, attention_bias
from sharcs_edge.model.tail import run_layers


class Trunk(nn.Module):
    """``input_ids, attention_mask[, token_type_ids] -> hidden, router_logits``, all by position.

    ``router_logits`` has one column per exported width, in their order.
    """

    def __init__(self, model: SharcsForSequenceClassification, widths: tuple[WidthSlice, ...]) -> None:
        super().__init__()
        self.embeddings = model.embeddings
        self.layers = model.layers[: model.config.trunk_layers]
        self.block = model.config.trunk_slice
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
            hidden, _ = layer(hidden, bias, self.block)
        return hidden, self.router_output(self.router.features(hidden, attention_mask))


class Tail(nn.Module):
    """``hidden, attention_mask -> logits`` at one width, its weights cut out and contiguous."""

    def __init__(self, model: SharcsForSequenceClassification, width: WidthSlice) -> None:
        super().__init__()
        config = model.config
        # The cut-out tensors are their module's full size and it has one set of LayerNorms.
        self.blocks = tuple(replace(block, norm=0) for block in width.layers)
        self.token_keep = config.token_keep if config.drops_tokens(width) else 1.0
        self.entry = model.entries[width.index]
        self.entry_norm = model.entry_norms[width.index]
        self.layers = nn.ModuleList(
            _narrow_layer(model, layer, block)
            for layer, block in zip(model.layers[config.trunk_layers :], width.layers, strict=True)
        )
        self.head = ClassificationHead(
            width.hidden, config.hidden_size, config.label_count, config.head_activation, config.head_dropout
        )
        self.head.dense = narrow_linear(model.head.dense, config.hidden_size, width.hidden)
        self.head.classifier = model.head.classifier
        self.eval()

    def forward(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        x = self.entry_norm(self.entry(hidden))
        x, _ = run_layers(self.layers, self.blocks, x, attention_mask, self.token_keep)
        logits: Tensor = self.head(x)
        return logits


def narrow_linear(linear: nn.Linear, out_features: int, in_features: int, rows: Tensor | None = None) -> nn.Linear:
    """A copy of the leading block of ``linear``, or of the given output ``rows``."""
    chosen = torch.arange(out_features) if rows is None else rows
    narrow = nn.Linear(in_features, out_features)
    with torch.no_grad():
        narrow.weight.copy_(linear.weight[chosen, :in_features])
        narrow.bias.copy_(linear.bias[chosen])
    return narrow


def _narrow_layer(model: SharcsForSequenceClassification, layer: nn.Module, block: LayerSlice) -> EncoderLayer:
    config = model.config
    assert isinstance(layer, EncoderLayer)
    size = block.heads * config.head_size
    narrow = EncoderLayer(
        block.hidden,
        block.heads,
        config.head_size,
        block.intermediate,
        config.hidden_activation,
        config.norm_eps,
        config.hidden_dropout,
        config.attention_dropout,
        (block.hidden,),
    )
    attention = narrow.attention
    attention.query = narrow_linear(layer.attention.query, size, block.hidden)
    attention.key = narrow_linear(layer.attention.key, size, block.hidden)
    attention.value = narrow_linear(layer.attention.value, size, block.hidden)
    attention.output = narrow_linear(layer.attention.output, block.hidden, size)
    narrow.attention_norms = nn.ModuleList([layer.attention_norms[block.norm]])
    narrow.up = narrow_linear(layer.up, block.intermediate, block.hidden)
    narrow.down = narrow_linear(layer.down, block.hidden, block.intermediate)
    narrow.output_norms = nn.ModuleList([layer.output_norms[block.norm]])
    return narrow
