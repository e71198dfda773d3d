"""How layers run: a tail shrinks the residual stream first, and may drop tokens between layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from sharcs_edge.config import LayerSlice
from sharcs_edge.model.configuration import AttentionKind
from sharcs_edge.model.positions import AttentionContexts

Count = TypeVar("Count", int, Tensor)  # a tensor holds integers
Step = tuple[nn.Module, LayerSlice, AttentionKind]  # a layer, the block of it that runs, and how it attends

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


def kept_tokens(tokens: Count, share: float) -> Count:
    """How many of ``tokens`` stay: ``share`` of them, rounded up. Also for symbolic sizes."""
    return (tokens * round(share * _SHARE_UNIT) + _SHARE_UNIT - 1) // _SHARE_UNIT


def drop_tokens(
    hidden: Tensor, attention_mask: Tensor, positions: Tensor, received: Tensor, share: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Keeps, of every row's real tokens, the first one and those that received most attention.

    Every row keeps :func:`kept_tokens` of its own real tokens, so padding never changes what is kept.

    Args:
        hidden: (batch, tokens, hidden).
        attention_mask: (batch, tokens), right-padded.
        positions: (batch or 1, tokens).
        received: (batch, tokens), not negative.

    Returns:
        The kept hidden states (batch, kept, hidden), most attended first, their attention mask and their positions.
    """
    # The first token, which the head reads, comes first and padding last.
    first = torch.arange(received.shape[1], device=received.device) == 0
    scores = torch.where(attention_mask > 0, received, -1.0).masked_fill(first, torch.finfo(received.dtype).max)
    kept = kept_tokens(received.shape[1], share)
    order = scores.topk(kept, dim=1).indices  # (batch, kept)
    chosen = hidden.gather(1, order[:, :, None].expand(-1, -1, hidden.shape[2]))
    counts = kept_tokens(attention_mask.sum(dim=1, keepdim=True), share)
    ranks = torch.arange(kept, device=received.device)
    chosen_positions = positions.expand(order.shape[0], -1).gather(1, order)
    return chosen, (ranks < counts).to(attention_mask.dtype), chosen_positions


def all_tokens(hidden: Tensor) -> Tensor:
    """The attention mask (batch, tokens) of hidden states without padding: ones."""
    return torch.ones(hidden.shape[:2], dtype=torch.long, device=hidden.device)


def run_layers(
    steps: Sequence[Step],
    contexts: AttentionContexts,
    x: Tensor,
    attention_mask: Tensor,
    token_keep: float = 1.0,
    first_token_only: bool = False,
) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """Runs layers one after the other, each with its block and its kind of attention.

    Args:
        x: (batch, tokens, hidden of the width).
        attention_mask: (batch, tokens).
        token_keep: share of the tokens that each layer but the last passes on.
        first_token_only: the last layer computes the first token alone, the only one that is read.

    Returns:
        What the last layer put out, what went into it and the attention mask of that, and what every layer but the last
        put out.
    """
    states: list[Tensor] = []
    kinds = [kind for _, _, kind in steps]
    positions = torch.arange(x.shape[1], device=x.device)[None, :]
    prepared = contexts(kinds, attention_mask, positions, x.dtype)
    before = x
    for index, (layer, block, _) in enumerate(steps):
        before = x
        last = index == len(steps) - 1
        weights = attention_mask.to(x.dtype) if token_keep < 1.0 and not last else None
        x, received = layer(x, prepared[index], block, first_token_only and last, weights)
        if received is not None:
            x, attention_mask, positions = drop_tokens(x, attention_mask, positions, received, token_keep)
            prepared = contexts(kinds, attention_mask, positions, x.dtype)
        if not last:
            states.append(x)
    return x, before, attention_mask, states
