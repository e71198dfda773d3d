"""Transformer layers whose weights hold several nested widths.

Every layer takes its block as an argument (a :class:`LayerSlice`); no module remembers one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.activations import ACT2FN

from sharcs_edge.config import LayerSlice


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

    def forward(
        self,
        x: Tensor,
        bias: Tensor,
        block: LayerSlice,
        first_token_only: bool = False,
        query_weights: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Attends over all tokens of ``x`` (batch, tokens, hidden).

        Args:
            first_token_only: only the first token asks.
            query_weights: (batch, tokens); asks for the attention received, with these weights of the asking tokens.

        Returns:
            (batch, tokens, hidden), or (batch, 1, hidden) for the first token alone; and (batch, tokens) the attention
            that each token received, summed over heads and asking tokens, where asked for.
        """
        size = block.heads * self.head_size

        def heads(linear: nn.Linear, source: Tensor) -> Tensor:
            projected = sliced_linear(linear, source, size, block.hidden)
            batch, tokens, _ = projected.shape
            # (batch, tokens, heads * head_size) -> (batch, heads, tokens, head_size)
            return projected.view(batch, tokens, block.heads, self.head_size).transpose(1, 2)

        query = heads(self.query, x[:, :1] if first_token_only else x)
        key, value = heads(self.key, x), heads(self.value, x)
        dropout = self.dropout if self.training else 0.0
        received = None
        if query_weights is None:
            context = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, dropout_p=dropout)
        else:
            scores = (query * self.head_size**-0.5) @ key.transpose(2, 3) + bias
            probabilities = scores.softmax(dim=-1)  # (batch, heads, tokens, tokens)
            received = (probabilities.sum(dim=1) * query_weights[:, :, None]).sum(dim=1)
            context = F.dropout(probabilities, dropout) @ value
        # (batch, heads, tokens, head_size) -> (batch, tokens, heads * head_size)
        return sliced_linear(self.output, context.transpose(1, 2).flatten(2), block.hidden, size), received


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

    def forward(
        self,
        x: Tensor,
        bias: Tensor,
        block: LayerSlice,
        first_token_only: bool = False,
        query_weights: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """(batch, tokens, block.hidden) -> same, or (batch, 1, block.hidden) if only the first token is read later;
        and the attention received, as :meth:`SelfAttention.forward` has it."""
        attended, received = self.attention(x, bias, block, first_token_only, query_weights)
        residual = x[:, :1] if first_token_only else x
        x = self.attention_norms[block.norm](residual + self.dropout(attended))
        inner = self.activation(sliced_linear(self.up, x, block.intermediate, block.hidden))
        outer = self.dropout(sliced_linear(self.down, inner, block.hidden, block.intermediate))
        return self.output_norms[block.norm](x + outer), received


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

    def forward(self, x: Tensor) -> Tensor:
        """(batch, tokens, hidden of the width) -> logits (batch, labels)."""
        pooled = self.activation(sliced_linear(self.dense, x[:, 0], self.dense.out_features, x.shape[-1]))
        logits: Tensor = self.classifier(self.dropout(pooled))
        return logits
