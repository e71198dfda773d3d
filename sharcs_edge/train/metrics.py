"""Scores per width and routed, from the logits of every width on one split; and the router's offsets.

Shapes: ``logits`` (widths, samples, outputs), ``router_logits`` (samples, widths), ``tail_macs`` (samples, widths)
and ``trunk_macs`` (samples,): multiply-accumulates; ``labels`` as `sharcs_edge.train.tasks` says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from math import ceil
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sharcs_edge.model.encoder import SharcsForSequenceClassification
from sharcs_edge.model.macs import count_tail, trunk_macs
from sharcs_edge.routing.search import halfway
from sharcs_edge.train.dataset import EncodedSplit
from sharcs_edge.train.tasks import Classification, Task

FloatArray = NDArray[np.float32]
_OFFSET_CANDIDATES = 20_000


@dataclass(frozen=True)
class SplitOutputs:
    """What a model answers at every width on every sample of a split."""

    logits: FloatArray
    router_logits: FloatArray
    labels: NDArray[Any]
    trunk_macs: NDArray[np.int64]
    tail_macs: NDArray[np.int64]
    task: Task = field(default_factory=Classification)

    @property
    def macs(self) -> NDArray[np.int64]:
        """(samples, widths): of the trunk and one tail."""
        return self.trunk_macs[:, None] + self.tail_macs

    @cached_property
    def answers(self) -> NDArray[Any]:
        """(widths, samples, ...): what the logits stand for."""
        return self.task.decide(self.logits)

    @cached_property
    def quality(self) -> NDArray[np.floating[Any]]:
        """(widths, samples) in [0, 1]: how good each answer is by itself."""
        return self.task.quality(self.logits, self.labels)

    def score(self, routes: NDArray[np.int64]) -> float:
        """The task's headline metric when each sample is answered by the width of its route."""
        return self.task.score(self.answers[routes, np.arange(len(routes))], self.labels)

    def routes(self, offsets: FloatArray | None = None) -> NDArray[np.int64]:
        """(samples,) index of the width with the highest logit, plus offsets (widths,); ties go to the narrower."""
        scores = self.router_logits if offsets is None else self.router_logits + offsets
        return np.asarray(scores.argmax(axis=1))

    def summary(self, routes: NDArray[np.int64]) -> dict[str, Any]:
        """Scores per width and routed, shares and mean MACs.

        ``metric`` names the headline. Each metric of the task, ``accuracy`` say, has the keys ``accuracy`` (a list, one
        per width), ``routed_accuracy`` and ``random_accuracy``: the routed shares given out at random.
        """
        rows = np.arange(len(self.labels))
        shares = np.bincount(routes, minlength=len(self.logits)) / len(rows)
        static = [self.task.scores(answers, self.labels) for answers in self.answers]
        routed = self.task.scores(self.answers[routes, rows], self.labels)
        random = self.task.random_scores(self.answers, self.labels, routes)
        scores: dict[str, Any] = {}
        for name in self.task.metrics:
            scores[name] = [width[name] for width in static]
            scores[f"routed_{name}"], scores[f"random_{name}"] = routed[name], random[name]
        return {
            "metric": self.task.metric,
            **scores,
            "shares": shares.tolist(),
            "mean_macs": self.macs.mean(axis=0).tolist(),
            "routed_macs": float(self.macs[rows, routes].mean()),
        }


@torch.no_grad()
def run_all_widths(model: SharcsForSequenceClassification, data: EncodedSplit, batch_size: int = 64) -> SplitOutputs:
    """Evaluates every width on one trunk output; samples of similar length share a batch."""
    was_training = model.training
    model.train(False)
    lengths = data.lengths
    order = np.argsort(lengths, kind="stable")
    widths = [width.width for width in model.slices]
    logits = np.empty((len(widths), len(data), model.config.label_count), dtype=np.float32)
    router_logits = np.empty((len(data), len(widths)), dtype=np.float32)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        inputs = data.inputs([data[(int(row), 0)] for row in rows])
        output = model(**{name: tensor.to(model.device) for name, tensor in inputs.items()}, width=widths)
        router_logits[rows] = output.router_logits.float().cpu().numpy()
        for index, tail in enumerate(output.tails):
            logits[index, rows] = tail.logits.float().cpu().numpy()
    model.train(was_training)
    trunk = trunk_macs(model.config)
    tails = {n: [count_tail(model.config, width, n) for width in model.slices] for n in set(lengths.tolist())}
    return SplitOutputs(
        logits,
        router_logits,
        data.labels,
        trunk_macs=np.array([trunk.count(n) for n in lengths.tolist()], dtype=np.int64),
        tail_macs=np.array([tails[n] for n in lengths.tolist()], dtype=np.int64),
        task=data.task,
    )


def choose_offsets(outputs: SplitOutputs, max_drop: float) -> FloatArray:
    """Offsets (widths,) on the router logits that route as cheaply as possible while the headline score of these
    samples as a whole (accuracy, micro F1, rank correlation) stays within ``max_drop`` of the full width's; the full
    width's offset is 0.

    Tried are all combinations of offsets halfway between neighbouring samples (never on one: rounding would flip
    its route), thinned to some 20,000. If none holds the limit, everything is routed to the full width.
    """
    narrow = outputs.router_logits.shape[1] - 1
    if narrow == 0:
        return np.zeros(1, dtype=np.float32)
    rows = np.arange(len(outputs.labels))
    required = outputs.score(np.full(len(rows), narrow)) - max_drop - 1e-9
    # Offset o puts width w before the full one for exactly the samples whose margin is below o.
    margins = outputs.router_logits[:, -1:] - outputs.router_logits[:, :-1]
    points = min(101, int(_OFFSET_CANDIDATES ** (1.0 / narrow)))
    grids = [halfway(column, points) for column in margins.T]
    best, best_cost = np.array([*[grid[0] for grid in grids], 0.0], dtype=np.float32), np.inf
    for combination in product(*grids):
        offsets = np.array([*combination, 0.0], dtype=np.float32)
        routes = outputs.routes(offsets)
        cost = float(outputs.macs[rows, routes].mean())
        if cost < best_cost and outputs.score(routes) >= required:
            best, best_cost = offsets, cost
    return best


def planned_steps(samples: int, batch_size: int) -> int:
    return ceil(samples / batch_size)
