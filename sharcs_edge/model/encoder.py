"""The nested-width encoder: one set of weights, several widths, one router."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sharcs_edge.config import WidthSlice
from sharcs_edge.model.configuration import SharcsEncoderConfig
from sharcs_edge.model.layers import ClassificationHead, Embeddings, EncoderLayer, attention_bias
from sharcs_edge.model.router import Router
from sharcs_edge.model.tail import Entry, LearnedEntry, run_layers


@dataclass(frozen=True)
class TailOutput:
    """``logits`` (batch, labels); ``hidden_states``: (batch, tokens, hidden of the width) behind every tail layer but
    the last, whose other tokens nobody reads."""

    logits: Tensor
    hidden_states: tuple[Tensor, ...]


@dataclass(frozen=True)
class SharcsOutput:
    """``router_logits`` (batch, widths) and one :class:`TailOutput` per width that was asked for, in that order."""

    router_logits: Tensor
    tails: tuple[TailOutput, ...]

    @property
    def logits(self) -> Tensor:
        """(batch, labels) of the last width that was asked for."""
        return self.tails[-1].logits


class SharcsForSequenceClassification(PreTrainedModel):
    """Trunk (embeddings, ``trunk_layers`` layers, router) and one tail per width over shared weights.

    At the full width it computes exactly what the transformers model it was made from computes.
    """

    config_class = SharcsEncoderConfig
    config: SharcsEncoderConfig
    base_model_prefix = "sharcs"

    def __init__(self, config: SharcsEncoderConfig) -> None:
        super().__init__(config)
        self.slices = config.slices
        self.embeddings = Embeddings(
            config.vocab_size,
            config.max_positions,
            config.token_types,
            config.embedding_size,
            config.hidden_size,
            config.position_offset,
            config.norm_eps,
            config.hidden_dropout,
        )
        trunk_norms = (config.hidden_size,)
        tail_norms = tuple(width.hidden for width in self.slices)
        self.layers = nn.ModuleList(
            EncoderLayer(
                config.hidden_size,
                config.num_heads,
                config.head_size,
                config.intermediate_size,
                config.hidden_activation,
                config.norm_eps,
                config.hidden_dropout,
                config.attention_dropout,
                trunk_norms if index < config.trunk_layers else tail_norms,
            )
            for index in range(config.num_layers)
        )
        self.entries = nn.ModuleList(
            LearnedEntry(config.hidden_size, width.hidden)
            if config.input_reduction == "learned" and width.hidden < config.hidden_size
            else Entry(width.hidden)
            for width in self.slices
        )
        self.entry_norms = nn.ModuleList(
            nn.LayerNorm(width.hidden, eps=config.norm_eps) if config.has_entry_norm(width) else nn.Identity()
            for width in self.slices
        )
        self.router = Router(config.hidden_size, config.router_hidden_size, len(self.slices))
        self.head = ClassificationHead(
            config.hidden_size, config.hidden_size, config.label_count, config.head_activation, config.head_dropout
        )
        self.post_init()  # type: ignore[no-untyped-call]  # partly typed upstream

    def width_slice(self, width: float) -> WidthSlice:
        """Raises WidthError naming the widths that are there."""
        return self.slices[self.config.sharcs.index_of(width)]

    def trunk(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        detach_router: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """(batch, tokens) ids and mask -> hidden (batch, tokens, hidden), router logits (batch, widths)."""
        hidden = self.embeddings(input_ids, token_type_ids)
        bias = attention_bias(attention_mask, hidden.dtype)
        for layer in self.layers[: self.config.trunk_layers]:
            hidden, _ = layer(hidden, bias, self.config.trunk_slice)
        return hidden, self.router(hidden.detach() if detach_router else hidden, attention_mask)

    def tail(self, hidden: Tensor, attention_mask: Tensor, width: WidthSlice) -> TailOutput:
        """Trunk output (batch, tokens, hidden) -> the answer of one width."""
        x = self.entry_norms[width.index](self.entries[width.index](hidden))
        keep = self.config.token_keep if self.config.drops_tokens(width) else 1.0
        x, states = run_layers(self.layers[self.config.trunk_layers :], width.layers, x, attention_mask, keep)
        return TailOutput(self.head(x), tuple(states))

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        width: float | Sequence[float] = 1.0,
        detach_router: bool = False,
    ) -> SharcsOutput:
        """Runs the trunk once and the tail of each width asked for.

        Args:
            input_ids: (batch, tokens), right-padded.
            attention_mask: (batch, tokens), 1 for real tokens; all ones if left out.
            width: one of the configuration's widths, or several.
            detach_router: the router's gradient ends at the router and does not train the trunk.

        Raises:
            WidthError: a width that is not one of the model's.
        """
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        widths = (width,) if isinstance(width, float | int) else width
        slices = [self.width_slice(one) for one in widths]
        hidden, router_logits = self.trunk(input_ids, attention_mask, token_type_ids, detach_router)
        return SharcsOutput(router_logits, tuple(self.tail(hidden, attention_mask, one) for one in slices))
