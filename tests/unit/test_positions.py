"""What attention adds for distances, against transformers' formulas."""

from __future__ import annotations

import functools

import pytest
import torch
from transformers.models.modernbert.modeling_modernbert import apply_rotary_pos_emb
from transformers.models.mpnet.modeling_mpnet import MPNetEncoder

from sharcs_edge.model.configuration import AttentionKind, SharcsEncoderConfig
from sharcs_edge.model.positions import RELATIVE_BUCKETS, AttentionContexts

KINDS = (AttentionKind(), AttentionKind(window=3), AttentionKind(2, 100.0), AttentionKind(None, 10_000.0))


@pytest.fixture
def contexts() -> AttentionContexts:
    """Four layers of every kind, four heads of 6 dimensions, relative biases."""
    config = SharcsEncoderConfig(
        hidden_size=24, num_heads=4, num_layers=4, relative_bias=True, rotary_bases=[100.0, 10_000.0] * 2
    )
    return AttentionContexts(config, heads=4).requires_grad_(False)


def test_distances_fall_into_the_buckets_of_transformers(contexts: AttentionContexts) -> None:
    assert contexts.relative is not None
    contexts.relative.weight.copy_(torch.arange(RELATIVE_BUCKETS).float()[:, None].expand(-1, 4))
    positions = torch.arange(600)
    (context,) = contexts(KINDS[:1], torch.ones(1, 600), positions[None, :], torch.float32)
    expected = MPNetEncoder.relative_position_bucket(positions[None, :] - positions[:, None])
    assert torch.equal(context.bias[0, 3].long(), expected)


def test_rotation_equals_that_of_transformers(contexts: AttentionContexts) -> None:
    positions = torch.tensor([[0, 5, 8000]])
    context = contexts(KINDS, torch.ones(1, 3), positions, torch.float32)[3]
    query, key = torch.randn(2, 4, 3, 6), torch.randn(2, 4, 3, 6)
    inverse = 1.0 / (10_000.0 ** (torch.arange(0, 6, 2).float() / 6))
    angles = torch.cat([positions[..., None] * inverse] * 2, dim=-1)
    expected = apply_rotary_pos_emb(query, key, angles.cos(), angles.sin())
    for ours, theirs in zip(context.rotate(query, key, first_token_only=False), expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
    first, whole = context.rotate(query[:, :, :1], key, first_token_only=True)
    assert torch.equal(first, query[:, :, :1])  # position 0 turns by nothing
    assert whole.shape == key.shape


def test_a_window_hides_what_is_far_and_padding_stays_hidden(contexts: AttentionContexts) -> None:
    mask = torch.tensor([[1, 1, 1, 1, 1, 0]])
    context = contexts(KINDS, mask, torch.arange(6)[None, :], torch.float32)[1]
    seen = context.bias[0, 0] > -1e30
    assert seen.tolist() == [[abs(i - j) <= 3 and j < 5 for j in range(6)] for i in range(6)]
    assert context.bias.isfinite().all()


def test_layers_of_one_kind_share_a_context(contexts: AttentionContexts) -> None:
    prepared = contexts((KINDS[0], KINDS[1], KINDS[0]), torch.ones(1, 3), torch.arange(3)[None, :], torch.float32)
    assert prepared[0] is prepared[2] is not prepared[1]


def test_dropped_tokens_leave_their_positions_behind(contexts: AttentionContexts) -> None:
    """Distances and angles are those in the whole row, wherever its tokens went."""
    order = torch.tensor([0, 7, 3, 11])
    prepare = functools.partial(contexts, KINDS, dtype=torch.float32)
    whole = prepare(attention_mask=torch.ones(1, 12), positions=torch.arange(12)[None, :])
    kept = prepare(attention_mask=torch.ones(1, 4), positions=order[None, :])
    for before, after in zip(whole, kept, strict=True):
        assert torch.equal(after.bias, before.bias[:, :, order][:, :, :, order])
        if before.rotation is not None and after.rotation is not None:
            assert torch.equal(after.rotation.sin, before.rotation.sin[:, :, order])


def test_a_width_adds_the_biases_of_its_leading_heads(contexts: AttentionContexts) -> None:
    context = contexts(KINDS, torch.ones(2, 5), torch.arange(5)[None, :], torch.float32)[0]
    assert torch.equal(context.bias_of(2, first_token_only=True), context.bias[:, :2, :1])
    assert torch.equal(context.bias_of(4, first_token_only=False), context.bias)
