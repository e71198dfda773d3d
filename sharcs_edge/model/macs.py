"""Exact multiply-accumulate counts of the trunk and of each tail, for one row without padding."""

from __future__ import annotations

from sharcs_edge.config import WidthSlice
from sharcs_edge.model.configuration import SharcsEncoderConfig
from sharcs_edge_runtime.manifest import Macs


def trunk_macs(config: SharcsEncoderConfig) -> Macs:
    """Embedding projection, trunk layers at full width and the router; lookups, norms and activations count nothing."""
    projection = config.embedding_size * config.hidden_size if config.embedding_size != config.hidden_size else 0
    per_token, per_token_squared = _layer_macs(config, config.full)
    router = config.router_hidden_size * (config.hidden_size + len(config.slices))
    return Macs(
        per_row=router,
        per_token=projection + config.trunk_layers * per_token,
        per_token_squared=config.trunk_layers * per_token_squared,
    )


def tail_macs(config: SharcsEncoderConfig, width: WidthSlice) -> Macs:
    """The tail's layers and the head. The last layer computes keys and values for all tokens, the rest for one."""
    layers = config.num_layers - config.trunk_layers
    per_token, per_token_squared = _layer_macs(config, width)
    attention = width.heads * config.head_size
    last_per_row = 2 * width.hidden * attention + 2 * width.hidden * width.intermediate
    last_per_token = 2 * width.hidden * attention + 2 * attention
    head = config.hidden_size * (width.hidden + config.label_count)
    return Macs(
        per_row=last_per_row + head,
        per_token=(layers - 1) * per_token + last_per_token,
        per_token_squared=(layers - 1) * per_token_squared,
    )


def _layer_macs(config: SharcsEncoderConfig, width: WidthSlice) -> tuple[int, int]:
    """(per token, per token squared) of one whole layer: Q, K, V, output, FFN; then scores and context."""
    attention = width.heads * config.head_size
    return 4 * width.hidden * attention + 2 * width.hidden * width.intermediate, 2 * attention
