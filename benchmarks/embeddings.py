"""What do smaller embeddings save, and what do they cost in quality?

One bundle, exported with word embeddings as float32, int8 and int4, with the whole vocabulary and with the one trimmed
to the training texts. Every width of each artifact then answers the dev and the test texts, through the runtime that
ships. "won" and "lost": answers at full width that are right where those of float32 with all tokens are wrong, and the
other way round. "same": answers at full width, and routes, that are those of float32 with all tokens.

    python benchmarks/embeddings.py --bundle bundle/ --data FOLDER --output sst2-embeddings

Without arguments: a small bundle, made from the demo data, to show that it works.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.curves.tables import command, table
from benchmarks.demo.artifact import demo_bundle
from sharcs_edge.assets import demo_data_folder
from sharcs_edge.calibrate.collect import collect
from sharcs_edge.cli.output import progress, talk
from sharcs_edge.data import Columns, Split, read_examples
from sharcs_edge.device import EmbeddingType
from sharcs_edge.export import ExportOptions, export_bundle
from sharcs_edge_runtime.artifact import Artifact
from sharcs_edge_runtime.session import Session
from sharcs_edge_runtime.tasks import METRICS, decide, encode_labels, same_answers

VARIANTS: tuple[tuple[EmbeddingType, bool], ...] = (
    ("float32", False),
    ("int8", False),
    ("int4", False),
    ("int8", True),
    ("int4", True),
)
"""Of each artifact: its embeddings, and whether its vocabulary is trimmed; the first one is what others are held
against."""

_ENGINES = {"onnx": "onnxruntime", "tflite": "ai-edge-litert"}


@dataclass(frozen=True)
class Answers:
    """Of one artifact on one split: ``answers`` (widths, texts, ...), ``routes`` (texts,) as indices of widths."""

    answers: NDArray[np.generic]
    routes: NDArray[np.int64]
    mean_tokens: float

    @property
    def routed(self) -> NDArray[np.generic]:
        """(texts, ...), of the width that the router chose."""
        return self.answers[self.routes, np.arange(len(self.routes))]


def variant_name(variant: tuple[EmbeddingType, bool]) -> str:
    """``int8`` or ``int8-trimmed``."""
    embeddings, trimmed = variant
    return f"{embeddings}-trimmed" if trimmed else embeddings


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, help="what `sharcs-edge train` wrote")
    parser.add_argument("--data", type=Path, help="folder with train, dev and test (.jsonl or .jsonl.gz)")
    parser.add_argument("--target", default="x86-64-vnni")
    parser.add_argument("--backend", choices=("onnx", "tflite"), default="onnx")
    parser.add_argument(
        "--variants",
        default=",".join(map(variant_name, VARIANTS)),
        help="which; the first is what others are held against",
    )
    parser.add_argument("--work", type=Path, default=Path("build/bench/embeddings"), help="keeps the artifacts")
    parser.add_argument("--output", type=Path, metavar="PREFIX", help="writes PREFIX.md")
    return parser


def make_artifact(args: argparse.Namespace, embeddings: EmbeddingType, trimmed: bool) -> Path:
    """The artifact of a variant, kept in the work folder."""
    folder: Path = args.work / args.bundle.name / args.backend / variant_name((embeddings, trimmed))
    if not folder.exists():
        texts = str(find(args.data, "train")) if trimmed else None
        options = ExportOptions(args.target, backend=args.backend, embeddings=embeddings, trim_vocab=texts)
        export_bundle(args.bundle, folder, options, progress=talk)
    return folder


def find(folder: Path, split: str) -> Path:
    files = [folder / f"{split}{ending}" for ending in (".jsonl", ".jsonl.gz")]
    return next((file for file in files if file.exists()), files[0])


def ask(artifact: Path, split: Split) -> Answers:
    """Every width's answers and the router's choice, text by text as `Session.predict` does it."""
    session = Session.load(artifact, calibrated=False)
    texts = [row.inputs for row in split]
    with progress(artifact.name) as advance:
        outputs = collect(session, texts, progress=advance)
    lengths = [len(session.encoder.encode(text)) for text in texts]
    return Answers(
        decide(session.manifest.task, outputs.logits), outputs.router_logits.argmax(axis=1), float(np.mean(lengths))
    )


def results_table(artifacts: Mapping[tuple[EmbeddingType, bool], Path], split: Split) -> str:
    """One row per artifact."""
    manifest = Artifact.open(next(iter(artifacts.values()))).manifest
    task, metric = manifest.task, METRICS[manifest.task][0]
    truth = encode_labels(task, split.labels, manifest.labels)
    rows = []
    base: Answers | None = None
    for (embeddings, trimmed), folder in artifacts.items():
        found = ask(folder, split)
        base = base or found
        right, was_right = (same_answers(task, one.answers[-1], truth, 0.0) for one in (found, base))
        same = same_answers(task, found.answers[-1], base.answers[-1], 0.0)
        rows.append(
            [
                embeddings,
                "trimmed" if trimmed else "all",
                f"{sum(file.bytes for file in Artifact.open(folder).manifest.all_files) / 1e6:.1f}",
                f"{found.mean_tokens:.1f}",
                *(f"{100 * metric.measure(answers, truth):.2f}" for answers in (*found.answers, found.routed)),
                f"{(right & ~was_right).sum()} / {(was_right & ~right).sum()}",
                *(f"{100 * np.mean(equal):.1f}" for equal in (same, found.routes == base.routes)),
            ]
        )
    widths = [f"w={width:.3g}" for width in manifest.widths]
    heads = ["embeddings", "tokens", "MB", "tokens a text", *widths, "routed", "won / lost", "same", "same route"]
    return table(heads, rows, texts=2)


def main() -> None:
    args = parser().parse_args()
    if args.bundle is None:
        args.bundle, args.data = demo_bundle(Path("build/bench/demo")), demo_data_folder()
    named = {variant_name(variant): variant for variant in VARIANTS}
    chosen = args.variants.split(",")
    if unknown := set(chosen) - named.keys():
        sys.exit(f"no variant is called {', '.join(sorted(unknown))}; expected some of {', '.join(named)}")
    artifacts = {named[name]: make_artifact(args, *named[name]) for name in chosen}
    manifest = Artifact.open(next(iter(artifacts.values()))).manifest
    parts = []
    for name in ("dev", "test"):
        examples = read_examples(find(args.data, name), Columns(), label_names=manifest.labels, task=manifest.task)
        split = Split.of(examples)
        parts.append(f"{name}, {len(split):,} texts, {METRICS[manifest.task][0].title} in %:")
        parts.append(results_table(artifacts, split))
    if args.bundle is not None:
        args.bundle = Path(args.bundle.name)  # its folder is no part of the command to show
    libraries = ", ".join(f"{name} {version(name)}" for name in ("sharcs-edge", _ENGINES[args.backend]))
    parts.append(f"Family {manifest.family}. {libraries}. {date.today().isoformat()}.\n\n`{command(parser(), args)}`")
    text = "\n\n".join(parts) + "\n"
    print(text)
    if args.output is not None:
        args.output.with_suffix(".md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
