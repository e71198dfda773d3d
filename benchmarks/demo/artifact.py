"""A small calibrated artifact, for benchmarks that are run without one."""

from __future__ import annotations

import sys
from pathlib import Path

from sharcs_edge.assets import DEMO, demo_data_folder
from sharcs_edge.cli import main

_TRAINING = ("--max-train-samples", "1000", "--epochs", "1", "--learning-rate", "1e-4", "--seed", "0")
_PROMISE = ("--max-drop", "0.05")


def demo_artifact(work: Path) -> Path:
    """Trained on a part of the packaged intents, exported in int8 and calibrated on their dev split; kept in `work`.

    Ends the process with the failing command's exit code.
    """
    bundle, artifact = demo_bundle(work), work / "artifact"
    if not artifact.exists():
        _call("export", bundle, "--target", "x86-64-vnni", "--output", artifact)
    if not (artifact / "latency.json").exists():
        _call("profile", artifact, "--save", "--min-seconds", "0.2")
    if not (artifact / "operating_points.json").exists():
        _call("calibrate", artifact, "--data", demo_data_folder() / "dev.jsonl.gz", *_PROMISE)
    return artifact


def demo_bundle(work: Path, name: str = "bundle", *options: str) -> Path:
    """The model behind it; or, with further options of `sharcs-edge train`, another one beside it."""
    bundle = work / name
    work.mkdir(parents=True, exist_ok=True)
    if not bundle.exists():
        _call("train", "--model", DEMO, "--data", DEMO, *_TRAINING, *options, "--output", bundle)
    return bundle


def _call(*arguments: object) -> None:
    """One command; what it prints goes to stderr, the table of the benchmark alone to stdout."""
    stdout, sys.stdout = sys.stdout, sys.stderr
    try:
        code = main([str(argument) for argument in arguments])
    finally:
        sys.stdout = stdout
    if code:
        sys.exit(code)
