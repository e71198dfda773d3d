"""Reorders heads, FFN neurons and residual dimensions so that the leading ones, which narrow widths keep, matter most.

Importance is measured on training samples, never on dev: a first-order estimate of how the loss would change without
a unit, |sum of weight * gradient| over the unit's weights, summed over batches (Michel et al. 2019, arXiv 1905.10650;
the published recipe measures heads and neurons in this way). The permutations leave the full width's function as it
was, up to the order of floating-point sums.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sharcs_edge.model.encoder import SharcsForSequenceClassification
from sharcs_edge.model.layers import EncoderLayer
from sharcs_edge.train.dataset import Collator, EncodedSplit
from sharcs_edge.train.options import TrainOptions
from sharcs_edge.train.sampler import length_grouped_batches
from sharcs_edge.train.tasks import Task

_PROBE_STEPS = 100
_MEASURED_STEPS = 30


@dataclass(frozen=True)
class Importance:
    """The higher, the more the loss depends on it; for every layer module.

    ``heads`` (modules, heads), ``neurons`` (modules, intermediate), ``residual`` (hidden,).
    """

    heads: Tensor
    neurons: Tensor
    residual: Tensor


def order_by_importance(model: SharcsForSequenceClassification, train: EncodedSplit, options: TrainOptions) -> None:
    """Measures on a few batches of the training samples and reorders; the same in every process and on every call."""
    rng = np.random.default_rng((options.seed, _PROBE_STEPS))
    lengths = train.lengths
    batches = length_grouped_batches(np.arange(len(train)), lengths, options.batch_size, rng)
    chosen = batches[: _PROBE_STEPS + _MEASURED_STEPS]
    probe_steps = len(chosen) * _PROBE_STEPS // (_PROBE_STEPS + _MEASURED_STEPS)
    collate = Collator(train.inputs)
    parts = (collate([train[(int(sample), 0)] for sample in batch])["parts"][0] for batch in chosen)
    importance = measure_importance(model, train.task, parts, options.learning_rate, probe_steps)
    reorder(model, importance, residual=options.importance == "all" and model.config.width_dims == "all")


def measure_importance(
    model: SharcsForSequenceClassification,
    task: Task,
    parts: Iterable[Mapping[str, Any]],
    learning_rate: float,
    probe_steps: int,
) -> Importance:
    """Importance for ``task``: a copy of the model learns it at full width on the first ``probe_steps`` parts of steps,
    since before that the gradients are those of a random head; what they say on the rest of the parts is summed."""
    probe = copy.deepcopy(model).train()
    optimizer = torch.optim.AdamW(probe.parameters(), lr=learning_rate)
    config = model.config
    heads = torch.zeros(len(model.layers), config.num_heads)
    neurons = torch.zeros(len(model.layers), config.intermediate_size)
    residual = torch.zeros(config.hidden_size)
    for step, part in enumerate(parts):
        optimizer.zero_grad()
        inputs = {name: tensor.to(probe.device) for name, tensor in part["inputs"].items()}
        loss = task.loss(probe(**inputs, width=1.0).logits, part["labels"].to(probe.device))
        loss.backward()  # type: ignore[no-untyped-call]  # partly typed upstream
        if step < probe_steps:
            nn.utils.clip_grad_norm_(probe.parameters(), 1.0)
            optimizer.step()
            continue
        probe.train(False)
        for index, layer in enumerate(_layers(probe)):
            by_column = _weighted_gradient(layer.attention.output).sum(dim=0)
            heads[index] += by_column.view(config.num_heads, config.head_size).sum(dim=1).abs().cpu()
            neurons[index] += _weighted_gradient(layer.down).sum(dim=0).abs().cpu()
        residual += sum(_residual_gradients(probe), torch.zeros(config.hidden_size)).abs()
    return Importance(heads, neurons, residual)


@torch.no_grad()
def reorder(model: SharcsForSequenceClassification, importance: Importance, residual: bool = False) -> None:
    """Sorts heads and neurons of every layer module, most important first, and the residual dimensions if asked to.
    Where layers share a bias per head, all get one order of heads. Layers of narrow widths' own begin anew as the
    leading blocks."""
    config = model.config
    heads = importance.heads
    if config.tied_heads:
        heads = heads.sum(dim=0, keepdim=True).expand_as(heads)
    for index, layer in enumerate(_layers(model)):
        _permute_heads(layer, heads[index].argsort(descending=True, stable=True), config.head_size)
        _permute_neurons(layer, importance.neurons[index].argsort(descending=True, stable=True))
    if config.tied_heads:
        relative = model.contexts.relative
        assert relative is not None
        relative.weight.copy_(relative.weight[:, heads[0].argsort(descending=True, stable=True)])
    if residual:
        order = importance.residual.argsort(descending=True, stable=True)
        for parameter, axis in residual_axes(model):
            parameter.copy_(parameter.index_select(axis, order.to(parameter.device)))
        for norms in _norms_by_width(model):
            for norm in norms[:-1]:
                for narrow, full in zip(norm.parameters(), norms[-1].parameters(), strict=True):
                    narrow.copy_(full[: len(narrow)])
    model.copy_own_layers()


def _norms_by_width(model: SharcsForSequenceClassification) -> Iterator[nn.ModuleList]:
    """The LayerNorms of one place in the encoder, the full width's last; narrow ones begin as its leading part."""
    for layer in _layers(model):
        yield from (layer.attention_norms, layer.output_norms)
    yield model.final_norms


