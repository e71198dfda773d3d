"""What can the trunk know? Probes that find the inputs on which the full width is better than the narrowest one.

A trained model is frozen; small networks learn from its hidden states, after each number of layers, which inputs are
hard. Four possible faults of the router are varied one by one: the features (how tokens are pooled), the labels (what
counts as hard, and whether it is learned from samples that the model was fitted to or from others), the capacity, and
where the router sits. Every figure is the area under the ROC curve on dev, for "the full width is better than the
narrowest"; 0.5 is chance. The yardstick is the doubt of the narrowest tail's own answer. Probes that learn from dev are
cross-validated: no sample is scored by a probe that saw it.

    python benchmarks/router_probe.py --data sst2/ --max-train-samples 20000 --epochs 2 --output sst2-router

Without arguments: a small run on the packaged demo data. The model is that of benchmarks/curve.py.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.utils import logging

from benchmarks.ablation import roc_area
from benchmarks.curves.bench import SMALL, Bench, add_arguments, settings_of, use_threads
from benchmarks.curves.tables import command, footer, table
from sharcs_edge.bundle import Bundle
from sharcs_edge.data.draws import draw_rows
from sharcs_edge.errors import SharcsEdgeError
from sharcs_edge.model.encoder import SharcsForSequenceClassification
from sharcs_edge.model.router import masked_mean
from sharcs_edge.model.tail import all_tokens, run_layers
from sharcs_edge.train.dataset import EncodedSplit
from sharcs_edge.train.escalation import confidences
from sharcs_edge.train.metrics import SplitOutputs, run_all_widths
from sharcs_edge_runtime.artifact import write_file_atomically

TRAIN_ROWS = 6000
FOLDS = 5
EPOCHS = 300
BATCH = 64

Floats = NDArray[np.float32]
Pooled = dict[str, list[Floats]]  # by kind of pooling: (samples, hidden) after 0, 1, ... layers


@dataclass(frozen=True)
class Probe:
    """What one probe is given.

    Attributes:
        depth: layers below it.
        pooling: of the tokens: "mean", "first", "max", or several joined by "+"; "length" is the number of tokens.
        target: of its training: "gap", what the narrowest width lacks of the full width's quality; "flip", whether the
            full width is right where it is wrong; "doubt", how unsure the narrowest tail's own answer is.
        layers: widths of its hidden layers; none is a linear probe.
        learns_from: "train", the samples that the model was fitted to, or "dev".
    """

    depth: int
    pooling: str = "mean"
    target: str = "flip"
    layers: tuple[int, ...] = (64,)
    learns_from: str = "dev"


@dataclass(frozen=True)
class Samples:
    """A split with what the frozen model makes of it."""

    pooled: Pooled
    outputs: SplitOutputs
    lengths: NDArray[np.int64]

    def features(self, probe: Probe) -> Floats:
        """(samples, features)."""
        length = np.log(self.lengths)[:, None].astype(np.float32)
        parts = [length if kind == "length" else self.pooled[kind][probe.depth] for kind in probe.pooling.split("+")]
        return np.concatenate(parts, axis=1)

    @property
    def hard(self) -> NDArray[np.bool_]:
        """(samples,) whether the full width is better than the narrowest."""
        return np.asarray(self.outputs.quality[-1] > self.outputs.quality[0])

    @property
    def doubt(self) -> NDArray[np.floating[Any]]:
        """(samples,) in [0, 1]: of the narrowest tail's answer."""
        return np.asarray(1 - confidences(self.outputs)[0][0])

    def targets(self, kind: str) -> Floats:
        """(samples,) in [0, 1]."""
        quality = self.outputs.quality
        found = {"gap": np.clip(quality[-1] - quality[0], 0, 1), "flip": self.hard, "doubt": self.doubt}[kind]
        return np.asarray(found, dtype=np.float32)


@torch.no_grad()
def pooled_states(model: SharcsForSequenceClassification, split: EncodedSplit) -> Pooled:
    """The full width's hidden states of every sample, pooled, after each layer but the last."""
    steps = [*model.trunk_steps(), *model.tail_steps(model.slices[-1])]
    order = np.argsort(split.lengths, kind="stable")
    pooled: dict[str, list[list[Tensor]]] = {}
    for start in range(0, len(order), BATCH):
        inputs = split.inputs([split[(int(row), 0)] for row in order[start : start + BATCH]])
        hidden = model.embeddings(inputs["input_ids"], inputs.get("token_type_ids"))
        mask = inputs.get("attention_mask", all_tokens(hidden))
        states = [hidden, *run_layers(steps, model.contexts, hidden, mask)[3]]
        absent = mask[:, :, None] == 0
        for depth, state in enumerate(states):
            kinds = {
                "mean": masked_mean(state, mask),
                "first": state[:, 0],
                "max": state.masked_fill(absent, -torch.inf).amax(dim=1),
            }
            for kind, values in kinds.items():
                pooled.setdefault(kind, [[] for _ in states])[depth].append(values)
    back = np.argsort(order)
    return {kind: [torch.cat(parts).numpy()[back] for parts in depths] for kind, depths in pooled.items()}


