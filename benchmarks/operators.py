"""Where does the time of a graph go? Microseconds by kind of operator, from ONNX Runtime's profiler.

    python benchmarks/operators.py before/ after/ --tokens 16 64 128

A table per graph with a column per artifact and length: how many operators of a kind ran and the sum of their medians.
Artifacts take turns, so that all meet the same machine. The profiler's clock costs about 2 us per operator, which short
ones show; "unprofiled" is the shortest whole run without it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from sharcs_edge_runtime.artifact import Artifact
from sharcs_edge_runtime.manifest import Graph

Feeds = Mapping[str, NDArray[Any]]
_PROFILER_SUFFIX = "_kernel_time"


@dataclass(frozen=True)
class Times:
    """Of one graph at one length: microseconds and number of operators by kind, and of a whole run, unprofiled."""

    by_kind: Mapping[str, float]
    counts: Counter[str]
    run: float


def inputs(graph: Graph, tokens: int) -> Feeds:
    """One row of random tokens or hidden states, without padding."""
    rng = np.random.default_rng(tokens)
    sizes = {"batch": 1, "tokens": tokens}
    feeds: dict[str, NDArray[Any]] = {}
    for spec in graph.inputs:
        shape = tuple(sizes[size] if isinstance(size, str) else size for size in spec.shape)
        if spec.dtype == "float32":
            feeds[spec.name] = rng.normal(size=shape).astype(np.float32)
        elif spec.name == "input_ids":
            feeds[spec.name] = rng.integers(0, 100, size=shape)  # rows that any vocabulary has
        else:
            feeds[spec.name] = np.full(shape, int(spec.name == "attention_mask"), dtype=np.int64)
    return feeds


def open_session(file: Path, profile: Path | None = None) -> onnxruntime.InferenceSession:
    """One thread, as the runtime opens it; with ``profile``, the prefix of a file of measurements."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_mem_pattern = False
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def measure(files: Sequence[Path], feeds: Sequence[Feeds], runs: int) -> Iterator[Times]:
    """Times of the same graph of several artifacts, which take turns."""
    with tempfile.TemporaryDirectory() as folder:
        profiled = [open_session(file, Path(folder) / str(index)) for index, file in enumerate(files)]
        plain = [open_session(file) for file in files]
        whole: list[list[float]] = [[] for _ in files]
        for _ in range(runs):
            for index, (session, other) in enumerate(zip(plain, profiled, strict=True)):
                session.run(None, feeds[index])  # fills the caches with its own weights
                start = perf_counter()
                session.run(None, feeds[index])
                whole[index].append(1e6 * (perf_counter() - start))
                other.run(None, feeds[index])
        for session, seconds in zip(profiled, whole, strict=True):
            yield _read(Path(session.end_profiling()), min(seconds))


def _read(profile: Path, run: float) -> Times:
    durations: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in json.loads(profile.read_text(encoding="utf-8")):
        if event.get("cat") == "Node" and event["name"].endswith(_PROFILER_SUFFIX):
            durations[event["args"]["op_name"], event["name"]].append(event["dur"])
    by_kind: dict[str, float] = defaultdict(float)
    for (kind, _), values in durations.items():
        by_kind[kind] += median(values)
    return Times(by_kind, Counter(kind for kind, _ in durations), run)


def table(columns: Mapping[str, Times]) -> str:
    """Markdown; kinds in the order of their time in the first column."""
    first = next(iter(columns.values()))
    kinds = sorted(
        {kind for times in columns.values() for kind in times.by_kind}, key=lambda kind: -first.by_kind[kind]
    )
    lines = [f"| operator | {' | '.join(columns)} |", "|---|" + "---:|" * len(columns)]
    for kind in kinds:
        cells = [f"{times.counts[kind]} x, {times.by_kind.get(kind, 0.0):.0f}" for times in columns.values()]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    sums = [f"{times.counts.total()} x, {sum(times.by_kind.values()):.0f}" for times in columns.values()]
    lines.append(f"| all | {' | '.join(sums)} |")
    lines.append(f"| unprofiled | {' | '.join(f'{times.run:.0f}' for times in columns.values())} |")
    return "\n".join(lines)


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("artifacts", type=Path, nargs="+", help="artifacts of ONNX graphs, with the same widths")
    parser.add_argument("--tokens", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--runs", type=int, default=60)
    options = parser.parse_args()
    artifacts = [Artifact.open(folder) for folder in options.artifacts]
    for graph in artifacts[0].manifest.graphs:
        twins = [next(g for g in artifact.manifest.graphs if g.name == graph.name) for artifact in artifacts]
        files = [artifact.file(twin) for artifact, twin in zip(artifacts, twins, strict=True)]
        columns = {}
        for tokens in options.tokens:
            feeds = [inputs(twin, tokens) for twin in twins]
            for artifact, times in zip(artifacts, measure(files, feeds, options.runs), strict=True):
                columns[f"{artifact.path.name}, {tokens} tokens"] = times
        print(f"\n{graph.name}, microseconds\n\n{table(columns)}", flush=True)


if __name__ == "__main__":
    main()
