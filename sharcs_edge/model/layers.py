"""Transformer layers whose weights hold several nested widths.

Every layer takes its block as an argument (a :class:`LayerSlice`); no module remembers one.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F
from transformers.activations import ACT2FN

from sharcs_edge.config import LayerSlice
from sharcs_edge.model.configuration import SharcsEncoderConfig
from sharcs_edge.model.positions import AttentionContext


def sliced_linear(linear: nn.Linear, x: Tensor, out_features: int, in_features: int) -> Tensor:
    """``linear`` restricted to its leading ``out_features x in_features`` block."""
    if (out_features, in_features) == (linear.out_features, linear.in_features):
        return F.linear(x, linear.weight, linear.bias)
    # nn.Linear types its bias as never None.
    bias = None if linear.bias is None else linear.bias[:out_features]  # type: ignore[redundant-expr]
    return F.linear(x, linear.weight[:out_features, :in_features], bias)


def layer_norms(config: SharcsEncoderConfig, sizes: Sequence[int]) -> nn.ModuleList:
    """A LayerNorm per size."""
    return nn.ModuleList(nn.LayerNorm(size, eps=config.norm_eps, bias=config.norm_bias) for size in sizes)


class SelfAttention(nn.Module):
    """Multi-head self-attention over the leading heads of a width; ``block`` is the largest one that it will run."""

    def __init__(self, config: SharcsEncoderConfig, block: LayerSlice) -> None:
        super().__init__()
        self.head_size = config.head_size
        self.full_heads = config.num_heads
        self.dropout = config.attention_dropout
        self.narrow_dropout = config.narrow_dropout
        size = block.heads * config.head_size
        self.query = nn.Linear(block.hidden, size, bias=config.qkv_bias)
        self.key = nn.Linear(block.hidden, size, bias=config.qkv_bias)
        self.value = nn.Linear(block.hidden, size, bias=config.qkv_bias)
        self.output = nn.Linear(size, block.hidden, bias=config.attention_output_bias)

    def forward(
        self,
        x: Tensor,
        context: AttentionContext,
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
        query, key = context.rotate(query, key, first_token_only)
        bias = context.bias_of(block.heads, first_token_only)
        drops_out = self.training and (self.narrow_dropout or block.heads == self.full_heads)
        dropout = self.dropout if drops_out else 0.0
        received = None
        if query_weights is None:
            mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, dropout_p=dropout)
        else:
            scores = (query * self.head_size**-0.5) @ key.transpose(2, 3) + bias
            probabilities = scores.softmax(dim=-1)  # (batch, heads, tokens, tokens)
            received = (probabilities.sum(dim=1) * query_weights[:, :, None]).sum(dim=1)
            mixed = F.dropout(probabilities, dropout) @ value
        # (batch, heads, tokens, head_size) -> (batch, tokens, heads * head_size)
        return sliced_linear(self.output, mixed.transpose(1, 2).flatten(2), block.hidden, size), received


class EncoderLayer(nn.Module):
    """A transformer layer; each width that runs it owns its two LayerNorms, all other weights are shared.

    Args:
        block: the largest one that it will run.
        norm_sizes: the residual size of each width that uses this layer; one entry in a trunk layer.
        attention_norm: without one, attention reads what comes in as it is.
    """

    def __init__(
        self,
        config: SharcsEncoderConfig,
        block: LayerSlice,
        norm_sizes: Sequence[int],
        attention_norm: bool = True,
    ) -> None:
        super().__init__()
        self.norm_first = config.norm_first
        self.attention = SelfAttention(config, block)
        self.attention_norms = (
            layer_norms(config, norm_sizes) if attention_norm else nn.ModuleList(nn.Identity() for _ in norm_sizes)
        )
        self.up = nn.Linear(block.hidden, block.intermediate, bias=config.ffn_bias)
        self.gate = nn.Linear(block.hidden, block.intermediate, bias=config.ffn_bias) if config.gated else None
        self.down = nn.Linear(block.intermediate, block.hidden, bias=config.ffn_bias)
        self.output_norms = layer_norms(config, norm_sizes)
        self.activation = ACT2FN[config.hidden_activation]
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.narrow_dropout = config.narrow_dropout

    def forward(
        self,
        x: Tensor,
        context: AttentionContext,
        block: LayerSlice,
        first_token_only: bool = False,
        query_weights: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """(batch, tokens, block.hidden) -> same, or (batch, 1, block.hidden) if only the first token is read later;
        and the attention received, as :meth:`SelfAttention.forward` has it."""
        attention_norm, output_norm = self.attention_norms[block.norm], self.output_norms[block.norm]
        source = attention_norm(x) if self.norm_first else x
        attended, received = self.attention(source, context, block, first_token_only, query_weights)
        x = (x[:, :1] if first_token_only else x) + self._dropped_out(attended, block)
        if self.norm_first:
            return x + self._dropped_out(self.feed_forward(output_norm(x), block), block), received
        x = attention_norm(x)
        return output_norm(x + self._dropped_out(self.feed_forward(x, block), block)), received

    def feed_forward(self, x: Tensor, block: LayerSlice) -> Tensor:
        """(batch, tokens, block.hidden) -> same."""
        inner = self.activation(sliced_linear(self.up, x, block.intermediate, block.hidden))
        if self.gate is not None:
            inner = inner * sliced_linear(self.gate, x, block.intermediate, block.hidden)
        return sliced_linear(self.down, inner, block.hidden, block.intermediate)

    def _dropped_out(self, x: Tensor, block: LayerSlice) -> Tensor:
        dropped: Tensor = self.dropout(x) if self.narrow_dropout or block.heads == self.attention.full_heads else x
        return dropped