def fitted(features: Floats, targets: Floats, layers: Sequence[int], seed: int) -> Callable[[Floats], Floats]:
    """A probe, stopped where a fifth of its samples, which it does not learn from, are predicted best."""
    torch.manual_seed(seed)
    middle, spread = features.mean(0), features.std(0) + 1e-6
    x, y = torch.from_numpy((features - middle) / spread), torch.from_numpy(targets)
    order = torch.randperm(len(x))
    held, used = order[: len(x) // 5], order[len(x) // 5 :]
    sizes = [x.shape[1], *layers, 1]
    parts: list[nn.Module] = []
    for index, size in enumerate(sizes[:-1]):
        parts += [nn.Linear(size, sizes[index + 1]), nn.ReLU()]
    network = nn.Sequential(*parts[:-1])
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.1)
    best, kept = float("inf"), network.state_dict()
    for _ in range(EPOCHS):
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(network(x[used])[:, 0], y[used]).backward()
        optimizer.step()
        with torch.no_grad():
            loss = float(F.binary_cross_entropy_with_logits(network(x[held])[:, 0], y[held]))
        if loss < best:
            best, kept = loss, {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(kept)

    def predict(given: Floats) -> Floats:
        with torch.no_grad():
            scores: Floats = network(torch.from_numpy((given - middle) / spread))[:, 0].numpy()
        return scores

    return predict


def area(probe: Probe, train: Samples, dev: Samples, seed: int) -> float:
    """Of the probe on dev."""
    features = dev.features(probe)
    if probe.learns_from == "train":
        scores = fitted(train.features(probe), train.targets(probe.target), probe.layers, seed)(features)
    else:
        scores = np.empty(len(features), dtype=np.float32)
        fold = np.random.default_rng(seed).permutation(len(features)) % FOLDS
        targets = dev.targets(probe.target)
        for index in range(FOLDS):
            predict = fitted(features[fold != index], targets[fold != index], probe.layers, seed)
            # Folds have scales of their own: they are put on one by their ranks.
            scores[fold == index] = np.argsort(np.argsort(predict(features[fold == index]))) / (fold == index).sum()
    found = roc_area(scores, dev.hard)
    assert found is not None  # main refuses data without hard or without easy samples
    return found


def probes(trunk_layers: int, num_layers: int) -> list[tuple[str, Probe]]:
    """Every probe with the name of its row."""
    base = Probe(trunk_layers)
    rows = [(f"after {depth} layers", replace(base, depth=depth)) for depth in range(num_layers)]
    rows += [
        (f"pooling: {kind}", replace(base, pooling=kind)) for kind in ("first", "max", "mean+first+max", "mean+length")
    ]
    rows += [
        (f"capacity: {name}", replace(base, layers=layers))
        for name, layers in (("linear", ()), ("384", (384,)), ("384, 384", (384, 384)))
    ]
    rows += [(f"label: {kind}", replace(base, target=kind)) for kind in ("gap", "doubt")]
    rows += [
        (f"label: {kind}, of the training samples", replace(base, target=kind, learns_from="train"))
        for kind in ("flip", "gap", "doubt")
    ]
    return rows


def prepared(bench: Bench) -> tuple[Samples, Samples, int, int]:
    """Training samples and dev under the frozen model; its trunk layers and all its layers."""
    bench.nested("ours", bench.plan, bench.ours)
    model = Bundle.open(bench.folder("ours", bench.plan, bench.ours)).load_model()
    rows = draw_rows(min(TRAIN_ROWS, len(bench.data.train)), len(bench.data.train), bench.seed)
    bench.data = replace(bench.data, train=bench.data.train.take(rows))
    train, dev = (
        Samples(pooled_states(model, split), run_all_widths(model, split), split.lengths)
        for split in map(bench.encoded, ("train", "dev"))
    )
    return train, dev, model.config.trunk_layers, model.config.num_layers


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--output", type=Path, metavar="PREFIX", help="writes PREFIX.md")
    return parser


def main() -> None:
    args = parser().parse_args(sys.argv[1:] or list(SMALL))
    use_threads(args.threads)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        settings = settings_of(args)
        bench = Bench(settings, int(args.seeds), ("dev",))
        train, dev, trunk_layers, num_layers = prepared(bench)
    except SharcsEdgeError as error:
        sys.exit(str(error))
    if dev.hard.all() or not dev.hard.any():
        sys.exit("the full width is better than the narrowest on all or on none of the dev samples: nothing to rank")
    margin = dev.outputs.router_logits[:, -1] - dev.outputs.router_logits[:, 0]
    known = [("doubt of the narrowest tail", dev.doubt), ("the trained router", margin)]
    rows = [[name, f"{roc_area(scores, dev.hard):.3f}"] for name, scores in known]
    for name, probe in probes(trunk_layers, num_layers):
        rows.append([name, f"{area(probe, train, dev, bench.seed):.3f}"])
        print(f"{name}: {rows[-1][1]}", file=sys.stderr)
    title = (
        f"{settings.data_name}: the full width is better than the narrowest on {dev.hard.mean():.1%} of "
        f"{len(dev.hard)} dev samples, on {train.hard.mean():.1%} of {len(train.hard)} training samples. Probes differ "
        f"from this one: after {trunk_layers} layers, mean of the tokens, one hidden layer of 64, learns from dev "
        "whether the full width is better (flip)."
    )
    areas = table(["what ranks the samples", "ROC area"], rows)
    text = f"{title}\n\n{areas}\n\n{footer(command(parser(), args), settings)}"
    print(text)
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        write_file_atomically(args.output.with_name(f"{args.output.name}.md"), text.encode())


if __name__ == "__main__":
    main()
