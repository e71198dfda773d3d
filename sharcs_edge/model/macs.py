"""Multiply-accumulate counts of the trunk and of each tail, for one row without padding.

They are exact polynomials in the number of tokens; with token dropping, where every layer rounds its tokens up to
whole ones, the polynomial counts half a token per rounding, and :func:`count_tail` is exact.
"""

from __future__ import annotations

from sharcs_edge.config import LayerSlice, WidthSlice
from sharcs_edge.model.configuration import SharcsEncoderConfig
from sharcs_edge.model.tail import kept_tokens
from sharcs_edge_runtime.manifest import Macs


def trunk_macs(config: SharcsEncoderConfig) -> Macs:
    """Embedding projection (or patches), trunk layers at full width and the router; lookups, norms and activations
    count nothing."""
    projection = config.embedding_size * config.hidden_size if config.projects_embeddings else 0
    per_token, per_token_squared = _layer_macs(config, config.full_block)
    return Macs(
        per_row=router_macs(config) + _patch_macs(config),
        per_token=projection + config.trunk_layers * per_token,
        per_token_squared=config.trunk_layers * per_token_squared,
    )


def router_macs(config: SharcsEncoderConfig) -> int:
    """Of one row, whatever its length."""
    return config.router_hidden_size * (config.hidden_size + len(config.slices))


def tail_macs(config: SharcsEncoderConfig, width: WidthSlice) -> Macs:
    """The tail's layers and the head. Where the head reads the first token alone, the last layer computes keys and
    values for all tokens and the rest for that one."""
    per_row, per_token, per_token_squared = float(_head_macs(config, width)), float(_entry_macs(config, width)), 0.0
    share, offset = 1.0, 0.0  # a layer sees share * tokens + offset tokens
    keep = config.token_keep if config.drops_tokens(width) else 1.0
    for row, linear, squared in _tail_layers(config, width):
        per_row += row + linear * offset + squared * offset**2
        per_token += linear * share + squared * 2 * share * offset
        per_token_squared += squared * share**2
        share, offset = share * keep, (offset * keep + 0.5 if keep < 1.0 else 0.0)
    return Macs(round(per_row), round(per_token), round(per_token_squared))


def count_tail(config: SharcsEncoderConfig, width: WidthSlice, tokens: int) -> int:
    """Exact multiply-accumulates of a tail for one row of ``tokens`` tokens, dropped tokens left out."""
    total = _entry_macs(config, width) * tokens + _head_macs(config, width)
    for row, linear, squared in _tail_layers(config, width):
        total += row + linear * tokens + squared * tokens**2
        if config.drops_tokens(width):
            tokens = kept_tokens(tokens, config.token_keep)
    return total


def _tail_layers(config: SharcsEncoderConfig, width: WidthSlice) -> list[tuple[int, int, int]]:
    """(per row, per token, per token squared) of every layer."""
    layers = [(0, *_layer_macs(config, block)) for block in width.layers]
    if config.reads_first_token:
        # One query, its output and FFN; keys, values, scores and context of every token.
        block = width.layers[-1]
        projection = block.hidden * block.heads * config.head_size
        layers[-1] = (
            2 * projection + _ffn_macs(config, block),
            2 * projection + 2 * block.heads * config.head_size,
            0,
        )
    return layers


def _layer_macs(config: SharcsEncoderConfig, block: LayerSlice) -> tuple[int, int]:
    """(per token, per token squared) of one whole layer: Q, K, V, output, FFN; then scores and context.

    A layer with a window computes all scores, too, and masks those outside.
    """
    attention = block.heads * config.head_size
    return 4 * block.hidden * attention + _ffn_macs(config, block), 2 * attention


def _ffn_macs(config: SharcsEncoderConfig, block: LayerSlice) -> int:
    return (3 if config.gated else 2) * block.hidden * block.intermediate


def _head_macs(config: SharcsEncoderConfig, width: WidthSlice) -> int:
    if config.has_own_head(width):
        return config.hidden_size * (2 * width.hidden + config.label_count)
    if config.head_dense:
        return config.hidden_size * (width.hidden + config.label_count)
    return width.hidden * config.label_count


def _entry_macs(config: SharcsEncoderConfig, width: WidthSlice) -> int:
    learned = config.input_reduction == "learned" and width.hidden < config.hidden_size
    return config.hidden_size if learned else 0


def _patch_macs(config: SharcsEncoderConfig) -> int:
    if not config.reads_images:
        return 0
    rows, columns = config.patches
    height, width = config.patch_size or (1, 1)
    return rows * columns * config.num_channels * height * width * config.hidden_size
