"""tflite-runtime 2.14, in an environment of its own: what it gets right runs, what it gets wrong is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sharcs_edge_runtime.session import Session
from tests.runtime.conftest import TEXTS, ArtifactBuilder

pytest.importorskip("ai_edge_litert")

from tests.runtime.tables import as_tflite

PACKAGES = ("tflite-runtime==2.14.0", "numpy<2", "tokenizers")
RUNTIME = Path(__file__).parents[2] / "runtime" / "python"
PROGRAM = """
import sys
from sharcs_edge_runtime.errors import SharcsEdgeError
from sharcs_edge_runtime.session import Session
try:
    session = Session.load(sys.argv[1], engine="tflite_runtime")
except SharcsEdgeError as error:
    sys.exit(f"{type(error).__name__}: {error}")
print(session.predict(sys.argv[2]).label)
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.version_info >= (3, 12), reason="tflite-runtime has no wheel for Python 3.12 and newer"),
]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its interpreter."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    done = subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"tflite-runtime cannot be installed here: {done.stderr.strip().splitlines()[-1]}")
    return python


def run(python: Path, artifact: Path, text: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(RUNTIME)}
    command = [str(python), "-c", PROGRAM, str(artifact), text]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


def test_float32_graphs_run(python: Path, make_artifact: ArtifactBuilder) -> None:
    artifact = as_tflite(make_artifact(token_types=False))
    expected = Session.load(artifact).predict(TEXTS[0]).label
    assert run(python, artifact, TEXTS[0]).stdout.strip() == expected


def test_wrong_logits_of_int8_graphs_with_a_scale_per_channel_are_caught(
    python: Path, make_artifact: ArtifactBuilder
) -> None:
    artifact = as_tflite(make_artifact(token_types=False), int8=True)
    assert Session.load(artifact).predict(TEXTS[0]).label  # LiteRT gets them right: see test_litert.py
    done = run(python, artifact, TEXTS[0])
    assert done.returncode == 1
    assert (
        "ParityError: the engine tflite_runtime 2.14.0 runs this artifact without an error and answers" in done.stderr
    )
    assert "max abs logit difference" in done.stderr
    assert "use ai-edge-litert" in done.stderr
