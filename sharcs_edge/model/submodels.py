"""The trunk and each tail as modules of their own, with just their weights: what exporters write to files."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from sharcs_edge.config import LayerSlice, WidthSlice
from sharcs_edge.model.configuration import SharcsEncoderConfig
from sharcs_edge.model.encoder import SharcsForSequenceClassification
from sharcs_edge.model.head import ClassificationHead
from sharcs_edge.model.layers import EncoderLayer
from sharcs_edge.model.positions import AttentionContexts
from sharcs_edge.model.tail import all_tokens, run_layers


class Trunk(nn.Module):
    """``input_ids, attention_mask[, token_type_ids] -> hidden, router_logits``, all by position; or ``pixel_values``.

    ``router_logits`` has one column per exported width, in their order.
    """

    def __init__(self, model: SharcsForSequenceClassification, widths: tuple[WidthSlice, ...]) -> None:
        super().__init__()
        self.embeddings = model.embeddings
        self.contexts = model.contexts
        steps = model.trunk_steps()
        self.layers = nn.ModuleList(layer for layer, _, _ in steps)
        self.blocks, self.kinds = tuple(block for _, block, _ in steps), tuple(kind for _, _, kind in steps)
        self.router = model.router
        kept = [width.index for width in widths]
        self.router_output = narrow_linear(
            model.router.output, len(kept), model.router.output.in_features, rows=torch.tensor(kept)
        )

    def forward(
        self, inputs: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        hidden = self.embeddings(inputs, token_type_ids)
        mask = all_tokens(hidden) if attention_mask is None else attention_mask
        steps = list(zip(self.layers, self.blocks, self.kinds, strict=True))
        hidden, *_ = run_layers(steps, self.contexts, hidden, mask)
        return hidden, self.router_output(self.router.features(hidden, mask))


class Tail(nn.Module):
    """``hidden, attention_mask -> logits`` at one width, its weights cut out and contiguous."""

    def __init__(self, model: SharcsForSequenceClassification, width: WidthSlice) -> None:
        super().__init__()
        config = model.config
        self.token_keep = config.token_keep if config.drops_tokens(width) else 1.0
        self.reads_first_token = config.reads_first_token
        self.entry = model.entries[width.index]
        self.entry_norm = model.entry_norms[width.index]
        steps = model.tail_steps(width)
        # Layers that share a module and run the same block of it share the cut-out, too.
        narrow = {(id(layer), block): _narrow_layer(config, layer, block) for layer, block, _ in steps}
        self.layers = nn.ModuleList(narrow[id(layer), block] for layer, block, _ in steps)
        # The cut-out tensors are their module's full size and it has one set of LayerNorms.
        self.blocks = tuple(replace(block, norm=0) for _, block, _ in steps)
        self.kinds = tuple(kind for _, _, kind in steps)
        self.contexts = _narrow_contexts(model, max(block.heads for block in self.blocks))
        self.final_norm = model.final_norms[width.index]
        self.head = model.head_of(width) if config.has_own_head(width) else _narrow_head(model, width)
        self.eval()

    def forward(self, hidden: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        mask = all_tokens(hidden) if attention_mask is None else attention_mask
        x = self.entry_norm(self.entry(hidden))
        steps = list(zip(self.layers, self.blocks, self.kinds, strict=True))
        x, before, mask, _ = run_layers(steps, self.contexts, x, mask, self.token_keep, self.reads_first_token)
        logits: Tensor = self.head(self.final_norm(x), self.final_norm(before), mask)
        return logits


def without_shared(tail: Tail) -> Tail:
    """``tail``, changed: its linears that are blocks of the full width's are gone."""
    for shared in (tail.layers, tail.head) if isinstance(tail.head, ClassificationHead) else (tail.layers,):
        for module in list(shared.modules()):
            for name, part in list(module.named_children()):
                if isinstance(part, nn.Linear):
                    setattr(module, name, nn.Identity())
    return tail


def narrow_linear(linear: nn.Linear, out_features: int, in_features: int, rows: Tensor | None = None) -> nn.Linear:
    """A copy of the leading block of ``linear``, or of the given output ``rows``."""
    chosen = torch.arange(out_features) if rows is None else rows
    narrow = nn.Linear(in_features, out_features, bias=linear.bias is not None)
    with torch.no_grad():
        narrow.weight.copy_(linear.weight[chosen, :in_features])
        if linear.bias is not None:
            narrow.bias.copy_(linear.bias[chosen])
    return narrow


def _narrow_layer(config: SharcsEncoderConfig, layer: nn.Module, block: LayerSlice) -> EncoderLayer:
    assert isinstance(layer, EncoderLayer)
    size = block.heads * config.head_size
    narrow = EncoderLayer(config, block, [block.hidden])
    attention = narrow.attention
    attention.query = narrow_linear(layer.attention.query, size, block.hidden)
    attention.key = narrow_linear(layer.attention.key, size, block.hidden)
    attention.value = narrow_linear(layer.attention.value, size, block.hidden)
    attention.output = narrow_linear(layer.attention.output, block.hidden, size)
    narrow.attention_norms = nn.ModuleList([layer.attention_norms[block.norm]])
    narrow.up = narrow_linear(layer.up, block.intermediate, block.hidden)
    if layer.gate is not None:
        narrow.gate = narrow_linear(layer.gate, block.intermediate, block.hidden)
    narrow.down = narrow_linear(layer.down, block.hidden, block.intermediate)
    narrow.output_norms = nn.ModuleList([layer.output_norms[block.norm]])
    return narrow


def _narrow_contexts(model: SharcsForSequenceClassification, heads: int) -> AttentionContexts:
    narrow = AttentionContexts(model.config, heads)
    if narrow.relative is not None and model.contexts.relative is not None:
        with torch.no_grad():
            narrow.relative.weight.copy_(model.contexts.relative.weight[:, :heads])
    return narrow


def _narrow_head(model: SharcsForSequenceClassification, width: WidthSlice) -> ClassificationHead:
    narrow = ClassificationHead(model.config, width.hidden)
    narrow.norm, narrow.classifier = model.head.norm, model.head.classifier
    if model.head.dense is not None:
        narrow.dense = narrow_linear(model.head.dense, model.head.dense.out_features, width.hidden)
    else:
        narrow.classifier = narrow_linear(model.head.classifier, model.config.label_count, width.hidden)
    return narrow
