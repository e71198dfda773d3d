"""How a tail runs: shrink the residual stream, run the layers, drop tokens between them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from sharcs_edge.config import LayerSlice
from sharcs_edge.model.layers import attention_bias

_SHARE_UNIT = 1000  # shares of tokens are counted in whole thousandths: the same integers in torch and in a graph


class Entry(nn.Module):
    """The trunk's output (batch, tokens, hidden) -> the leading ``narrow`` dimensions."""

    def __init__(self, narrow: int) -> None:
        super().__init__()
        self.narrow = narrow

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden[..., : self.narrow]


class LearnedEntry(nn.Module):
    """The trunk's output (batch, tokens, hidden) -> ``narrow`` weighted sums over groups of adjacent dimensions.

    The weights begin as the mean. One group per dimension that the width keeps, as in the published alternative.
    """

    def __init__(self, hidden: int, narrow: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((narrow, hidden // narrow), narrow / hidden))

    def forward(self, hidden: Tensor) -> Tensor:
        groups = hidden.view(*hidden.shape[:2], *self.weight.shape)  # (batch, tokens, narrow, group)
        return torch.sum(groups * self.weight, dim=-1)


def kept_tokens(tokens: int, share: float) -> int:
    """How many of ``tokens`` stay: ``share`` of them, rounded up. Also for symbolic sizes and integer tensors."""
    return (tokens * round(share * _SHARE_UNIT) + _SHARE_UNIT - 1) // _SHARE_UNIT


def drop_tokens(hidden: Tensor, attention_mask: Tensor, received: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Keeps, of every row's real tokens, the first one and those that received most attention.

    Every row keeps :func:`kept_tokens` of its own real tokens, so padding never changes what is kept.

    Args:
        hidden: (batch, tokens, hidden).
        attention_mask: (batch, tokens), right-padded.
        received: (batch, tokens), not negative.

    Returns:
        The kept hidden states (batch, kept, hidden), most attended first, and their attention mask.
    """
    # The first token, which the head reads, comes first and padding last.
    first = torch.arange(received.shape[1], device=received.device) == 0
    scores = torch.where(attention_mask > 0, received, -1.0).masked_fill(first, torch.finfo(received.dtype).max)
    kept = kept_tokens(received.shape[1], share)
    order = scores.topk(kept, dim=1).indices  # (batch, kept)
    chosen = hidden.gather(1, order[:, :, None].expand(-1, -1, hidden.shape[2]))
    counts = kept_tokens(attention_mask.sum(dim=1, keepdim=True), share)  # type: ignore[arg-type]  # a tensor of ints
    ranks = torch.arange(kept, device=received.device)
    return chosen, (ranks < counts).to(attention_mask.dtype)


def run_layers(
    layers: Iterable[nn.Module],
    blocks: Sequence[LayerSlice],
    x: Tensor,
    attention_mask: Tensor,
    token_keep: float = 1.0,
) -> tuple[Tensor, list[Tensor]]:
    """Runs a tail's layers; the last computes the first token alone, the only one that the head reads.

    Args:
        x: (batch, tokens, hidden of the width).
        token_keep: share of the tokens that each layer but the last passes on.

    Returns:
        (batch, 1, hidden of the width), and what every layer but the last put out.
    """
    states = []
    last = len(blocks) - 1
    for index, (layer, block) in enumerate(zip(layers, blocks, strict=True)):
        bias = attention_bias(attention_mask, x.dtype)
        weights = attention_mask.to(x.dtype) if token_keep < 1.0 and index < last else None
        x, received = layer(x, bias, block, first_token_only=index == last, query_weights=weights)
        if received is not None:
            x, attention_mask = drop_tokens(x, attention_mask, received, token_keep)
        if index < last:
            states.append(x)
    return x, states
