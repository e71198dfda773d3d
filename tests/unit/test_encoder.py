"""Widths, plans and refusals of the nested-width encoder; test_architectures.py has it against transformers' models."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from sharcs_edge.config import SharcsConfig
from sharcs_edge.errors import BundleError, UsageError, WidthError
from sharcs_edge.model.conversion import from_hugging_face, to_hugging_face
from sharcs_edge.model.encoder import SharcsForSequenceClassification
from sharcs_edge.model.submodels import Tail, Trunk
from sharcs_edge.model.tail import LearnedEntry, drop_tokens, kept_tokens

SIZES: dict[str, Any] = {
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "intermediate_size": 48,
    "vocab_size": 50,
    "max_position_embeddings": 32,
    "num_labels": 3,
}


def tiny_source(model_type: str, seed: int = 0) -> PreTrainedModel:
    """A random transformers classifier; LayerNorms are randomised too, for ones and zeros hide mistakes."""
    torch.manual_seed(seed)
    model: PreTrainedModel = AutoModelForSequenceClassification.from_config(AutoConfig.for_model(model_type, **SIZES))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    model.train(False)
    return model


def padded_batch(rows: int = 4, tokens: int = 9, seed: int = 1) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, tokens + 1, (rows,), generator=generator)
    lengths[0] = tokens
    mask = (torch.arange(tokens)[None, :] < lengths[:, None]).long()
    ids = torch.randint(3, 50, (rows, tokens), generator=generator)
    return {"input_ids": torch.where(mask == 1, ids, 1), "attention_mask": mask}


def plan(**changes: Any) -> SharcsConfig:
    fields: dict[str, Any] = {"widths": (1 / 6, 0.5, 1.0), "trunk_layers": 1, "router_hidden_size": 16}
    return SharcsConfig(**(fields | changes))


VARIANTS = [
    {},
    {"width_dims": "all"},
    {"width_dims": "all", "entry_norm": "every"},
    {"width_dims": "all", "input_reduction": "learned"},
    {"width_shape": "rising", "trunk_layers": 0},
    {"token_keep": 0.6},
    {"width_shape": "short", "trunk_layers": 0},
    {"width_dims": "all", "narrow_head": "own", "token_keep": 0.6},
    {"width_shape": "short", "trunk_layers": 0, "narrow_head": "own"},
    {"own_layers": 0.2},
    {"own_layers": 0.2, "width_dims": "all", "width_shape": "rising", "trunk_layers": 0},
    {"own_layers": 0.5, "width_shape": "short", "trunk_layers": 0},
]


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_submodels_equal_the_model_at_every_width(changes: dict[str, Any]) -> None:
    nested = from_hugging_face(tiny_source("bert"), plan(**changes)).eval()
    with torch.no_grad():  # private LayerNorms differ between widths, as after training
        for parameter in nested.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    batch = padded_batch()
    trunk = Trunk(nested, (nested.slices[0], nested.slices[2])).eval()
    with torch.no_grad():
        hidden, router_logits = trunk(*batch.values())
        for width in nested.slices:
            expected = nested(**batch, width=width.width)
            actual = Tail(nested, width)(hidden, batch["attention_mask"])
            torch.testing.assert_close(actual, expected.logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(router_logits, expected.router_logits[:, [0, 2]], atol=1e-6, rtol=0)


def test_narrow_width_is_the_leading_block_alone() -> None:
    """Changing weights outside a width's block must not change its logits, and changing those inside must."""
    nested = from_hugging_face(tiny_source("bert"), plan(width_dims="all")).eval()
    batch, width = padded_batch(), nested.slices[0]
    block = width.layers[0]
    with torch.no_grad():
        before = nested(**batch, width=width.width).logits
        for layer in nested.layers[1:]:
            layer.up.weight[block.intermediate :] = 7.0
            layer.up.weight[:, width.hidden :] = 7.0
            layer.attention.query.weight[block.heads * nested.config.head_size :] = 7.0
            layer.attention.output.weight[width.hidden :] = 7.0
        torch.testing.assert_close(nested(**batch, width=width.width).logits, before, atol=0, rtol=0)
        nested.layers[1].up.weight[: block.intermediate, : width.hidden] += 1.0
        assert not torch.equal(nested(**batch, width=width.width).logits, before)


