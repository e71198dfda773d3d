"""Configuration of the nested-width encoder: the sizes of a Hugging Face encoder plus its width plan."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from transformers import PreTrainedConfig

from sharcs_edge.config import LayerSlice, SharcsConfig, WidthSlice


class SharcsEncoderConfig(PreTrainedConfig):  # type: ignore[no-untyped-call]  # partly typed upstream
    """Saved as ``config.json`` of a bundle.

    ``architecture`` names the row of :data:`sharcs_edge.model.architectures.ARCHITECTURES` the weights came from and
    ``source_config`` keeps that model's own configuration, so that the full width can be saved back.
    """

    model_type = "sharcs"

    architecture: str = "bert"
    source_config: dict[str, Any] | None = None
    vocab_size: int = 30522
    max_positions: int = 512
    position_offset: int = 0
    token_types: int = 2
    embedding_size: int = 768
    hidden_size: int = 768
    num_layers: int = 12
    num_heads: int = 12
    intermediate_size: int = 3072
    hidden_activation: str = "gelu"
    head_activation: str = "tanh"
    norm_eps: float = 1e-12
    hidden_dropout: float = 0.1
    attention_dropout: float = 0.1
    head_dropout: float = 0.1
    initializer_range: float = 0.02
    pad_token_id: int | None = 0
    widths: list[float] | None = None
    trunk_layers: int = 1
    width_dims: str = "inner"
    width_shape: str = "even"
    input_reduction: str = "leading"
    token_keep: float = 1.0
    entry_norm: str = "narrow"
    router_hidden_size: int = 1024

    @property
    def sharcs(self) -> SharcsConfig:
        """The width plan, validated."""
        plan: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(SharcsConfig)}
        return SharcsConfig(**plan | {"widths": tuple(self.widths or (1.0,))})

    @property
    def slices(self) -> tuple[WidthSlice, ...]:
        return self.sharcs.slices(self.num_heads, self.hidden_size, self.intermediate_size, self.num_layers)

    @property
    def trunk_slice(self) -> LayerSlice:
        """The whole tensors, which every trunk layer runs."""
        return LayerSlice(0, self.num_heads, self.hidden_size, self.intermediate_size)

    @property
    def head_size(self) -> int:
        return self.hidden_size // self.num_heads

    @property
    def max_tokens(self) -> int:
        """Longest input the position table holds."""
        return self.max_positions - self.position_offset

    @property
    def label_count(self) -> int:
        return len(self.id2label or {})

    @property
    def uses_token_types(self) -> bool:
        """Whether segment ids are an input; with a single segment they carry no information."""
        return self.token_types > 1

    def drops_tokens(self, width: WidthSlice) -> bool:
        """Narrow widths only: the full one stays exactly the original encoder."""
        return self.token_keep < 1.0 and width.width < 1.0

    def has_entry_norm(self, width: WidthSlice) -> bool:
        if self.width_dims != "all":
            return False
        return self.entry_norm == "every" or width.hidden < self.hidden_size
