"""What a command may import: an artifact needs no torch, and a missing library is named with its cure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import environment

HEAVY = (
    "torch",
    "transformers",
    "datasets",
    "onnx",
    "onnxscript",
    "accelerate",
    "pyarrow",
    "scipy",
    "PIL",
    "matplotlib",
)
_RUN = """
import sys
{before}
from sharcs_edge.cli import main
code = main({arguments!r})
print("loaded:", [name for name in {heavy!r} if sys.modules.get(name)], file=sys.stderr)
sys.exit(code)
"""


def run(arguments: list[str], before: str = "", stdin: bytes = b"") -> tuple[int, str]:
    script = _RUN.format(before=before, arguments=arguments, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", script], input=stdin, capture_output=True, env=environment())
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["train", "--help"],
        ["export", "--help"],
        ["devices", "list"],
        ["devices", "show", "rpi4"],
        ["run", "ARTIFACT", "a red car"],
        ["run", "ARTIFACT", "--input", "DATA"],
        ["verify", "ARTIFACT"],
        ["inspect", "ARTIFACT"],
        ["evaluate", "ARTIFACT", "--data", "DATA", "--limit", "3"],
        ["profile", "ARTIFACT", "--data", "DATA", "--lengths", "8", "--min-samples", "2", "--min-seconds", "0"],
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_no_heavy_library_around_an_artifact(arguments: list[str], artifact: Path, data: Path) -> None:
    paths = {"ARTIFACT": str(artifact), "DATA": str(data / "test.jsonl")}
    code, err = run([paths.get(word, word) for word in arguments])
    assert (code, err.splitlines()[-1]) == (0, "loaded: []")


@pytest.mark.parametrize(
    ("arguments", "missing", "extra"),
    [
        (["train", "--model", "SOURCE", "--data", "DATA", "--output", "out"], "torch", "train"),
        (["train", "--model", "SOURCE", "--data", "DATA", "--output", "out"], "transformers", "train"),
        (["export", "BUNDLE", "--target", "rpi4", "--output", "out"], "torch", "export"),
        (["export", "BUNDLE", "--target", "rpi4", "--output", "out"], "onnxscript", "export"),
        (["evaluate", "BUNDLE", "--data", "DATA/test.jsonl"], "torch", "train"),
        (["inspect", "BUNDLE"], "transformers", "train"),
    ],
)
def test_a_missing_library_is_named_with_the_extra_that_brings_it(
    arguments: list[str], missing: str, extra: str, source: Path, bundle: Path, data: Path, tmp_path: Path
) -> None:
    paths = {"SOURCE": source, "BUNDLE": bundle, "DATA": data, "DATA/test.jsonl": data / "test.jsonl"}
    words = [str(tmp_path / word) if word == "out" else str(paths.get(word, word)) for word in arguments]
    code, err = run(words, before=f"sys.modules[{missing!r}] = None")
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert code == 1, err
    assert len(errors) == 1 and missing in errors[0] and f'pip install "sharcs-edge[{extra}]"' in errors[0]
    assert not (tmp_path / "out").exists()
