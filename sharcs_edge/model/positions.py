"""What attention knows of tokens besides their hidden states: which are there and how far apart they are.

BERT needs the padding mask alone: its positions are in the embeddings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sharcs_edge.model.configuration import AttentionKind, SharcsEncoderConfig

RELATIVE_BUCKETS = 32  # MPNet's: 16 per side, one for each of the 8 nearest tokens, then wider and wider ones


class Rotation(NamedTuple):
    """Cosines and sines of the angles that queries and keys are turned by, (batch or 1, 1, tokens, head_size / 2)."""

    cos: Tensor
    sin: Tensor

    @property
    def first(self) -> Rotation:
        """The first token's."""
        return Rotation(self.cos[:, :, :1], self.sin[:, :, :1])

    def apply(self, x: Tensor) -> Tensor:
        """(batch, heads, tokens, head_size), turned in the planes of dimensions i and i + head_size / 2."""
        a, b = x.float().chunk(2, dim=-1)
        return torch.cat((a * self.cos - b * self.sin, b * self.cos + a * self.sin), dim=-1).to(x.dtype)


class AttentionContext(NamedTuple):
    """``bias`` (batch or 1, heads or 1, tokens or 1, tokens) is added to the scores of each head, query and key."""

    bias: Tensor
    rotation: Rotation | None = None

    def bias_of(self, heads: int, first_token_only: bool) -> Tensor:
        """Of the leading heads, and of the first token's query if no other asks."""
        bias = self.bias if self.bias.shape[1] <= heads else self.bias[:, :heads]
        return bias[:, :, :1] if first_token_only else bias

    def rotate(self, query: Tensor, key: Tensor, first_token_only: bool) -> tuple[Tensor, Tensor]:
        """(batch, heads, tokens, head_size) each; the query of the first token alone if no other asks."""
        if self.rotation is None:
            return query, key
        asking = self.rotation.first if first_token_only else self.rotation
        return asking.apply(query), self.rotation.apply(key)


class AttentionContexts(nn.Module):
    """Makes the attention contexts of all layers for a batch of tokens.

    Args:
        heads: how many heads have biases of their own, where the architecture has them.
    """

    def __init__(self, config: SharcsEncoderConfig, heads: int) -> None:
        super().__init__()
        self.relative = nn.Embedding(RELATIVE_BUCKETS, heads) if config.relative_bias else None
        # Lists, not buffers: neither a trace nor an empty model may change them.
        self.buckets = [_bucket(distance) for distance in range(-_FARTHEST, _FARTHEST + 1)]
        self.frequencies = {base: _frequencies(config.head_size, base) for base in config.rotary_bases or ()}

    def forward(
        self, kinds: Sequence[AttentionKind], attention_mask: Tensor, positions: Tensor, dtype: torch.dtype
    ) -> list[AttentionContext]:
        """One context per layer; layers of one kind share it.

        Args:
            kinds: of the layers.
            attention_mask: (batch, tokens), 1 for real tokens.
            positions: (batch or 1, tokens), of each token in its row.
            dtype: of the scores.
        """
        bias = attention_bias(attention_mask, dtype)
        if self.relative is not None:
            bias = bias + self._relative_bias(self.relative, positions)
        contexts = {
            kind: AttentionContext(
                bias if kind.window is None else _within(kind.window, bias, positions),
                None if kind.rotary_base is None else self._rotation(kind.rotary_base, positions),
            )
            for kind in dict.fromkeys(kinds)
        }
        return [contexts[kind] for kind in kinds]

    def _relative_bias(self, table: nn.Embedding, positions: Tensor) -> Tensor:
        """(batch or 1, tokens) -> (batch or 1, heads, tokens, tokens)."""
        places = _distances(positions).clamp(-_FARTHEST, _FARTHEST) + _FARTHEST
        by_distance = table(torch.tensor(self.buckets, device=positions.device))  # (distances, heads)
        return F.embedding(places, by_distance).permute(0, 3, 1, 2)

    def _rotation(self, base: float, positions: Tensor) -> Rotation:
        frequencies = torch.tensor(self.frequencies[base], device=positions.device)
        angles = positions[:, None, :, None].float() * frequencies
        return Rotation(angles.cos(), angles.sin())


def attention_bias(attention_mask: Tensor, dtype: torch.dtype) -> Tensor:
    """(batch, tokens) of 0/1 -> additive (batch, 1, 1, tokens): 0 where attended, the smallest number elsewhere."""
    return (1.0 - attention_mask[:, None, None, :].to(dtype)) * torch.finfo(dtype).min


def _distances(positions: Tensor) -> Tensor:
    """(batch or 1, tokens) -> (batch or 1, asking tokens, tokens), positive to the right."""
    return positions[:, None, :] - positions[:, :, None]


def _within(window: int, bias: Tensor, positions: Tensor) -> Tensor:
    """``bias`` with the smallest number for tokens more than ``window`` away."""
    return bias.masked_fill(_distances(positions)[:, None].abs() > window, torch.finfo(bias.dtype).min)


def _frequencies(head_size: int, base: float) -> list[float]:
    """Radians per position of each plane (arXiv 2104.09864), in float32: far tokens show every rounding of them."""
    exponents = torch.arange(0, head_size, 2, dtype=torch.float32, device="cpu") / head_size
    return [float(frequency) for frequency in 1.0 / base**exponents]


def _bucket(distance: int) -> int:
    """T5's buckets (arXiv 1910.10683, section 2.1): to the right the upper half; from 8 tokens on, two per octave."""
    side, far = (RELATIVE_BUCKETS // 2 if distance > 0 else 0), abs(distance)
    if far < 8:
        return side + far
    octaves_twice = (far * far // 64).bit_length() - 1  # floor(2 * log2(far / 8)), without rounding
    return side + min(8 + octaves_twice, RELATIVE_BUCKETS // 2 - 1)


_FARTHEST = next(distance for distance in range(1000) if _bucket(-distance) == RELATIVE_BUCKETS // 2 - 1)
