"""The nested-width encoder: one set of weights, several widths, one router."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sharcs_edge.config import LayerSlice, WidthSlice
from sharcs_edge.errors import InputError
from sharcs_edge.model.configuration import SharcsEncoderConfig
from sharcs_edge.model.embeddings import PatchEmbeddings, TokenEmbeddings
from sharcs_edge.model.head import ClassificationHead, NarrowHead
from sharcs_edge.model.layers import EncoderLayer, layer_norms
from sharcs_edge.model.positions import AttentionContexts
from sharcs_edge.model.router import Router
from sharcs_edge.model.tail import Entry, LearnedEntry, Step, all_tokens, run_layers


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
        self.trunk_blocks = config.trunk_blocks
        self.layer_modules = config.modules
        self.attention_kinds = config.attention_kinds
        self.embeddings = PatchEmbeddings(config) if config.reads_images else TokenEmbeddings(config)
        self.main_input_name = "pixel_values" if config.reads_images else "input_ids"
        self.contexts = AttentionContexts(config, config.num_heads)
        self.layers = nn.ModuleList(self._layer(module) for module in sorted(set(config.modules)))
        self.own_layers = nn.ModuleList(
            self._own_layers(width) for width in self.slices if config.has_own_layers(width)
        )
        tail_sizes = [width.hidden for width in self.slices]
        self.entries = nn.ModuleList(
            LearnedEntry(config.hidden_size, size)
            if config.input_reduction == "learned" and size < config.hidden_size
            else Entry(size)
            for size in tail_sizes
        )
        self.entry_norms = nn.ModuleList(
            nn.LayerNorm(width.hidden, eps=config.norm_eps) if config.has_entry_norm(width) else nn.Identity()
            for width in self.slices
        )
        self.final_norms = (
            layer_norms(config, tail_sizes) if config.norm_first else nn.ModuleList(nn.Identity() for _ in tail_sizes)
        )
        self.router = Router(config, len(self.slices))
        self.head = ClassificationHead(config, config.hidden_size)
        self.narrow_heads = nn.ModuleList(
            NarrowHead(config, width.hidden) for width in self.slices if config.has_own_head(width)
        )
        self.post_init()  # type: ignore[no-untyped-call]  # partly typed upstream

    def _layer(self, module: int) -> EncoderLayer:
        """The module that one or more layers run, with LayerNorms for every width if one of them is in the tails."""
        config = self.config
        in_tails = module in config.modules[config.trunk_layers :]
        sharing = [width.hidden for width in self.slices if not config.has_own_layers(width)]
        return EncoderLayer(
            config,
            config.full_block,
            norm_sizes=sharing if in_tails else [config.hidden_size],
            attention_norm=self._has_attention_norm(module),
        )

    def _own_layers(self, width: WidthSlice) -> nn.ModuleDict:
        """The layers of a tail that shares none, by the module of which each is a leading block."""
        own: dict[str, nn.Module] = {}
        for module, blocks in self._tail_blocks(width).items():
            largest = max(blocks, key=lambda block: block.heads)
            own[str(module)] = EncoderLayer(self.config, largest, [width.hidden], self._has_attention_norm(module))
        return nn.ModuleDict(own)

    def _tail_blocks(self, width: WidthSlice) -> dict[int, list[LayerSlice]]:
        """The blocks that a tail runs, by module."""
        found: dict[int, list[LayerSlice]] = {}
        for module, block in zip(self.layer_modules[self.config.trunk_layers :], width.layers, strict=False):
            found.setdefault(module, []).append(block)
        return found

    def _has_attention_norm(self, module: int) -> bool:
        return self.config.first_attention_norm or module != self.layer_modules[0]

    @torch.no_grad()
    def copy_own_layers(self) -> None:
        """Layers of narrow widths' own become the leading blocks of the shared ones, as they are now."""
        for own_layers in self.own_layers:
            assert isinstance(own_layers, nn.ModuleDict)
            for module, own in own_layers.items():
                shared = self.layers[int(module)]
                assert isinstance(shared, EncoderLayer)
                full_norm = f"_norms.{len(shared.output_norms) - 1}."
                for name, parameter in own.named_parameters():
                    full = shared.get_parameter(name.replace("_norms.0.", full_norm))
                    parameter.copy_(full[tuple(slice(size) for size in parameter.shape)])

    def width_slice(self, width: float) -> WidthSlice:
        """Raises WidthError naming the widths that are there."""
        return self.slices[self.config.sharcs.index_of(width)]

    def head_of(self, width: WidthSlice) -> ClassificationHead | NarrowHead:
        """The task head of a width."""
        head = self.narrow_heads[width.index] if self.config.has_own_head(width) else self.head
        assert isinstance(head, ClassificationHead | NarrowHead)
        return head

    def trunk_steps(self) -> list[Step]:
        """Every trunk layer with its block and its kind of attention."""
        return self._steps(self.layers, 0, self.trunk_blocks)

    def tail_steps(self, width: WidthSlice) -> list[Step]:
        """Every tail layer with its block and its kind of attention."""
        layers: Mapping[int, nn.Module] | nn.ModuleList = self.layers
        if self.config.has_own_layers(width):
            own = self.own_layers[width.index]
            assert isinstance(own, nn.ModuleDict)
            layers = {int(module): layer for module, layer in own.items()}
        return self._steps(layers, self.config.trunk_layers, width.layers)

    def _steps(
        self, layers: Mapping[int, nn.Module] | nn.ModuleList, start: int, blocks: Sequence[LayerSlice]
    ) -> list[Step]:
        end = start + len(blocks)
        chosen = [layers[module] for module in self.layer_modules[start:end]]
        return list(zip(chosen, blocks, self.attention_kinds[start:end], strict=True))

    def trunk(
        self,
        inputs: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        detach_router: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """(batch, tokens) ids and mask, or images -> hidden (batch, tokens, hidden), router logits (batch, widths)."""
        hidden = self.embeddings(inputs, token_type_ids)
        mask = all_tokens(hidden) if attention_mask is None else attention_mask
        hidden, *_ = run_layers(self.trunk_steps(), self.contexts, hidden, mask)
        return hidden, self.router(hidden.detach() if detach_router else hidden, mask)

    def tail(self, hidden: Tensor, attention_mask: Tensor | None, width: WidthSlice) -> TailOutput:
        """Trunk output (batch, tokens, hidden) -> the answer of one width."""
        config = self.config
        mask = all_tokens(hidden) if attention_mask is None else attention_mask
        x = self.entry_norms[width.index](self.entries[width.index](hidden))
        keep = config.token_keep if config.drops_tokens(width) else 1.0
        x, before, mask, states = run_layers(
            self.tail_steps(width), self.contexts, x, mask, keep, first_token_only=config.reads_first_token
        )
        norm = self.final_norms[width.index]
        return TailOutput(self.head_of(width)(norm(x), norm(before), mask), tuple(states))

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        width: float | Sequence[float] = 1.0,
        detach_router: bool = False,
        pixel_values: Tensor | None = None,
    ) -> SharcsOutput:
        """Runs the trunk once and the tail of each width asked for.

        Args:
            input_ids: (batch, tokens), right-padded; for an encoder of text.
            attention_mask: (batch, tokens), 1 for real tokens; all ones if left out.
            width: one of the configuration's widths, or several.
            detach_router: the router's gradient ends at the router and does not train the trunk.
            pixel_values: (batch, channels, height, width); for an encoder of images.

        Raises:
            InputError: text for an encoder of images, or the other way round, or images of another size.
            WidthError: a width that is not one of the model's.
        """
        inputs = pixel_values if self.config.reads_images else input_ids
        if inputs is None:
            raise InputError(f"this {self.config.architecture} encoder takes {self.main_input_name}; none were given")
        widths = (width,) if isinstance(width, float | int) else width
        slices = [self.width_slice(one) for one in widths]
        hidden, router_logits = self.trunk(inputs, attention_mask, token_type_ids, detach_router)
        return SharcsOutput(router_logits, tuple(self.tail(hidden, attention_mask, one) for one in slices))
