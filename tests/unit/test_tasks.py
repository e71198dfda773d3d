"""What each task means for training: losses against plain formulas, hardness and quality by their properties."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, kl_divergence

from sharcs_edge.errors import UsageError
from sharcs_edge.train.metrics import SplitOutputs, choose_offsets
from sharcs_edge.train.options import TrainOptions
from sharcs_edge.train.scaling import answer_in_label_unit, label_scale
from sharcs_edge.train.tasks import Classification, MultiLabel, Regression, Task, make_task
from sharcs_edge_runtime.manifest import TaskName

TASKS: tuple[TaskName, ...] = ("classification", "multi_label", "regression")
LABELS = 4
seeds = st.integers(0, 10_000)
few = settings(max_examples=40, deadline=None)


def case(task: TaskName, seed: int, samples: int = 12) -> tuple[Task, Tensor, Tensor, Tensor]:
    """The task, narrow and full logits, labels."""
    torch.manual_seed(seed)
    outputs = 1 if task == "regression" else LABELS
    narrow, full = (3 * torch.randn(samples, outputs) for _ in range(2))
    labels = {
        "classification": torch.randint(LABELS, (samples,)),
        "multi_label": torch.randint(2, (samples, LABELS)).float(),
        "regression": torch.randn(samples),
    }[task]
    return make_task(task), narrow, full, labels


def test_losses_and_distances_are_those_of_their_distributions() -> None:
    task, narrow, full, labels = case("classification", 0)
    torch.testing.assert_close(task.loss(full, labels), -Categorical(logits=full).log_prob(labels).mean())
    divergence = kl_divergence(Categorical(logits=full), Categorical(logits=narrow)).mean()
    torch.testing.assert_close(task.imitation(narrow, full), divergence)
    task, narrow, full, labels = case("multi_label", 0)
    torch.testing.assert_close(task.loss(full, labels), -Bernoulli(logits=full).log_prob(labels).mean())
    divergence = kl_divergence(Bernoulli(logits=full), Bernoulli(logits=narrow)).mean()
    torch.testing.assert_close(task.imitation(narrow, full), divergence)
    task, narrow, full, labels = case("regression", 0)
    torch.testing.assert_close(task.loss(full, labels), (full[:, 0] - labels).square().mean())
    torch.testing.assert_close(task.imitation(narrow, full), (full - narrow).square().mean())


@pytest.mark.parametrize("name", TASKS)
def test_only_the_narrow_width_learns_from_the_distance(name: TaskName) -> None:
    task, narrow, full, labels = case(name, 1)
    narrow.requires_grad_()
    full.requires_grad_()
    task.imitation(narrow, full).backward()
    assert narrow.grad is not None and narrow.grad.abs().sum() > 0
    assert full.grad is None
    for judged in (task.truth_confidence(full, labels), task.sufficiency(narrow, full, labels)):
        assert not judged.requires_grad


@few
@given(seed=seeds, name=st.sampled_from(TASKS))
def test_hardness_lies_between_0_and_1(seed: int, name: TaskName) -> None:
    task, narrow, full, labels = case(name, seed)
    for value in (task.truth_confidence(narrow, labels), task.sufficiency(narrow, full, labels)):
        assert value.shape == (12,)
        assert ((value >= 0) & (value <= 1)).all()
    assert (task.sufficiency(full, full, labels) == 1).all()
    # Whoever is at least as sure of the truth suffices, where sure is one number.
    surer = task.truth_confidence(narrow, labels) >= task.truth_confidence(full, labels)
    if name != "multi_label":
        assert (task.sufficiency(narrow, full, labels)[surer] == 1).all()


def test_confidence_of_the_truth() -> None:
    logits = torch.tensor([[2.0, 0.0, 0.0], [-1.0, 3.0, 3.0]])
    sure = Classification().truth_confidence(logits, torch.tensor([0, 0]))
    torch.testing.assert_close(sure, logits.softmax(-1)[:, 0])
    sure = MultiLabel().truth_confidence(logits, torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]]))
    torch.testing.assert_close(sure, torch.tensor([0.5, torch.tensor(-1.0).sigmoid().item()]))
    errors = torch.tensor([0.0, 0.1, 0.1 + 0.357, 0.1 + 0.693, 9.0])
    sure = Regression(tolerance=0.1).truth_confidence(1 + errors[:, None], torch.ones(5))
    torch.testing.assert_close(sure, torch.tensor([1.0, 1.0, 0.7, 0.5, 0.0]), atol=2e-3, rtol=0)


def test_one_lost_label_of_many_is_seen() -> None:
    """The mean over 100 labels would call a width sufficient that loses the only label that holds."""
    full = torch.full((1, 100), -6.0)
    full[0, 0] = 3.0
    narrow = full.clone()
    narrow[0, 0] = -3.0
    labels = torch.zeros(1, 100)
    labels[0, 0] = 1.0
    assert MultiLabel().sufficiency(narrow, full, labels).item() < 0.15
    assert MultiLabel().truth_confidence(narrow, labels).item() < 0.06


@few
@given(seed=seeds, tolerance=st.floats(0, 2))
def test_a_number_suffices_within_the_tolerance_and_less_with_every_error(seed: int, tolerance: float) -> None:
    torch.manual_seed(seed)
    task = Regression(tolerance=tolerance)
    labels, full = torch.randn(5), torch.randn(5, 1)
    error = (full[:, 0] - labels).abs()
    steps = torch.linspace(0, 3, 13)
    found = torch.stack([task.sufficiency((labels + error + step)[:, None], full, labels) for step in steps])
    assert (found[steps < tolerance - 1e-5] == 1).all()
    assert (found.diff(dim=0)[steps[:-1] > tolerance + 1e-5] < 0).all()


@few
@given(seed=seeds, mean=st.floats(-50, 50), std=st.floats(0.01, 100))
def test_the_unit_of_the_labels_changes_nothing(seed: int, mean: float, std: float) -> None:
    _, narrow, full, labels = case("regression", seed)
    one, other = Regression(), Regression(scale=std)

    def scaled(values: Tensor) -> Tensor:
        return values.double() * std + mean

    close: Callable[..., None] = torch.testing.assert_close
    close(other.loss(scaled(full), scaled(labels)), one.loss(full.double(), labels.double()))
    close(other.imitation(scaled(narrow), scaled(full)), one.imitation(narrow.double(), full.double()))
    close(
        other.sufficiency(scaled(narrow), scaled(full), scaled(labels)),
        one.sufficiency(narrow.double(), full.double(), labels.double()),
    )
    np.testing.assert_allclose(
        other.quality(scaled(full).numpy(), scaled(labels).numpy()), one.quality(full.numpy(), labels.numpy()), 1e-4
    )


def test_quality() -> None:
    logits = np.array([[[2.0, 1.0], [0.0, 0.0], [-1.0, -1.0]]], dtype=np.float32)
    np.testing.assert_array_equal(Classification().quality(logits, np.array([0, 1, 0])), [[1, 0, 1]])
    truth = np.array([[1, 0], [1, 1], [0, 0]], dtype=np.float32)
    np.testing.assert_allclose(MultiLabel().quality(logits, truth), [[2 / 3, 1, 1]])
    values = np.array([[[1.0], [2.0], [5.0]]], dtype=np.float32)
    quality = Regression(tolerance=0.5, scale=2.0).quality(values, np.array([1.0, 1.0, 1.0]))
    np.testing.assert_allclose(quality, [[1, 1, np.exp(-1.5)]], rtol=1e-6)


def test_how_sure_an_answer_is_of_itself() -> None:
    logits = np.array([[1.0, -2.0, 500.0], [0.0, 0.0, 0.0]], dtype=np.float32)
    sure = np.array([task.answer_confidence(logits) for task in (Classification(), MultiLabel())])
    np.testing.assert_allclose(sure, [[1, 1 / 3], [1 / (1 + np.exp(-1)), 0.5]], rtol=1e-6)
    assert Regression().answer_confidence(logits[:, :1]) is None


def test_labels_as_arrays() -> None:
    encoded: dict[str, Any] = {
        "classification": make_task("classification").encode_labels(("b", "a"), ("a", "b")),
        "multi_label": make_task("multi_label").encode_labels((("b", "a"), ()), ("a", "b", "c")),
        "regression": make_task("regression").encode_labels((0.5, 3), ("label",)),
    }
    assert {name: (array.dtype.name, array.tolist()) for name, array in encoded.items()} == {
        "classification": ("int64", [1, 0]),
        "multi_label": ("float32", [[1, 1, 0], [0, 0, 0]]),
        "regression": ("float32", [0.5, 3]),
    }


@pytest.mark.parametrize("name", TASKS)
@settings(max_examples=6, deadline=None)
@given(seed=seeds, max_drop=st.sampled_from([0.0, 0.02, 0.2]))
def test_offsets_hold_the_drop_of_every_headline(name: TaskName, seed: int, max_drop: float) -> None:
    rng = np.random.default_rng(seed)
    task, _, _, labels = case(name, seed, samples=30)
    truth = labels.numpy()
    outputs = SplitOutputs(
        logits=rng.normal(size=(3, 30, 1 if name == "regression" else LABELS)).astype(np.float32),
        router_logits=rng.normal(size=(30, 3)).astype(np.float32),
        labels=truth,
        trunk_macs=np.full(30, 50),
        tail_macs=np.tile([100, 200, 400], (30, 1)),
        task=task,
    )
    routes = outputs.routes(choose_offsets(outputs, max_drop))
    summary = outputs.summary(routes)
    metric = summary["metric"]
    assert metric == task.metric
    assert summary[f"routed_{metric}"] >= summary[metric][-1] - max_drop - 1e-6
    assert summary[f"routed_{metric}"] == outputs.score(routes)
    assert summary["routed_macs"] <= summary["mean_macs"][-1]
    assert set(summary) >= {f"{way}{one}" for one in task.metrics for way in ("", "routed_", "random_")}


def test_labels_are_folded_into_the_last_layer_of_every_head() -> None:
    labels = np.array([1990.0, 2000.0, 2020.0], dtype=np.float32)
    scale = label_scale(labels)
    assert astuple(scale) == pytest.approx((2003.3333, 12.4722, 1990.0, 2020.0))
    heads = [SimpleNamespace(classifier=torch.nn.Linear(3, 1)) for _ in range(2)]
    x = torch.randn(5, 3)
    before = [head.classifier(x) for head in heads]
    model: Any = SimpleNamespace(head=heads[0], narrow_heads=heads[1:])
    answer_in_label_unit(model, scale)
    for head, was in zip(heads, before, strict=True):
        torch.testing.assert_close(head.classifier(x), was * scale.std + scale.mean)


@pytest.mark.parametrize("tolerance", [-0.1, float("nan"), float("inf")])
def test_a_tolerance_is_finite_and_not_negative(tolerance: float) -> None:
    with pytest.raises(UsageError, match=r"regression_tolerance is .*; expected 0 or more"):
        TrainOptions(regression_tolerance=tolerance)
