"""Configuration of the nested-width encoder: the sizes of a Hugging Face encoder plus its width plan."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, NamedTuple

from transformers import PreTrainedConfig

from sharcs_edge.config import LayerSlice, SharcsConfig, WidthSlice


class AttentionKind(NamedTuple):
    """``window``: how far a layer looks to either side, None for everywhere; ``rotary_base``: of the angles of its
    rotary position embeddings, None for none."""

    window: int | None = None
    rotary_base: float | None = None


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

    # What sets other architectures apart from BERT, whose choices are the defaults.
    layer_modules: list[int] | None = None  # the module that each layer runs, where layers share modules
    norm_first: bool = False  # LayerNorms before attention and FFN, and one behind the last layer
    first_attention_norm: bool = True  # with norm_first: whether the first layer has one, too
    gated: bool = False  # FFN: down(activation(up(x)) * gate(x))
    norm_bias: bool = True
    qkv_bias: bool = True
    attention_output_bias: bool = True
    ffn_bias: bool = True
    embedding_projection: bool = False  # also where embeddings are as wide as the encoder
    learned_positions: bool = True
    relative_bias: bool = False  # added to attention scores: one per head and distance, shared by all layers
    rotary_bases: list[float] | None = None  # of each layer, see AttentionKind
    attention_windows: list[int | None] | None = None
    head_pooling: str = "first"  # the head reads the first token, or the mean
    head_dense: bool = True  # a linear layer and an activation before the classifier
    head_dense_bias: bool = True
    head_norm: bool = False  # a LayerNorm behind them
    image_size: list[int] | None = None  # height and width; None: the encoder reads text
    patch_size: list[int] | None = None
    num_channels: int = 3

    widths: list[float] | None = None
    trunk_layers: int = 1
    width_dims: str = "inner"
    width_shape: str = "even"
    narrow_head: str = "shared"
    input_reduction: str = "leading"
    token_keep: float = 1.0
    entry_norm: str = "narrow"
    own_layers: float = 0.0
    narrow_dropout: bool = True
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
    def full_block(self) -> LayerSlice:
        """All of a layer's tensors."""
        return LayerSlice(0, self.num_heads, self.hidden_size, self.intermediate_size)

    @property
    def trunk_blocks(self) -> tuple[LayerSlice, ...]:
        """The block of every trunk layer: all tensors. A module that tail layers run, too, has LayerNorms for every
        width, the full one's last."""
        shared = set(self.modules[self.trunk_layers :])
        last = self.slices[-1].layers[-1].norm
        return tuple(
            replace(self.full_block, norm=last if module in shared else 0)
            for module in self.modules[: self.trunk_layers]
        )

    @property
    def modules(self) -> tuple[int, ...]:
        """For each layer the index of the module that it runs; each layer has its own but in ALBERT."""
        return tuple(range(self.num_layers) if self.layer_modules is None else self.layer_modules)

    @property
    def tied_layers(self) -> bool:
        """Whether layers share modules, and with them any order of heads and neurons."""
        return len(set(self.modules)) < self.num_layers

    @property
    def tied_heads(self) -> bool:
        """Whether all layers share one order of heads: they add the same bias per head to their scores."""
        return self.relative_bias

    @property
    def attention_kinds(self) -> tuple[AttentionKind, ...]:
        """Of each layer."""
        nothing = [None] * self.num_layers
        pairs = zip(self.attention_windows or nothing, self.rotary_bases or nothing, strict=True)
        return tuple(AttentionKind(*pair) for pair in pairs)

    @property
    def head_size(self) -> int:
        return self.hidden_size // self.num_heads

    @property
    def reads_images(self) -> bool:
        """Whether the input is ``pixel_values``, not ``input_ids``."""
        return self.image_size is not None

    @property
    def patches(self) -> tuple[int, int]:
        """Rows and columns of patches in an image."""
        (height, width), (patch_height, patch_width) = self.image_size or (0, 0), self.patch_size or (1, 1)
        return height // patch_height, width // patch_width

    @property
    def max_tokens(self) -> int:
        """Longest input that has positions; of images, the only length: a first token and one per patch."""
        if self.reads_images:
            rows, columns = self.patches
            return rows * columns + 1
        return self.max_positions - self.position_offset

    @property
    def reads_first_token(self) -> bool:
        """Whether the head reads the first token alone, so that the last layer computes no other."""
        return self.head_pooling == "first"

    @property
    def label_count(self) -> int:
        return len(self.id2label or {})

    @property
    def uses_token_types(self) -> bool:
        """Whether segment ids are an input; with a single segment they carry no information."""
        return self.token_types > 1

    @property
    def projects_embeddings(self) -> bool:
        return self.embedding_projection or self.embedding_size != self.hidden_size

    def drops_tokens(self, width: WidthSlice) -> bool:
        """Narrow widths only: the full one stays exactly the original encoder."""
        return self.token_keep < 1.0 and width.width < 1.0

    def has_own_head(self, width: WidthSlice) -> bool:
        """Narrow widths only: the full one keeps the head of the original encoder."""
        return self.narrow_head == "own" and width.width < 1.0

    def has_own_layers(self, width: WidthSlice) -> bool:
        """Whether its tail shares no layer with the other widths'."""
        return self.sharcs.has_own_layers(width.width)

    def has_entry_norm(self, width: WidthSlice) -> bool:
        """Not with ``norm_first``: there every layer normalises what it reads, by LayerNorms of each width."""
        if self.width_dims != "all" or self.norm_first:
            return False
        return self.entry_norm == "every" or width.hidden < self.hidden_size
