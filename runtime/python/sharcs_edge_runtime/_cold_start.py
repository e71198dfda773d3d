"""The start of a process, measured from inside it: `python -m sharcs_edge_runtime._cold_start`, by the profiler only.

Reads ``{"artifact", "threads", "text"}`` as JSON on stdin, prints times in ms and memory in MB as JSON on stdout.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Any, Final

from sharcs_edge_runtime.fingerprint import UNAVAILABLE, read_memory

if TYPE_CHECKING:
    from sharcs_edge_runtime.tokenization import Text

WARM_RUNS: Final = 5
TIMES: Final = ("import_ms", "load_ms", "first_run_ms", "warm_run_ms")
_TIMEOUT_SECONDS: Final = 600


def start_afresh(artifact: Path, threads: int, text: Text, repeats: int) -> dict[str, Any]:
    """Start processes one after the other: the times of `repeats` of them by name, and the memory of the last one.

    One more process starts first, whose load finds none of the artifact's files in memory: `disk_load_ms`,
    "unavailable" where the system keeps them there. The others load from the system's file cache.
    An emulated Python cannot start a child of its own: then the answer is ``{"unavailable": reason}``.
    """
    request = json.dumps({"artifact": str(artifact), "threads": threads, "text": text})
    try:
        disk_load = _start(request)["load_ms"] if _evict(artifact) else UNAVAILABLE
        runs = [_start(request) for _ in range(repeats)]
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip().splitlines() or [type(error).__name__]
        return {UNAVAILABLE: f"a fresh process could not be measured: {reason[-1]}"}
    return start_record(runs, disk_load)


def start_record(runs: Sequence[Mapping[str, Any]], disk_load_ms: float | str) -> dict[str, Any]:
    """The result of `start_afresh` from what the processes measured: `TIMES` by name, and ``memory``."""
    from sharcs_edge_runtime._timing import summarise

    return {
        **{name: summarise([run[name] for run in runs]) for name in TIMES},
        "disk_load_ms": disk_load_ms,
        "memory": runs[-1]["memory"],
    }


def _evict(folder: Path) -> bool:
    """Drop a folder's files from the system's file cache; whether they are gone.

    They stay where they are in use by another process, for a moment after that, and on a file system in memory.
    """
    if not hasattr(os, "posix_fadvise") or not hasattr(os, "RWF_NOWAIT"):
        return False
    for pause in (0.0, 0.1, 0.5):
        sleep(pause)
        try:
            if all(_evict_file(file) for file in folder.iterdir() if file.is_file()):
                return True
        except OSError:  # the load says it better
            return False
    return False


def _evict_file(file: Path) -> bool:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)  # what is not on the disk yet cannot be dropped
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        # Answers only from the cache; from an empty file there is nothing to read.
        return not os.preadv(descriptor, [bytearray(1)], 0, os.RWF_NOWAIT)
    except BlockingIOError:
        return True
    except OSError:  # the file system knows no such question
        return False
    finally:
        os.close(descriptor)


def _start(request: str) -> dict[str, Any]:
    answer = subprocess.run(
        [sys.executable, "-m", "sharcs_edge_runtime._cold_start"],
        input=request,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
        timeout=_TIMEOUT_SECONDS,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    run: dict[str, Any] = json.loads(answer.stdout)
    return run


def measure(artifact: str, threads: int, text: str | list[str]) -> dict[str, Any]:
    """Import, load, and runs at full width, in this process; memory after each step."""
    memory = {"interpreter": read_memory()}
    start = perf_counter()
    # The runtime imports these on first use; here they belong to the import, not to the load.
    import tokenizers  # noqa: F401

    from sharcs_edge_runtime.artifact import Artifact

    if Artifact.open(artifact, verify_hashes=False).manifest.backend == "onnx":
        import onnxruntime  # noqa: F401

    from sharcs_edge_runtime.budget import Budget
    from sharcs_edge_runtime.session import Session

    imported = perf_counter() - start
    memory["imported"] = read_memory()
    start = perf_counter()
    session = Session.load(artifact, threads=threads)
    loaded = perf_counter() - start
    memory["loaded"] = read_memory()
    question = text if isinstance(text, str) else (text[0], text[1])
    full = Budget(width=session.widths[-1])
    runs = [session.predict(question, budget=full).milliseconds for _ in range(1 + WARM_RUNS)]
    for width in session.widths:
        session.predict(question, budget=Budget(width=width))
    memory["after_runs"] = read_memory()
    times = dict(zip(TIMES, (imported * 1000, loaded * 1000, runs[0], min(runs[1:])), strict=True))
    return {**times, "memory": memory}


if __name__ == "__main__":
    json.dump(measure(**json.load(sys.stdin)), sys.stdout)
