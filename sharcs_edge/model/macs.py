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
    """Embedding projection, trunk layers at full width and the router; lookups, norms and activations count nothing."""
    projection = config.embedding_size * config.hidden_size if config.embedding_size != config.hidden_size else 0
    per_token, per_token_squared = _layer_macs(config, config.trunk_slice)
    router = config.router_hidden_size * (config.hidden_size + len(config.slices))
    return Macs(
        per_row=router,
        per_token=projection + config.trunk_layers * per_token,
        per_token_squared=config.trunk_layers * per_token_squared,
    )


def tail_macs(config: SharcsEncoderConfig, width: WidthSlice) -> Macs:
    """The tail's layers and the head. The last layer computes keys and values for all tokens, the rest for one."""
    per_row, per_token, per_token_squared = 0.0, float(_entry_macs(config, width)), 0.0
    share, offset = 1.0, 0.0  # a layer sees share * tokens + offset tokens
    keep = config.token_keep if config.drops_tokens(width) else 1.0
    for block in width.layers[:-1]:
        linear, squared = _layer_macs(config, block)
        per_row += linear * offset + squared * offset**2
        per_token += linear * share + squared * 2 * share * offset
        per_token_squared += squared * share**2
        share, offset = share * keep, (offset * keep + 0.5 if keep < 1.0 else 0.0)
    last_row, last_token = _last_layer_macs(config, width.layers[-1])
    per_row += last_row + last_token * offset + _head_macs(config, width)
    per_token += last_token * share
    return Macs(round(per_row), round(per_token), round(per_token_squared))


def count_tail(config: SharcsEncoderConfig, width: WidthSlice, tokens: int) -> int:
    """Exact multiply-accumulates of a tail for one row of ``tokens`` tokens, dropped tokens left out."""
    total = _entry_macs(config, width) * tokens + _head_macs(config, width)
    for block in width.layers[:-1]:
        linear, squared = _layer_macs(config, block)
        total += linear * tokens + squared * tokens**2
        if config.drops_tokens(width):
            tokens = kept_tokens(tokens, config.token_keep)
    last_row, last_token = _last_layer_macs(config, width.layers[-1])
    return total + last_row + last_token * tokens


def _layer_macs(config: SharcsEncoderConfig, block: LayerSlice) -> tuple[int, int]:
    """(per token, per token squared) of one whole layer: Q, K, V, output, FFN; then scores and context."""
    attention = block.heads * config.head_size
    return 4 * block.hidden * attention + 2 * block.hidden * block.intermediate, 2 * attention


def _last_layer_macs(config: SharcsEncoderConfig, block: LayerSlice) -> tuple[int, int]:
    """(per row, per token): one query, its output and FFN; keys, values, scores and context of every token."""
    attention = block.heads * config.head_size
    row = 2 * block.hidden * attention + 2 * block.hidden * block.intermediate
    return row, 2 * block.hidden * attention + 2 * attention


def _head_macs(config: SharcsEncoderConfig, width: WidthSlice) -> int:
    return config.hidden_size * (width.hidden + config.label_count)


def _entry_macs(config: SharcsEncoderConfig, width: WidthSlice) -> int:
    learned = config.input_reduction == "learned" and width.hidden < config.hidden_size
    return config.hidden_size if learned else 0
