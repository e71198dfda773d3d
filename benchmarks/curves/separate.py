"""Narrow widths trained on their own: the same network, but nothing shared, no router and no teacher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from torch import Tensor

from benchmarks.curves.bench import Bench
from benchmarks.curves.loop import Answerer, Counts, trained
from benchmarks.curves.points import Splits
from sharcs_edge.model.encoder import SharcsForSequenceClassification, SharcsOutput
from sharcs_edge.model.macs import count_tail, router_macs, trunk_macs
from sharcs_edge.train.metrics import SplitOutputs


class OneWidth(Answerer):
    """The trunk and the tail of one width; the router is there, but neither trained nor run."""

    def __init__(self, nested: SharcsForSequenceClassification, width: float) -> None:
        super().__init__(nested)
        self.width = width

    def answer(self, encoder: Callable[..., SharcsOutput], inputs: dict[str, Tensor]) -> Tensor:
        return encoder(**inputs, width=self.width).logits[None]

    def macs(self, lengths: Counts) -> Counts:
        config, tail = self.nested.config, self.nested.width_slice(self.width)
        trunk, router = trunk_macs(config), router_macs(config)
        counts = {n: trunk.count(n) - router + count_tail(config, tail, n) for n in set(lengths.tolist())}
        return np.array([[counts[n]] for n in lengths.tolist()], dtype=np.int64)


def narrow_models(bench: Bench) -> list[Splits]:
    """Of each narrow width of our plan, ascending."""
    plan = replace(bench.plan, own_layers=0.0, router_hidden_size=1)
    return [
        trained(
            bench,
            f"width-{width:g}-alone",
            replace(plan, widths=(width, 1.0)),
            partial(OneWidth, width=width),
            importance=bench.ours.importance,
        )
        for width in plan.widths[:-1]
    ]


def stacked(models: Sequence[Splits]) -> dict[str, SplitOutputs]:
    """Several models as if they were the widths of one that share nothing: each pays for itself from the embeddings.

    A cascade through them is then what escalation is without a router.
    """
    return {split: _stack([model[split] for model in models]) for split in models[0]}


def _stack(outputs: Sequence[SplitOutputs]) -> SplitOutputs:
    first = outputs[0]
    costs = [one.macs[:, -1:] for one in outputs]
    return replace(
        first,
        logits=np.concatenate([one.logits[-1:] for one in outputs]),
        router_logits=np.zeros((len(first.labels), len(outputs)), dtype=np.float32),
        trunk_macs=np.zeros_like(first.trunk_macs),
        tail_macs=np.concatenate(costs, axis=1),
    )
