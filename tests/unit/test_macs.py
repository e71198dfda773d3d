"""Counted multiply-accumulates against torch's own FLOP counter."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from sharcs_edge.config import SharcsConfig
from sharcs_edge.model.configuration import SharcsEncoderConfig
from sharcs_edge.model.encoder import SharcsForSequenceClassification
from sharcs_edge.model.macs import count_tail, tail_macs, trunk_macs


@torch.no_grad()
@pytest.mark.parametrize("tokens", [1, 7, 33])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"width_dims": "all"},
        {"embedding_size": 16},
        {"trunk_layers": 0},
        {"width_shape": "rising", "trunk_layers": 0},
        {"token_keep": 0.7},
        {"width_shape": "short", "narrow_head": "own", "trunk_layers": 0},
    ],
    ids=str,
)
def test_macs_equal_torch_flops(changes: dict[str, Any], tokens: int) -> None:
    sizes: dict[str, Any] = {
        "vocab_size": 20,
        "max_positions": 40,
        "embedding_size": 24,
        "hidden_size": 24,
        "num_layers": 3,
        "num_heads": 6,
        "intermediate_size": 48,
        "widths": [1 / 6, 0.5, 1.0],
        "trunk_layers": 1,
        "router_hidden_size": 10,
        "num_labels": 5,
    } | changes
    config = SharcsEncoderConfig(**sizes)
    assert isinstance(config.sharcs, SharcsConfig)
    model = SharcsForSequenceClassification(config).eval()
    ids = torch.zeros((1, tokens), dtype=torch.long)
    mask = torch.ones_like(ids)

    def counted(call: Any) -> int:
        # torch counts nothing inside its fused CPU attention
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            call()
        return int(counter.get_total_flops()) // 2  # a multiply-accumulate is two operations

    assert trunk_macs(config).count(tokens) == counted(lambda: model.trunk(ids, mask))
    hidden, _ = model.trunk(ids, mask)
    for width in model.slices:
        macs = counted(lambda w=width: model.tail(hidden, mask, w))
        assert count_tail(config, width, tokens) == macs
        polynomial = tail_macs(config, width).count(tokens)
        if config.drops_tokens(width):
            # It counts half a token for every rounding up to a whole one.
            per_token = count_tail(config, config.slices[-1], tokens + 1) - count_tail(
                config, config.slices[-1], tokens
            )
            assert abs(polynomial - macs) <= per_token
        else:
            assert polynomial == macs
