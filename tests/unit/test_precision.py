"""Mixed precision: where it applies, what stays in float32, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from sharcs_edge.config import SharcsConfig
from sharcs_edge.errors import UsageError
from sharcs_edge.model.conversion import from_hugging_face
from sharcs_edge.model.encoder import SharcsForSequenceClassification
from sharcs_edge.train.options import TrainOptions
from sharcs_edge.train.precision import MixedPrecisionEncoder, check_precision
from sharcs_edge.train.recipes import make_recipe
from sharcs_edge.train.step import StepLoss

WIDTHS = (0.5, 1.0)
IDS = torch.tensor([[2, 5, 6, 7, 8, 3], [2, 9, 3, 0, 0, 0]])
MASK = (IDS != 0).long()


@pytest.fixture
def model() -> SharcsForSequenceClassification:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=20,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        initializer_range=0.2,
    )
    config.num_labels = 3
    plan = SharcsConfig(WIDTHS, trunk_layers=1, router_hidden_size=16)
    nested: SharcsForSequenceClassification = from_hugging_face(BertForSequenceClassification(config), plan).eval()
    return nested


def dtypes_of(module: nn.Module) -> list[torch.dtype]:
    """Filled with what the modules inside put out when they run."""
    seen: list[torch.dtype] = []
    for part in module.modules():
        if part is not module:
            part.register_forward_hook(lambda _module, _inputs, output: seen.append(output.dtype))
    return seen


def test_the_encoder_runs_in_bfloat16_and_everything_that_comes_out_is_float32(
    model: SharcsForSequenceClassification,
) -> None:
    with torch.no_grad():
        exact = model(IDS, MASK, width=WIDTHS)
        activations: list[torch.dtype] = []
        activation: Any = model.layers[0].activation
        activation.register_forward_hook(lambda _module, _inputs, output: activations.append(output.dtype))
        mixed = MixedPrecisionEncoder(model, torch.bfloat16)(IDS, MASK, width=WIDTHS)
    assert activations == [torch.bfloat16]
    for rough, fine in zip(mixed.tails, exact.tails, strict=True):
        assert rough.logits.dtype == torch.float32
        assert {state.dtype for state in rough.hidden_states} == {torch.float32}
        assert not torch.equal(rough.logits, fine.logits)
        torch.testing.assert_close(rough.logits, fine.logits, atol=0.1, rtol=0.1)
    torch.testing.assert_close(mixed.router_logits, exact.router_logits, atol=0.05, rtol=0.05)


def test_router_and_head_compute_in_float32(model: SharcsForSequenceClassification) -> None:
    encoder = MixedPrecisionEncoder(model, torch.bfloat16)
    seen = [dtypes_of(part) for part in (model.router, model.head, *model.narrow_heads)]
    hidden: list[torch.Tensor] = []
    model.router.register_forward_pre_hook(lambda _module, inputs: hidden.append(inputs[0]))
    with torch.no_grad():
        output = encoder(IDS, MASK, width=WIDTHS)
        assert torch.equal(model.router(hidden[0], MASK), output.router_logits)
    assert all(set(dtypes) == {torch.float32} for dtypes in seen)


def test_evaluation_is_not_touched(model: SharcsForSequenceClassification) -> None:
    with torch.no_grad():
        before = model(IDS, MASK).logits
        MixedPrecisionEncoder(model, torch.bfloat16)
        assert torch.equal(model(IDS, MASK).logits, before)


@pytest.mark.parametrize("recipe", ["distill", "sharcs"])
def test_a_step_in_bfloat16_has_a_float32_loss_and_finite_float32_gradients(
    model: SharcsForSequenceClassification, recipe: str
) -> None:
    options = TrainOptions(recipe=recipe, epochs=5, precision="bf16")  # type: ignore[arg-type]
    step = StepLoss(model, make_recipe(model.config.sharcs, options, np.array([6, 3])), options.precision)
    part = {"inputs": {"input_ids": IDS, "attention_mask": MASK}, "labels": torch.tensor([0, 2]), "width": 0}
    part["samples"] = torch.arange(2)
    with torch.autocast("cpu", torch.bfloat16):  # as accelerate leaves it on around a step in fp16
        loss = step([part], 0)
    loss.backward()
    assert loss.dtype == torch.float32
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert {gradient.dtype for gradient in gradients} == {torch.float32}
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert sum(gradient.abs().sum() for gradient in gradients) > 0


def test_full_precision_is_the_model_as_it_is(model: SharcsForSequenceClassification) -> None:
    recipe = make_recipe(model.config.sharcs, TrainOptions(), np.array([6, 3]))
    assert StepLoss(model, recipe, "fp32").encoder is model


def test_float16_needs_a_gpu() -> None:
    with pytest.raises(UsageError, match=r"fp16 needs a CUDA device.*on cpu; use bf16 or fp32"):
        check_precision("fp16", torch.device("cpu"))


def test_bfloat16_without_instructions_for_it_is_said_to_be_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": False}, raising=False)
    assert "bf16 is slow here" in (check_precision("bf16", cpu) or "")
    assert check_precision("fp32", cpu) is None
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    assert check_precision("bf16", cpu) is None


def test_an_unknown_precision() -> None:
    with pytest.raises(UsageError, match="precision is 'fp8'; expected one of fp32, bf16, fp16"):
        TrainOptions(precision="fp8")  # type: ignore[arg-type]
