"""What does the decision cost: routing, policy and bookkeeping of one prediction, beside its graphs and its tokenizer?

Every prediction is timed, and within it each run of ONNX Runtime and the tokenization. The rest is the decision (the
budget's allowance, the route, confidence and escalation, reading the answer, the controller and the prediction itself)
and what it takes to watch: the wrappers that hold the clocks are Python too, and as cold as the rest after a graph. The
row "no decision" says how much that is: the same texts through the same tokenizer, trunk and tails, watched alike, with
nothing in between. The decision is the difference of the medians. Budgets and "no decision" take turns, a pass over all
texts each, so that all meet the same machine.

"cold" is the decision as it happens, after graphs that have filled the processor's caches with weights; "warm" is the
same code with the graphs' outputs remembered instead of computed. What other programs take of the machine is in both.

    python benchmarks/overhead.py --artifact artifact/ --texts 500

The artifact is copied, and gets an operating point that hands about every second text on. Without arguments: a small
artifact, made from the demo data.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharcs_edge.assets import DEMO
from sharcs_edge.data import Columns, Split, read_examples
from sharcs_edge_runtime.artifact import Artifact, file_sha256
from sharcs_edge_runtime.budget import Budget, Rule
from sharcs_edge_runtime.manifest import MANIFEST_NAME
from sharcs_edge_runtime.onnx_backend import OnnxGraph
from sharcs_edge_runtime.operating_points import CERTAIN_BIAS, Method, OperatingPoint, OperatingPoints
from sharcs_edge_runtime.session import Session
from sharcs_edge_runtime.tokenization import Text, TextEncoder

BUDGETS: Mapping[str, Budget] = {
    "none": Budget(),
    "mean": Budget(mean_ms=1e-3),  # nothing keeps it, so that the cheapest point runs throughout
    "deadline": Budget(deadline_ms=1e6),
    "mean, deadline, memory, rules": Budget(
        mean_ms=1e-3,
        deadline_ms=1e6,
        memory_mb=1e6,
        when=(Rule(throttled=True, max_width=0.5), Rule(battery_below=0.2, mean_ms=1e-4)),
    ),
}
NO_DECISION = "no decision"


@dataclass(frozen=True)
class Row:
    """Of one budget, or of `NO_DECISION`: tails per text, milliseconds of a prediction, and microseconds of what is
    neither graph nor tokenizer; of them `cold_decision` and `warm_decision`, without what it takes to watch."""

    budget: str
    tails: float
    prediction_ms: float
    cold_p50: float
    cold_p95: float
    warm_p50: float
    warm_p95: float
    cold_decision: float
    warm_decision: float


class Apart:
    """Seconds spent in graphs and tokenizer since `seconds` was set to 0; `remember`: graphs answer from memory."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.remember = False
        self._known: dict[tuple[str, bytes], Sequence[NDArray[np.float32]]] = {}
        self._run = OnnxGraph.run

    @contextmanager
    def watching(self) -> Iterator[None]:
        """While it lasts, all sessions of this process are watched."""
        originals = [(OnnxGraph, "run"), (TextEncoder, "encode"), (TextEncoder, "batch")]
        before = [getattr(owner, name) for owner, name in originals]
        # A function of the class gets the graph as its first argument; a bound method would not.
        watched = [lambda graph, feeds: self._outputs(graph, feeds), *before[1:]]
        for (owner, name), function in zip(originals, watched, strict=True):
            setattr(owner, name, self._timed(function))
        try:
            yield
        finally:
            for (owner, name), function in zip(originals, before, strict=True):
                setattr(owner, name, function)

    def _timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            start = perf_counter()
            result = function(*arguments)
            self.seconds += perf_counter() - start
            return result

        return timed

    def _outputs(self, graph: OnnxGraph, feeds: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[np.float32]]:
        if not self.remember:
            return self._run(graph, feeds)
        key = graph.name, next(iter(feeds.values())).tobytes()
        if key not in self._known:
            self._known[key] = self._run(graph, feeds)
        return self._known[key]


def calibrated_copy(source: Path, folder: Path, texts: Sequence[Text]) -> Path:
    """The artifact in `folder`, with a point that starts narrow and hands on where it is less sure than the median."""
    target = folder / "artifact"
    shutil.copytree(source, target)
    plain = Session.load(target, calibrated=False, budget=Budget(width=Artifact.open(source).manifest.widths[0]))
    sure = [answer.confidence for answer in map(plain.predict, texts) if answer.confidence is not None]
    widths = len(plain.widths)
    threshold = float(np.median(sure)) if sure else 0.5  # a value is never sure by itself
    full = (0.0,) * (widths - 1) + (CERTAIN_BIAS,)
    OperatingPoints(
        schema_version=1,
        manifest_sha256=file_sha256(target / MANIFEST_NAME),
        created="by benchmarks/overhead.py",
        tools={},
        against="full",
        samples=len(texts),
        tested=0,
        metric="none",
        max_drop=1.0,
        confidence=0.5,
        method=Method("none", "none"),
        value_scale=1.0 if plain.manifest.task == "regression" else None,
        points=(_point(full[::-1], (threshold,) * (widths - 1), 1.0), _point(full, (0.0,) * (widths - 1), 2.0)),
    ).write(plain.artifact)
    return target


