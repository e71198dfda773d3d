"""Does an engine run on this processor? Tried in a process of its own: what crashes there is a sentence here.

A library built for a newer processor ends the process that loads it (SIGILL), before any exception can say why.
"""

from __future__ import annotations

import importlib.metadata
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sharcs_edge_runtime.artifact import Artifact
from sharcs_edge_runtime.backend import ENGINES, Engine
from sharcs_edge_runtime.errors import EngineError
from sharcs_edge_runtime.fingerprint import read_device

_TIMEOUT_SECONDS: Final = 120


@dataclass(frozen=True)
class _Library:
    """The package that pip installs, and the Python that loads its library as the runtime does."""

    package: str
    load: str


_LIBRARIES: Final[Mapping[Engine, _Library]] = {
    "onnxruntime": _Library("onnxruntime", "import onnxruntime"),
    "litert": _Library("ai-edge-litert", "from sharcs_edge_runtime._litert_api import Library; Library()"),
    "tflite_runtime": _Library("tflite-runtime", "import tflite_runtime.interpreter"),
}


def probe_artifact(artifact: str | os.PathLike[str], engine: Engine | None = None) -> None:
    """Probe the engine that will run an artifact: `engine`, or the usual one of its format.

    Raises EngineError if it crashes here, and what `Artifact.open` raises.
    """
    probe_engine(engine or ENGINES[Artifact.open(artifact, verify_hashes=False).manifest.backend][0])


def probe_engine(engine: Engine) -> None:
    """Load an engine in a fresh process.

    Raises EngineError if a signal ends that process. An engine that is not installed, or that raises an exception, is
    no finding: loading it here will say so; nor is a system that cannot start processes.
    """
    library = _LIBRARIES[engine]
    try:
        ended = subprocess.run(
            [sys.executable, "-c", library.load],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_TIMEOUT_SECONDS,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
    except (OSError, subprocess.TimeoutExpired):
        return
    if ended.returncode < 0:
        raise EngineError(_say(library.package, -ended.returncode))


def _say(package: str, number: int) -> str:
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        version = "of an unknown version"
    cpu = read_device()["cpu"]
    processor = " and ".join(kind["part"] for kind in cpu) if isinstance(cpu, list) else "this processor"
    what = "executes an instruction that it does not have" if number == signal.SIGILL else "crashes"
    name = signal.Signals(number).name
    return (
        f"{package} {version} does not run on {processor}: loading it {what} ({name}); install another version with "
        f"`{Path(sys.executable).name} -m pip install '{package}!={version}'`"
    )
