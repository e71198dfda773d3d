"""Early exit: a classifier behind every layer of the same encoder, and two rules that say when to stop.

Patience after PABEE (Zhou et al. 2020, arXiv 2006.04152), confidence after BranchyNet, DeeBERT and BERxiT.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy, deepcopy
from dataclasses import replace
from functools import partial
from itertools import pairwise, product

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.curves.bench import PLAIN, Bench
from benchmarks.curves.loop import Answerer, Counts, trained
from benchmarks.curves.points import Point, Rows, Scale, Splits, routed
from sharcs_edge.model.configuration import SharcsEncoderConfig
from sharcs_edge.model.encoder import SharcsForSequenceClassification, SharcsOutput
from sharcs_edge.model.head import NarrowHead
from sharcs_edge.model.macs import count_tail
from sharcs_edge.routing.answers import Floats
from sharcs_edge.train.escalation import confidences
from sharcs_edge.train.metrics import SplitOutputs
from sharcs_edge_runtime.tasks import same_answers

_TOLERANCES = (0.02, 0.05, 0.1, 0.2, 0.5)  # for numbers, in standard deviations: how far two that agree may differ
_CANDIDATES = 4000  # combinations tried where every exit has a threshold of its own


class EarlyExits(Answerer):
    """``nested`` is a plain encoder, without a trunk.

    Every early head begins as its own, new one; with ``strengthened`` it is a head such as our narrow widths have.
    """

    def __init__(self, nested: SharcsForSequenceClassification, strengthened: bool = False) -> None:
        super().__init__(nested)
        config, self.strengthened = nested.config, strengthened
        self.heads = nn.ModuleList(
            NarrowHead(config, config.hidden_size) if strengthened else deepcopy(nested.head)
            for _ in range(config.num_layers - 1)
        )

    def answer(self, encoder: Callable[..., SharcsOutput], inputs: dict[str, Tensor]) -> Tensor:
        tail, mask = encoder(**inputs, width=1.0).tails[0], inputs["attention_mask"]
        # What goes into the first layer, once more: an encoder does not put it out.
        embedded = self.nested.embeddings(inputs["input_ids"], inputs.get("token_type_ids"))
        states = [self.nested.final_norms[0](state) for state in (embedded, *tail.hidden_states)]
        early = [head(x, before, mask) for head, (before, x) in zip(self.heads, pairwise(states), strict=True)]
        return torch.stack([*early, tail.logits])

    def macs(self, lengths: Counts) -> Counts:
        return exit_macs(self.nested.config, lengths, self.strengthened)


def exit_macs(config: SharcsEncoderConfig, lengths: Counts, strengthened: bool = False) -> Counts:
    """(samples, exits): what every exit costs in addition to those before it, the heads that were asked included.

    As published, all tokens pass an exit's layer before its head is asked, but in the last layer, where only the first
    token is read. With ``strengthened``, every exit's layer computes that token first and the others only if the input
    goes on, and the early heads read twice as much.
    """
    whole = copy(config)
    whole.head_pooling = "mean"  # every layer computes every token
    full = config.slices[-1]
    last_head = count_tail(whole, replace(full, layers=()), 1)
    early_head = config.hidden_size * (2 * config.hidden_size + config.label_count) if strengthened else last_head
    exits = range(len(full.layers))

    def until(exit_: int, tokens: int) -> int:
        part, is_last = replace(full, layers=full.layers[: exit_ + 1]), exit_ == exits[-1]
        layers = count_tail(config if strengthened or is_last else whole, part, tokens) - last_head
        return layers + exit_ * early_head + (last_head if is_last else early_head)

    table = {n: np.diff([until(exit_, n) for exit_ in exits], prepend=0) for n in set(lengths.tolist())}
    return np.array([table[n] for n in lengths.tolist()], dtype=np.int64)


def patience_exits(outputs: SplitOutputs, patience: int, tolerance: float = 0.0) -> Rows:
    """(samples,) the exit behind which ``patience`` answers in a row have agreed with the one before, else the last."""
    answers, task = outputs.answers, outputs.task.name
    exits = np.full(len(outputs.labels), len(answers) - 1)
    agreed = np.zeros(len(exits), dtype=np.int64)
    running = np.ones(len(exits), dtype=np.bool_)
    for index in range(1, len(answers)):
        agreed = np.where(same_answers(task, answers[index], answers[index - 1], tolerance), agreed + 1, 0)
        stops = running & (agreed >= patience)
        exits[stops] = index
        running &= ~stops
    return exits


def by_patience(outputs: Splits, scale: Scale) -> list[Point]:
    """Every patience; where answers are numbers, with every tolerance."""
    regression = outputs["dev"].task.name == "regression"
    unit = float(outputs["dev"].labels.std()) if regression else 0.0
    points = []
    for patience, tolerance in product(range(1, len(outputs["dev"].logits)), _TOLERANCES if regression else (0.0,)):
        setting = f"patience {patience}" + (f", tolerance {tolerance:g}" if regression else "")
        dev, test = (
            exited(outputs[split], patience_exits(outputs[split], patience, tolerance * unit))
            for split in ("dev", "test")
        )
        points.append(scale.point(setting, dev, test))
    return points


def confident_exits(confidence: Floats, thresholds: Sequence[float]) -> Rows:
    """(samples,) the first exit whose confidence reaches its threshold, else the last.

    ``confidence``: (exits, samples); ``thresholds``: one for every exit but the last.
    """
    sure = confidence[:-1] >= np.array(thresholds)[:, None]
    return np.where(sure.any(axis=0), sure.argmax(axis=0), len(sure))


def by_confidence(outputs: Splits, scale: Scale) -> list[Point]:
    """One threshold for all exits, as published."""
    confidence = {split: confidences(answers)[0] for split, answers in outputs.items()}
    early = confidence["dev"][:-1]
    levels = (0.0, *np.unique(np.quantile(early, np.linspace(0.0, 1.0, 120))).tolist(), 1.5)
    return [_at_thresholds(outputs, confidence, (level,) * len(early), scale) for level in levels]


def by_own_thresholds(outputs: Splits, scale: Scale, budgets: Sequence[float]) -> list[Point]:
    """One threshold for each exit, chosen on dev among quantiles of its own confidence, for every budget."""
    confidence = {split: confidences(answers)[0] for split, answers in outputs.items()}
    early = confidence["dev"][:-1]
    points = max(2, int(_CANDIDATES ** (1 / len(early))))
    grids = [(0.0, *row, 1.5) for row in np.quantile(early, np.linspace(0.1, 0.95, points - 2), axis=1).T.tolist()]
    found = []
    for thresholds in product(*grids):
        score, macs = exited(outputs["dev"], confident_exits(confidence["dev"], thresholds))
        found.append((score, -macs / scale.dev, thresholds))
    best = {max((one for one in found if -one[1] <= budget), default=None) for budget in budgets}
    return [_at_thresholds(outputs, confidence, one[2], scale) for one in best if one is not None]


def _at_thresholds(outputs: Splits, confidence: Mapping[str, Floats], levels: Sequence[float], scale: Scale) -> Point:
    dev, test = (exited(outputs[split], confident_exits(confidence[split], levels)) for split in ("dev", "test"))
    return scale.point("confidence " + " ".join(f"{level:.4g}" for level in dict.fromkeys(levels)), dev, test)


def exited(outputs: SplitOutputs, exits: Rows) -> tuple[float, float]:
    """Score and mean cost: an input pays for all layers and heads up to its exit."""
    return routed(outputs, exits, outputs.tail_macs.cumsum(axis=1)[np.arange(len(exits)), exits])


def early_exits(bench: Bench, strengthened: bool = False) -> Splits:
    """The answers behind every layer."""
    name = "early-exits-strengthened" if strengthened else "early-exits"
    return trained(bench, name, PLAIN, partial(EarlyExits, strengthened=strengthened))
