"""Transformer layers whose weights hold several nested widths.

Every function takes the width as an argument (a :class:`WidthSlice`); no module remembers one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.activations import ACT2FN

from sharcs_edge.config import WidthSlice


def sliced_linear(linear: nn.Linear, x: Tensor, out_features: int, in_features: int) -> Tensor:
    """``linear`` restricted to its leading ``out_features x in_features`` block."""
    if (out_features, in_features) == (linear.out_features, linear.in_features):
        return F.linear(x, linear.weight, linear.bias)
    return F.linear(x, linear.weight[:out_features, :in_features], linear.bias[:out_features])


def attention_bias(attention_mask: Tensor, dtype: torch.dtype) -> Tensor:
    """(batch, tokens) of 0/1 -> additive (batch, 1, 1, tokens): 0 where attended, the smallest number elsewhere."""
    return (1.0 - attention_mask[:, None, None, :].to(dtype)) * torch.finfo(dtype).min


class SelfAttention(nn.Module):
    """Multi-head self-attention over the leading heads of a width."""

    def __init__(self, hidden: int, heads: int, head_size: int, dropout: float) -> None:
        super().__init__()
        self.head_size = head_size
        self.dropout = dropout
        self.query = nn.Linear(hidden, heads * head_size)
        self.key = nn.Linear(hidden, heads * head_size)
        self.value = nn.Linear(hidden, heads * head_size)
        self.output = nn.Linear(heads * head_size, hidden)

    def forward(self, x: Tensor, bias: Tensor, width: WidthSlice, first_token_only: bool = False) -> Tensor:
        """(batch, tokens, hidden) -> the same shape, or (batch, 1, hidden) for the first token's query alone."""
        size = width.heads * self.head_size

        def heads(linear: nn.Linear, source: Tensor) -> Tensor:
            projected = sliced_linear(linear, source, size, width.hidden)
            batch, tokens, _ = projected.shape
            # (batch, tokens, heads * head_size) -> (batch, heads, tokens, head_size)
            return projected.view(batch, tokens, width.heads, self.head_size).transpose(1, 2)

        context = F.scaled_dot_product_attention(
            heads(self.query, x[:, :1] if first_token_only else x),
            heads(self.key, x),
            heads(self.value, x),
            attn_mask=bias,
            dropout_p=self.dropout if self.training else 0.0,
        )
        # (batch, heads, tokens, head_size) -> (batch, tokens, heads * head_size)
        return sliced_linear(self.output, context.transpose(1, 2).flatten(2), width.hidden, size)


class EncoderLayer(nn.Module):
    """A post-LayerNorm transformer layer; each width owns its two LayerNorms, all other weights are shared.

    Args:
        norm_sizes: the residual size of each width that uses this layer; one entry in a trunk layer.
    """

    def __init__(
        self,
        hidden: int,
        heads: int,
        head_size: int,
        intermediate: int,
        activation: str,
        norm_eps: float,
        dropout: float,
        attention_dropout: float,
        norm_sizes: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.attention = SelfAttention(hidden, heads, head_size, attention_dropout)
        self.attention_norms = nn.ModuleList(nn.LayerNorm(size, eps=norm_eps) for size in norm_sizes)
        self.up = nn.Linear(hidden, intermediate)
        self.down = nn.Linear(intermediate, hidden)
        self.output_norms = nn.ModuleList(nn.LayerNorm(size, eps=norm_eps) for size in norm_sizes)
        self.activation = ACT2FN[activation]
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, bias: Tensor, width: WidthSlice, first_token_only: bool = False) -> Tensor:
        """(batch, tokens, width.hidden) -> same, or (batch, 1, width.hidden) if only the first token is read later."""
        norm = width.index if len(self.attention_norms) > 1 else 0
        attended = self.dropout(self.attention(x, bias, width, first_token_only))
        residual = x[:, :1] if first_token_only else x
        x = self.attention_norms[norm](residual + attended)
        inner = self.activation(sliced_linear(self.up, x, width.intermediate, width.hidden))
        outer = self.dropout(sliced_linear(self.down, inner, width.hidden, width.intermediate))
        normed: Tensor = self.output_norms[norm](x + outer)
        return normed


class Embeddings(nn.Module):
    """Word + position (+ segment) embeddings, LayerNorm and, for ELECTRA, a projection to the hidden size.

    Positions count from ``position_offset`` for right-padded rows. RoBERTa numbers only real tokens, which is the
    same thing for every token that is not padding.
    """

    def __init__(
        self,
        vocab_size: int,
        max_positions: int,
        token_types: int,
        embedding_size: int,
        hidden: int,
        position_offset: int,
        norm_eps: float,
        dropout: float,
    ) -> None:
        super().__init__()
        self.position_offset = position_offset
        self.words = nn.Embedding(vocab_size, embedding_size)
        self.positions = nn.Embedding(max_positions, embedding_size)
        self.token_types = nn.Embedding(token_types, embedding_size) if token_types else None
        self.norm = nn.LayerNorm(embedding_size, eps=norm_eps)
        self.projection = nn.Linear(embedding_size, hidden) if embedding_size != hidden else None
        self.dropout = nn.Dropout(dropout)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """(batch, tokens) ids -> (batch, tokens, hidden)."""
        tokens = input_ids.shape[1]
        positions = torch.arange(self.position_offset, self.position_offset + tokens, device=input_ids.device)
        x = self.words(input_ids)
        if self.token_types is not None:
            # Without segment ids every token is of segment 0: one broadcast row instead of a lookup per token.
            x = x + (self.token_types.weight[0] if token_type_ids is None else self.token_types(token_type_ids))
        normed: Tensor = self.dropout(self.norm(x + self.positions(positions)))
        projected: Tensor = normed if self.projection is None else self.projection(normed)
        return projected


class ClassificationHead(nn.Module):
    """First token -> dense -> activation -> classifier. A narrow width reads the leading columns of ``dense``."""

    def __init__(self, hidden: int, dense_size: int, labels: int, activation: str, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden, dense_size)
        self.activation = ACT2FN[activation]
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(dense_size, labels)

    def forward(self, x: Tensor, width: WidthSlice) -> Tensor:
        """(batch, tokens, width.hidden) -> logits (batch, labels)."""
        pooled = self.activation(sliced_linear(self.dense, x[:, 0], self.dense.out_features, width.hidden))
        logits: Tensor = self.classifier(self.dropout(pooled))
        return logits