@pytest.mark.parametrize("narrow_dropout", [False, True])
def test_narrow_blocks_drop_out_only_where_asked_to(narrow_dropout: bool) -> None:
    source = tiny_source("bert")
    nested = from_hugging_face(source, plan(trunk_layers=0, narrow_dropout=narrow_dropout)).train()
    nested.embeddings.eval()
    nested.head.eval()
    nested.narrow_heads.eval()
    outputs = [nested(**padded_batch(), width=[0.5, 1.0]) for _ in range(2)]
    (narrow, full), (narrow_again, full_again) = (output.tails for output in outputs)
    assert torch.equal(narrow.logits, narrow_again.logits) is not narrow_dropout
    assert not torch.equal(full.logits, full_again.logits)


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_padding_changes_neither_logits_nor_routes(changes: dict[str, Any]) -> None:
    nested = from_hugging_face(tiny_source("bert"), plan(**changes)).eval()
    batch = padded_batch()
    with torch.no_grad():
        together = nested(**batch, width=0.5)
        for row, length in enumerate(batch["attention_mask"].sum(dim=1).tolist()):
            alone = nested(batch["input_ids"][row : row + 1, :length], width=0.5)
            torch.testing.assert_close(alone.logits[0], together.logits[row], atol=1e-5, rtol=0)
            torch.testing.assert_close(alone.router_logits[0], together.router_logits[row], atol=1e-5, rtol=0)


@pytest.mark.parametrize("changes", VARIANTS[3:], ids=str)
def test_width_plans_leave_the_full_width_exact(changes: dict[str, Any]) -> None:
    source = tiny_source("bert").eval()
    nested = from_hugging_face(source, plan(**changes)).eval()
    batch = padded_batch()
    with torch.no_grad():
        torch.testing.assert_close(nested(**batch).logits, source(**batch).logits, atol=1e-5, rtol=0)


def test_dropping_keeps_the_most_attended_tokens_of_each_row() -> None:
    hidden = torch.arange(8.0).view(2, 4, 1)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    received = torch.tensor([[0.0, 0.2, 0.9, 0.4], [0.0, 0.3, 0.1, 9.0]])
    kept, kept_mask, positions = drop_tokens(hidden, mask, torch.arange(4)[None, :], received, 0.5)
    assert positions.tolist() == [[0, 2], [0, 1]]
    assert kept[:, :, 0].tolist() == [[0.0, 2.0], [4.0, 5.0]]  # the first token, then the most attended real one
    assert kept_mask.tolist() == [[1, 1], [1, 1]]  # 2 of 4 and, rounded up, 2 of 3
    assert [kept_tokens(tokens, 0.7) for tokens in (1, 2, 3, 10)] == [1, 2, 3, 7]


def test_learned_entry_begins_as_the_mean_of_adjacent_dimensions() -> None:
    entry = LearnedEntry(6, 2)
    assert entry(torch.tensor([[[1.0, 2, 3, 10, 20, 30]]]))[0, 0].tolist() == pytest.approx([2, 20])


def test_save_and_load_round_trip(tmp_path: Any) -> None:
    nested = from_hugging_face(tiny_source("electra"), plan(width_dims="all")).eval()
    nested.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").is_file()
    restored = SharcsForSequenceClassification.from_pretrained(tmp_path).eval()
    assert restored.config.sharcs == nested.config.sharcs
    batch = padded_batch()
    with torch.no_grad():
        for width in nested.config.sharcs.widths:
            assert torch.equal(restored(**batch, width=width).logits, nested(**batch, width=width).logits)


def test_one_head_is_a_width() -> None:
    nested = from_hugging_face(tiny_source("bert"), plan(widths=(1 / 6, 1.0), width_dims="all"))
    assert [layer.heads for layer in nested.slices[0].layers] == [1, 1]
    assert nested.slices[0].hidden == 4
    assert nested(**padded_batch(), width=1 / 6).logits.shape == (4, 3)


def test_a_width_that_is_not_there_is_named() -> None:
    nested = from_hugging_face(tiny_source("bert"), plan())
    with pytest.raises(WidthError, match=r"no width 0\.3: there are 0\.166667, 0\.5, 1"):
        nested(**padded_batch(), width=0.3)


def test_refusals() -> None:
    source = tiny_source("bert")
    with pytest.raises(UsageError, match="trunk_layers is 3, but the encoder has 3 layers"):
        from_hugging_face(source, plan(trunk_layers=3))
    with pytest.raises(WidthError, match="both round to 3 of 6 attention heads"):
        from_hugging_face(source, plan(widths=(0.5, 0.52, 1.0)))
    with pytest.raises(BundleError, match="entry_norm"):
        to_hugging_face(from_hugging_face(source, plan(width_dims="all", entry_norm="every")))
    gpt = AutoConfig.for_model("gpt2", n_layer=1, n_embd=8, n_head=2, vocab_size=20)
    with pytest.raises(UsageError, match="'gpt2' is not supported; expected one of: albert, bert, "):
        from_hugging_face(transformers.AutoModelForSequenceClassification.from_config(gpt), plan())
