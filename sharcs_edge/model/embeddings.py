"""What goes into the first layer: tokens of a text or patches of an image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sharcs_edge.errors import InputError
from sharcs_edge.model.configuration import SharcsEncoderConfig


class TokenEmbeddings(nn.Module):
    """Word + position (+ segment) embeddings, LayerNorm and, for ELECTRA and ALBERT, a projection to the hidden size.

    Positions count from ``position_offset`` for right-padded rows. RoBERTa numbers only real tokens, which is the
    same thing for every token that is not padding.
    """

    def __init__(self, config: SharcsEncoderConfig) -> None:
        super().__init__()
        size = config.embedding_size
        self.position_offset = config.position_offset
        self.words = nn.Embedding(config.vocab_size, size)
        self.positions = nn.Embedding(config.max_positions, size) if config.learned_positions else None
        self.token_types = nn.Embedding(config.token_types, size) if config.token_types else None
        self.norm = nn.LayerNorm(size, eps=config.norm_eps, bias=config.norm_bias)
        self.projection = nn.Linear(size, config.hidden_size) if config.projects_embeddings else None
        self.dropout = nn.Dropout(config.hidden_dropout)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """(batch, tokens) ids -> (batch, tokens, hidden)."""
        x = self.words(input_ids)
        if self.token_types is not None:
            # Without segment ids every token is of segment 0: one broadcast row instead of a lookup per token.
            x = x + (self.token_types.weight[0] if token_type_ids is None else self.token_types(token_type_ids))
        if self.positions is not None:
            tokens = input_ids.shape[1]
            x = x + self.positions(
                torch.arange(self.position_offset, self.position_offset + tokens, device=input_ids.device)
            )
        normed: Tensor = self.dropout(self.norm(x))
        projected: Tensor = normed if self.projection is None else self.projection(normed)
        return projected


class PatchEmbeddings(nn.Module):
    """A learned first token, then the patches of an image from left to right and from top to bottom; + positions."""

    def __init__(self, config: SharcsEncoderConfig) -> None:
        super().__init__()
        assert config.image_size is not None and config.patch_size is not None
        self.pixels = (config.num_channels, *config.image_size)
        height, width = config.patch_size
        self.patches = nn.Conv2d(config.num_channels, config.hidden_size, (height, width), stride=(height, width))
        self.first_token = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        self.positions = nn.Parameter(torch.zeros(1, config.max_tokens, config.hidden_size))
        self.dropout = nn.Dropout(config.hidden_dropout)

    def forward(self, pixel_values: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """(batch, channels, height, width) -> (batch, 1 + patches, hidden).

        Raises:
            InputError: images of another size than the positions are for.
        """
        if tuple(pixel_values.shape[1:]) != self.pixels:
            given, expected = ("x".join(map(str, shape)) for shape in (pixel_values.shape[1:], self.pixels))
            raise InputError(
                f"images have {given} values (channels x height x width), the model takes {expected}; resize them"
            )
        patches = self.patches(pixel_values).flatten(2).transpose(1, 2)  # (batch, patches, hidden)
        tokens = torch.cat((self.first_token.expand(patches.shape[0], -1, -1), patches), dim=1)
        embedded: Tensor = self.dropout(tokens + self.positions)
        return embedded
