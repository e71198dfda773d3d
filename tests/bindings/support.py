"""What the tests of the bindings share: where things are, what Python answered, the code of docs/embedding.md."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "c" / "data"
KINDS = sorted(path.stem for path in DATA.glob("*.json"))  # of artifacts
TEXT = "turn on the light"

Answer = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Bindings:
    """Folders of the built C runtime and of the tools, and ONNX Runtime's library."""

    folder: Path
    onnxruntime: Path

    @property
    def prefix(self) -> Path:
        """Where the C runtime is installed."""
        return self.folder / "prefix"

    @property
    def tools(self) -> Path:
        return ROOT / "build" / "tools"

    def tool(self, name: str) -> Path:
        """A tool's path; the test is skipped if `get_tools.sh` could not get it."""
        path = self.tools / name
        if not path.exists():
            pytest.skip(f"{name} is not there; tests/bindings/get_tools.sh says why it could not be had")
        return path


def program(name: str) -> str:
    """A program of the machine; the test is skipped without it."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} was not found")
    return found


def run(
    command: Sequence[str | Path], *, stdin: str = "", environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command that has to succeed; what it printed is shown if it does not."""
    done = subprocess.run(
        [str(word) for word in command],
        input=stdin,
        capture_output=True,
        text=True,
        env=None if environment is None else {**os.environ, **environment},
    )
    assert done.returncode == 0, f"{command[0]} failed\n{done.stdout}\n{done.stderr}"
    return done


def vectors(kind: str) -> list[dict[str, Any]]:
    """What Python's Session answered for the artifact ``kind``: texts, budget, answer."""
    found: list[dict[str, Any]] = json.loads((DATA / f"{kind}.json").read_text(encoding="utf-8"))
    return found


def assert_same(found: Answer, expected: Answer) -> None:
    """Decisions are equal; scores differ by how the engine rounds on this machine."""
    numbers = ("score", "value", "scores", "confidence")
    assert {name: value for name, value in found.items() if name not in numbers} == {
        name: value for name, value in expected.items() if name not in numbers
    }
    assert found.keys() == expected.keys()
    for name in numbers:
        if name in expected:
            assert found[name] == pytest.approx(expected[name], abs=1e-5)


def snippets(language: str) -> list[str]:
    """The code blocks of docs/embedding.md in one language, in order."""
    text = (ROOT / "docs" / "embedding.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def documented_output() -> str:
    """What the programs of docs/embedding.md print for `TEXT`, by what Python's Session answered."""
    (answer,) = (
        row["answer"]
        for row in vectors("classification")
        if row["texts"] == [TEXT] and row["budget"] == {"max_drop": 0.02}
    )
    return f"{answer['label']} {answer['score']:.3f} (width {answer['width']:g}, {answer['reason']})\n"