def residual_axes(model: SharcsForSequenceClassification) -> Iterator[tuple[Tensor, int]]:
    """Every parameter that holds one entry per residual dimension, with that axis: permuting all alike changes nothing
    at full width. What only a narrow width has is not among them."""
    embeddings = model.embeddings
    full = model.config.hidden_size
    inner = [*_linear_axes(model.router.hidden, reads=True), *_norm_axes(model.router.norm, full)]
    if getattr(embeddings, "projection", None) is not None:
        inner += _linear_axes(embeddings.projection, reads=False)
    else:
        for name, parameter in embeddings.named_parameters():
            # A convolution's rows are the residual dimensions; tables and norms have them last.
            inner.append((parameter, 0 if name.startswith("patches") else parameter.dim() - 1))
    for layer in _layers(model):
        attention = layer.attention
        for linear in (attention.query, attention.key, attention.value, layer.up, layer.gate):
            inner += _linear_axes(linear, reads=True)
        for linear in (attention.output, layer.down):
            inner += _linear_axes(linear, reads=False)
        for norm in (*layer.attention_norms, *layer.output_norms):
            inner += _norm_axes(norm, full)
    for norm in (*model.entry_norms, *model.final_norms):
        inner += _norm_axes(norm, full)
    reader = model.head.classifier if model.head.dense is None else model.head.dense
    yield from [*inner, *_linear_axes(reader, reads=True)]


def _linear_axes(linear: nn.Module | Tensor | None, reads: bool) -> list[tuple[Tensor, int]]:
    """A linear reads the residual stream along its columns, or writes it along its rows and bias."""
    if not isinstance(linear, nn.Linear):
        return []
    if reads:
        return [(linear.weight, 1)]
    return [(parameter, 0) for parameter in linear.parameters()]


def _norm_axes(norm: nn.Module | None, size: int) -> list[tuple[Tensor, int]]:
    parameters = [] if norm is None else list(norm.parameters())
    return [(parameter, 0) for parameter in parameters if parameter.shape[0] == size]


def _residual_gradients(model: SharcsForSequenceClassification) -> Iterator[Tensor]:
    """Weight * gradient of what reads the residual stream, summed to (hidden,)."""
    for layer in _layers(model):
        for linear in (layer.attention.query, layer.attention.key, layer.attention.value, layer.up, layer.gate):
            if linear is not None:
                yield _weighted_gradient(linear).sum(dim=0).cpu()


def _weighted_gradient(linear: nn.Linear) -> Tensor:
    gradient = linear.weight.grad
    return torch.zeros_like(linear.weight) if gradient is None else (linear.weight * gradient).detach()


def _permute_heads(layer: EncoderLayer, order: Tensor, head_size: int) -> None:
    attention = layer.attention
    order = order.to(attention.output.weight.device)
    rows = (order[:, None] * head_size + torch.arange(head_size, device=order.device)).flatten()
    for linear in (attention.query, attention.key, attention.value):
        _permute_rows(linear, rows)
    attention.output.weight.copy_(attention.output.weight[:, rows])


def _permute_neurons(layer: EncoderLayer, order: Tensor) -> None:
    order = order.to(layer.down.weight.device)
    _permute_rows(layer.up, order)
    if layer.gate is not None:
        _permute_rows(layer.gate, order)
    layer.down.weight.copy_(layer.down.weight[:, order])


def _permute_rows(linear: nn.Linear, order: Tensor) -> None:
    for parameter in linear.parameters():
        parameter.copy_(parameter[order])


def _layers(model: SharcsForSequenceClassification) -> Iterator[EncoderLayer]:
    for layer in model.layers:
        assert isinstance(layer, EncoderLayer)
        yield layer
