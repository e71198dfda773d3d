"""The C runtime's own share of a prediction, its start, its growth and its size, as a Markdown table.

Overhead: what a prediction takes beside its calls of ONNX Runtime and its tokens, by `sharcs-edge-bench`. Tokens: the
artifact's golden texts one behind the other, in C and in Python's `tokenizers`. Start: processes from their start to
their first answer, C's and Python's in turn, wall time. Growth: bytes in use after so many predictions, by the test
`test_growth`. Size: the shared library, stripped.

    python benchmarks/embedded.py --artifact artifact/ --build build/c --predictions 1000000

Without an artifact: a small one, made from the demo data. The runtime is built where the folder does not hold it yet.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter

from tokenizers import Tokenizer

from benchmarks.demo.artifact import demo_artifact
from sharcs_edge_runtime.artifact import Artifact
from sharcs_edge_runtime.golden import Golden

PYTHON_START = """
import sys
from sharcs_edge_runtime import Session
Session.load(sys.argv[1]).predict(sys.argv[2] if len(sys.argv) == 3 else (sys.argv[2], sys.argv[3]))
"""


def rows(artifact: Path, build: Path, rounds: int, starts: int, predictions: int) -> Iterator[tuple[str, str]]:
    """What was measured, and the figures."""
    library = onnxruntime_library()
    bench = json.loads(run([build / "sharcs-edge-bench", artifact, "--rounds", str(rounds), "--onnxruntime", library]))
    for row in bench["stages"]:
        if row["stage"] == "overhead":
            way = row["width"] if row["width"] == "routed" else f"width {row['width']:.3g}"
            ms = row["ms"]
            yield f"overhead of a prediction, {way}, p50 / p90", f"{ms['p50'] * 1000:.1f} / {ms['p90'] * 1000:.1f} us"
    ours = next(row["ms"]["p50"] for row in bench["stages"] if row["stage"] == "tokenise_alone")
    theirs = tokenizers_ms(artifact, rounds)
    yield (
        "tokens of a text, C / `tokenizers`",
        f"{ours * 1000:.1f} / {theirs * 1000:.1f} us ({theirs / ours:.1f} times)",
    )
    c, python = start_ms(artifact, build, library, starts)
    yield "start to the first answer, C / Python", f"{c:.0f} / {python:.0f} ms (a share of {c / python:.2f})"
    # glibc counts what a thread keeps of freed memory as in use. `run` turns off ONNX Runtime's telemetry, whose thread
    # takes some 15 kB for itself.
    exact = "glibc.malloc.tcache_count=0"
    said = run([build / "tests" / "test_growth"], SHARCS_PREDICTIONS=str(predictions), GLIBC_TUNABLES=exact)
    found = re.search(r"(\d+) predictions: (\d+) bytes in use before, (\d+) after", said)
    if found is None:
        raise SystemExit(f"{build / 'tests' / 'test_growth'} did not say how many bytes are in use: {said}")
    count, before, after = map(int, found.groups())
    yield f"growth over {count:,} predictions", f"{after - before:+,} bytes"
    yield "shared library, stripped", f"{stripped_bytes(build) / (1 << 20):.2f} MB"


def built(folder: Path) -> Path:
    """The build folder of runtime/c, built if it is not there."""
    if not (folder / "sharcs-edge-bench").exists():
        print(f"building runtime/c in {folder}", file=sys.stderr)
        run(["cmake", "-S", Path(__file__).parents[1] / "runtime" / "c", "-B", folder])
        run(["cmake", "--build", folder, "--parallel"])
    return folder


def onnxruntime_library() -> Path:
    """That of the Python package, for both sides alike."""
    spec = find_spec("onnxruntime")
    if spec is None or spec.origin is None:
        raise SystemExit("onnxruntime is not installed: pip install onnxruntime")
    return next((Path(spec.origin).parent / "capi").glob("libonnxruntime.so.*"))


def run(words: Sequence[str | Path], **environment: str) -> str:
    """Standard output of a program that succeeds; what fails ends the benchmark with its own words."""
    nothing_sent = {"ORT_DISABLE_TELEMETRY": "1"}
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, check=True, env={**os.environ, **nothing_sent, **environment}
        )
    except OSError as error:
        raise SystemExit(
            f"cannot run {words[0]} ({error.strerror}): install it, or name a build folder of runtime/c"
        ) from None
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"{words[0]} failed: {error.stderr or error.stdout}") from None
    return done.stdout


def golden_texts(artifact: Artifact) -> list[list[str]]:
    """The texts that the artifact carries: one or two per input."""
    texts: list[list[str]] = Golden.load(artifact.golden_file, artifact.manifest).texts.tolist()
    return texts


def tokenizers_ms(folder: Path, rounds: int) -> float:
    """Median time of one text in Python's `tokenizers`."""
    artifact = Artifact.open(folder, verify_hashes=False)
    tokenizer = Tokenizer.from_file(str(artifact.tokenizer_file))
    tokenizer.no_padding()
    tokenizer.enable_truncation(artifact.manifest.tokenizer.max_length, strategy="longest_first")
    texts, times = golden_texts(artifact), []
    for _ in range(rounds):
        for text in texts:
            start = perf_counter()
            tokenizer.encode(text[0], text[1] if len(text) == 2 else None)
            times.append((perf_counter() - start) * 1000)
    return median(times)


def start_ms(artifact: Path, build: Path, library: Path, starts: int) -> tuple[float, float]:
    """Median wall time of processes from start to end with one answer: C's and Python's, in turn."""
    parts = golden_texts(Artifact.open(artifact, verify_hashes=False))[0]
    c: list[str | Path] = [build / "sharcs-edge-run", artifact, "\t".join(parts), "--onnxruntime", library]
    python: list[str | Path] = [sys.executable, "-c", PYTHON_START, artifact, *parts]
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(starts + 1):
        for words, to in zip((c, python), times, strict=True):
            start = perf_counter()
            run(words)
            to.append((perf_counter() - start) * 1000)
    return median(times[0][1:]), median(times[1][1:])  # the first ones filled the file cache


def stripped_bytes(build: Path) -> int:
    """Size of the shared library without symbols."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "stripped.so"
        run(["strip", "-o", target, build / "libsharcs_edge.so"])
        return target.stat().st_size


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artifact", type=Path, help="an ONNX artifact")
    parser.add_argument("--build", type=Path, default=Path("build/c"), help="build folder of runtime/c")
    parser.add_argument("--rounds", type=int, default=20, help="of all golden texts")
    parser.add_argument("--starts", type=int, default=10, help="processes of either side")
    parser.add_argument("--predictions", type=int, default=1_000_000, help="over which memory may not grow")
    options = parser.parse_args(arguments)
    command = " ".join(["python", "benchmarks/embedded.py", *(sys.argv[1:] if arguments is None else arguments)])
    artifact = options.artifact or demo_artifact(Path("build/bench/demo"))
    found = rows(artifact, built(options.build), options.rounds, options.starts, options.predictions)
    print(f"`{command}`\n\n| | |\n|---|---|")
    for name, figures in found:
        print(f"| {name} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