def _point(bias: tuple[float, ...], thresholds: tuple[float, ...], macs: float) -> OperatingPoint:
    shares = (0.0,) * (len(bias) - 1) + (1.0,)
    return OperatingPoint(bias, thresholds, shares, shares, macs, None, None, 0.0, 0.0, 0.0, True)


def measure(artifact: Path, texts: Sequence[Text], rounds: int) -> list[Row]:
    """Every budget on every text, `rounds` times, after one round that does not count; `NO_DECISION` comes last."""
    session = Session.load(artifact)
    apart = Apart()
    ways = way_of_each(session, texts)
    rest: dict[tuple[str, bool], list[float]] = {(name, cold): [] for name in ways for cold in (True, False)}
    milliseconds: dict[str, list[float]] = {name: [] for name in ways}
    tails: dict[str, list[int]] = {name: [] for name in ways}
    gc.disable()
    with apart.watching():
        for cold in (True, False):
            apart.remember = not cold
            for turn in range(rounds + 1):
                for name, way in ways.items():
                    for text in texts:
                        apart.seconds, start = 0.0, perf_counter()
                        ran = way(text)
                        seconds = perf_counter() - start
                        if turn:
                            rest[name, cold].append((seconds - apart.seconds) * 1e6)
                            tails[name].append(len(ran))
                            milliseconds[name] += [seconds * 1e3] * cold
    gc.enable()
    rows = []
    for name in ways:
        cold_p50, cold_p95, warm_p50, warm_p95 = (
            float(value) for cold in (True, False) for value in np.percentile(rest[name, cold], (50, 95))
        )
        decision = [float(np.median(rest[name, cold]) - np.median(rest[NO_DECISION, cold])) for cold in (True, False)]
        middle = float(np.median(milliseconds[name]))
        rows.append(Row(name, fmean(tails[name]), middle, cold_p50, cold_p95, warm_p50, warm_p95, *decision))
    return rows


def way_of_each(session: Session, texts: Sequence[Text]) -> dict[str, Callable[[Text], Sequence[float]]]:
    """What is timed: a text in, the widths that ran out. Under each budget, and as `NO_DECISION`, whose tails are those
    that run without a budget."""
    graphs = {width: session._tails.get(index) for index, width in enumerate(session.widths)}
    routes = {text: session.predict(text).ran for text in texts}
    trunk, encoder = session._trunk, session.encoder

    def no_decision(text: Text) -> Sequence[float]:
        tokens = encoder.batch((encoder.encode(text),))
        feeds = {"input_ids": tokens.input_ids, "attention_mask": tokens.attention_mask}
        if tokens.token_type_ids is not None:
            feeds["token_type_ids"] = tokens.token_type_ids
        hidden, _ = trunk.run(feeds)
        ran = routes[text]
        for width in ran:
            graphs[width].run({"hidden": hidden, "attention_mask": tokens.attention_mask})
        return ran

    def under(budget: Budget) -> Callable[[Text], Sequence[float]]:
        return lambda text: session.predict(text, budget=budget).ran

    return {**{name: under(budget) for name, budget in BUDGETS.items()}, NO_DECISION: no_decision}


def as_markdown(rows: Sequence[Row]) -> str:
    lines = [
        "| budget | tails a text | prediction, ms | beside graphs and tokenizer, µs: cold p50 | cold p95 | warm p50 "
        "| warm p95 | of it the decision: cold | warm |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row.budget} | {row.tails:.2f} | {row.prediction_ms:.2f} | {row.cold_p50:.0f} | {row.cold_p95:.0f} "
        f"| {row.warm_p50:.0f} | {row.warm_p95:.0f} | {row.cold_decision:.0f} | {row.warm_decision:.0f} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artifact", type=Path)
    parser.add_argument("--data", default=DEMO, help="text with labels: a file, or `demo`")
    parser.add_argument("--texts", type=int, default=200, help="how many, drawn evenly from the data")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path("build/bench/demo"), help="keeps the small artifact")
    parser.add_argument("--output", type=Path, metavar="PREFIX", help="writes PREFIX.md and PREFIX.json")
    args = parser.parse_args()
    if args.artifact is None:
        from benchmarks.demo.artifact import demo_artifact

        args.artifact = demo_artifact(args.work)
    manifest = Artifact.open(args.artifact).manifest
    split = Split.of(read_examples(args.data, Columns(), label_names=manifest.labels, task=manifest.task))
    every = [example.inputs for example in split]
    texts = [every[place * len(every) // args.texts] for place in range(min(args.texts, len(every)))]
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(calibrated_copy(args.artifact, Path(folder), texts), texts, args.rounds)
    load = os.getloadavg()[0]
    note = f"{len(texts)} texts, {args.rounds} rounds, 1 thread; {os.cpu_count()} cores, load {load:.1f}"
    text = f"{as_markdown(rows)}\n\n{note}\n"
    print(text)
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.with_name(f"{args.output.name}.md").write_text(text, encoding="utf-8")
        record = {"rows": [asdict(row) for row in rows], "load": load}
        args.output.with_name(f"{args.output.name}.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
