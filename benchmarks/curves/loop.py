"""Fine-tuning of what `sharcs_edge.train` does not train: one narrow width alone, and an encoder with early exits.

It does to them what `sharcs_edge.train` does to a plain encoder: the same order of samples, optimizer, schedule,
clipping, precision and choice of the best epoch (`tests/benchmarks/test_loop.py` compares the weights).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import set_seed

from benchmarks.curves.bench import PLAIN_OPTIONS, Bench
from benchmarks.curves.points import Splits
from sharcs_edge.config import SharcsConfig
from sharcs_edge.errors import TrainingError
from sharcs_edge.model.conversion import load_pretrained
from sharcs_edge.model.encoder import SharcsForSequenceClassification, SharcsOutput
from sharcs_edge.train.dataset import Collator, EncodedSplit
from sharcs_edge.train.importance import order_by_importance
from sharcs_edge.train.metrics import SplitOutputs
from sharcs_edge.train.options import Importance, TrainOptions
from sharcs_edge.train.precision import DTYPES, MixedPrecisionEncoder
from sharcs_edge.train.sampler import length_grouped_batches
from sharcs_edge.train.scaling import label_scale, standardised
from sharcs_edge_runtime.artifact import staged_folder

Logits = NDArray[np.float32]
Counts = NDArray[np.int64]
_WEIGHTS = "model.safetensors"


class Answerer(nn.Module, ABC):
    """An encoder that gives one or more answers to each input, the most expensive one last."""

    def __init__(self, nested: SharcsForSequenceClassification) -> None:
        super().__init__()
        self.nested = nested

    @abstractmethod
    def answer(self, encoder: Callable[..., SharcsOutput], inputs: dict[str, Tensor]) -> Tensor:
        """Logits (answers, batch, outputs); ``encoder`` computes what ``nested`` does, maybe in mixed precision."""

    @abstractmethod
    def macs(self, lengths: Counts) -> Counts:
        """(samples, answers): what each answer costs in addition to those before it."""


def trained(
    bench: Bench,
    name: str,
    plan: SharcsConfig,
    build: Callable[[SharcsForSequenceClassification], Answerer],
    importance: Importance = "none",
) -> Splits:
    """The answers of what ``build`` makes of the encoder, trained now or before; ``importance``: as in TrainOptions."""
    options = replace(bench.common, importance=importance)
    folder = bench.folder(name, plan, options, PLAIN_OPTIONS)

    def answers() -> Splits:
        set_seed(bench.seed)
        learner = build(load_pretrained(bench.source, list(bench.data.label_names), plan))
        learner.to(bench.device)
        if not folder.exists():
            bench.timed(name, lambda: _train(bench, learner, options))
            with staged_folder(folder) as staging:
                save_model(learner, str(staging / _WEIGHTS))
        load_model(learner, folder / _WEIGHTS, device=str(bench.device))
        return {split: _outputs(bench, learner, split) for split in bench.splits}

    return bench.kept(folder, answers)


def _train(bench: Bench, learner: Answerer, options: TrainOptions) -> None:
    train, dev = bench.encoded("train"), bench.encoded("dev")
    if bench.data.task == "regression":
        scale = label_scale(train.labels)
        train, dev = standardised(train, scale), standardised(dev, scale)
    if options.importance != "none":
        order_by_importance(learner.nested, train, options)
    fit(learner, train, dev, options)


def _outputs(bench: Bench, learner: Answerer, split: str) -> SplitOutputs:
    data = bench.encoded(split)
    logits = predict(learner, data)
    if bench.data.task == "regression":
        scale = label_scale(bench.encoded("train").labels)
        logits = (logits * scale.std + scale.mean).astype(np.float32)
    nobody = np.zeros((len(data), len(logits)), dtype=np.float32)  # no router
    nothing = np.zeros(len(data), dtype=np.int64)
    return SplitOutputs(logits, nobody, data.labels, nothing, learner.macs(data.lengths), bench.task)


def fit(learner: Answerer, train: EncodedSplit, dev: EncodedSplit, options: TrainOptions) -> None:
    """Trains all answers at once, the loss of the n-th with the weight n (Zhou et al. 2020, arXiv 2006.04152), and
    leaves the weights of the epoch with the best mean score on dev.

    Raises:
        TrainingError: training diverged.
    """
    set_seed(options.seed)
    model = learner.nested
    encoder = MixedPrecisionEncoder(model, DTYPES[options.precision]) if options.precision in DTYPES else model
    optimizer = _optimizer(learner, options)
    best, kept = -math.inf, deepcopy(learner.state_dict())
    for epoch in range(options.epochs):
        rng = np.random.default_rng((options.seed, epoch))
        batches = length_grouped_batches(np.arange(len(train)), train.lengths, options.batch_size, rng)
        steps = [[(int(sample), 0) for sample in batch] for batch in batches]
        learner.train()
        for step, collated in enumerate(DataLoader(train, batch_sampler=steps, collate_fn=Collator(train.inputs))):
            (part,) = collated["parts"]
            inputs = {name: tensor.to(model.device) for name, tensor in part["inputs"].items()}
            labels = part["labels"].to(model.device)
            losses = torch.stack([train.task.loss(logits, labels) for logits in learner.answer(encoder, inputs)])
            weights = torch.arange(1.0, len(losses) + 1, device=losses.device)
            ((losses * weights).sum() / weights.sum()).backward()
            nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
            for group in optimizer.param_groups:
                group["lr"] = options.learning_rate * _rate(epoch + step / len(steps), len(steps), options)
            optimizer.step()
            optimizer.zero_grad()
        logits = predict(learner, dev)
        if not np.isfinite(logits).all():
            raise TrainingError(f"training diverged; give a --learning-rate below {options.learning_rate:g}")
        score = float(np.mean([dev.task.score(answer, dev.labels) for answer in dev.task.decide(logits)]))
        if score > best:
            best, kept = score, deepcopy(learner.state_dict())
    learner.load_state_dict(kept)


def _optimizer(learner: nn.Module, options: TrainOptions) -> torch.optim.Optimizer:
    """Biases and LayerNorms do not decay."""
    matrices = [parameter for parameter in learner.parameters() if parameter.dim() > 1]
    vectors = [parameter for parameter in learner.parameters() if parameter.dim() <= 1]
    groups = [
        {"params": matrices, "weight_decay": options.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=options.learning_rate, fused=True)


def _rate(epochs_done: float, steps: int, options: TrainOptions) -> float:
    """As `sharcs_edge.train.trainer`: linear warm-up and decay, the first step at half a step's worth."""
    done = epochs_done / options.epochs
    rising = done / options.warmup if options.warmup > 0 else 1.0
    return max(min(rising, (1.0 - done) / max(1e-9, 1.0 - options.warmup)), 0.5 / (steps * options.epochs))


@torch.no_grad()
def predict(learner: Answerer, data: EncodedSplit, batch_size: int = 64) -> Logits:
    """Logits (answers, samples, outputs) in float32; samples of similar length share a batch."""
    learner.eval()
    order = np.argsort(data.lengths, kind="stable")
    batches = []
    for start in range(0, len(order), batch_size):
        inputs = data.inputs([data[(int(row), 0)] for row in order[start : start + batch_size]])
        inputs = {name: tensor.to(learner.nested.device) for name, tensor in inputs.items()}
        batches.append(learner.answer(learner.nested, inputs).float().cpu().numpy())
    logits = np.concatenate(batches, axis=1)
    return np.asarray(logits[:, np.argsort(order)], dtype=np.float32)
