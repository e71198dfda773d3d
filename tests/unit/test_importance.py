"""Reordering changes nothing at full width, and brings what matters to the front."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from sharcs_edge.config import SharcsConfig
from sharcs_edge.model.conversion import from_hugging_face
from sharcs_edge.model.encoder import SharcsForSequenceClassification
from sharcs_edge.train.importance import Importance, measure_importance, reorder
from sharcs_edge.train.tasks import Classification

SIZES: dict[str, dict[str, Any]] = {
    "bert": {},
    "electra": {"embedding_size": 12},
    "albert": {"embedding_size": 12},
    "mpnet": {},
    "modernbert": {"pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2},
}


def nested(model_type: str, width_dims: str, **changes: Any) -> SharcsForSequenceClassification:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        model_type,
        vocab_size=40,
        hidden_size=24,
        num_hidden_layers=3,
        num_attention_heads=6,
        intermediate_size=48,
        max_position_embeddings=32,
        num_labels=3,
        **SIZES[model_type],
    )
    source = AutoModelForSequenceClassification.from_config(config)
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    plan = SharcsConfig((1 / 6, 1.0), 1, width_dims=width_dims, **changes)  # type: ignore[arg-type]
    model = from_hugging_face(source, plan)
    model.train(False)
    return model


def batch() -> dict[str, torch.Tensor]:
    ids = torch.randint(3, 40, (4, 9), generator=torch.Generator().manual_seed(1))
    mask = (torch.arange(9)[None] < torch.tensor([9, 5, 7, 2])[:, None]).long()
    return {"input_ids": ids, "attention_mask": mask}


@pytest.mark.parametrize("width_dims", ["inner", "all"])
@pytest.mark.parametrize("model_type", sorted(SIZES))
def test_any_order_leaves_the_full_width_and_the_router_as_they_were(model_type: str, width_dims: str) -> None:
    model = nested(model_type, width_dims)
    with torch.no_grad():
        before = model(**batch())
        narrow_before = model(**batch(), width=1 / 6).logits
        random = Importance(torch.rand(len(model.layers), 6), torch.rand(len(model.layers), 48), torch.rand(24))
        reorder(model, random, residual=width_dims == "all")
        after = model(**batch())
    torch.testing.assert_close(after.logits, before.logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(after.router_logits, before.router_logits, atol=1e-5, rtol=0)
    assert not torch.allclose(model(**batch(), width=1 / 6).logits, narrow_before, atol=1e-5)
    layer: Any = model.layers[len(model.layers) - 1]
    narrow, full = (norm.weight for norm in layer.output_norms)
    assert torch.equal(narrow, full[: len(narrow)])


def test_the_head_and_the_neurons_that_the_loss_depends_on_come_first() -> None:
    model = nested("bert", "inner")
    with torch.no_grad():
        layer: Any
        for layer in model.layers:  # all but head 4 and neuron 30 write next to nothing
            layer.attention.output.weight.mul_(1e-3)
            layer.attention.output.weight[:, 16:20] *= 1e5
            layer.down.weight.mul_(1e-3)
            layer.down.weight[:, 30] *= 1e5
    part = {"inputs": batch(), "labels": torch.tensor([0, 1, 2, 0])}
    importance = measure_importance(model, Classification(), [part] * 3, learning_rate=1e-4, probe_steps=1)
    assert importance.heads.argmax(dim=1).tolist() == [4, 4, 4]
    assert importance.neurons.argmax(dim=1).tolist() == [30, 30, 30]
    layer = model.layers[1]
    output = layer.attention.output.weight.clone()
    reorder(model, importance)
    torch.testing.assert_close(layer.attention.output.weight[:, :4], output[:, 16:20])


def test_layers_of_a_widths_own_follow_the_order() -> None:
    model = nested("bert", "inner", own_layers=1 / 6)
    random = Importance(torch.rand(len(model.layers), 6), torch.rand(len(model.layers), 48), torch.rand(24))
    reorder(model, random)
    narrow, full = (model.tail_steps(width) for width in model.slices)
    shared: Any
    own: Any
    for (shared, _, _), (own, block, _) in zip(full, narrow, strict=True):
        assert torch.equal(own.up.weight, shared.up.weight[: block.intermediate])
        assert torch.equal(own.attention.output.weight, shared.attention.output.weight[:, : block.heads * 4])


def test_measuring_leaves_the_model_alone() -> None:
    model = nested("bert", "all")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    part = {"inputs": batch(), "labels": torch.tensor([0, 1, 2, 0])}
    importance = measure_importance(model, Classification(), [part] * 4, learning_rate=1e-2, probe_steps=2)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert (importance.residual > 0).all()
