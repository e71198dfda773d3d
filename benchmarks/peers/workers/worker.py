"""One engine in a process of its own, in its own environment: requests and answers are JSON lines on stdin and stdout.

    python -m benchmarks.peers.workers.worker convert ENGINE SOURCE FOLDER
    python -m benchmarks.peers.workers.worker run ENGINE SOURCE FOLDER THREADS

`convert` writes the engine's model into an empty folder. `run` reads a line ``{"text": ...}``, starts the engine with
it and tells times in ms and memory in MB of 2^20 bytes; then each ``{"way": ..., "texts": [...]}`` is answered by
``{"ms": [...], "cpu_ms": [...], "answers": [...], "private_mb": ...}``. A failure is ``{"error": reason}``, and the end
of the process.

An engine is a module beside it with ``convert(source, folder)``, ``load(source, folder, threads)`` and ``versions()``.
This folder needs Python 3.10, and of the project nothing, so that an environment holds one engine alone.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from benchmarks.peers.workers.tokens import Answer

FULL = "full"


def start(engine: str, source: Path, folder: Path, threads: int, text: Any) -> tuple[Answer, dict[str, Any]]:
    """The engine, and what its start took: from the import of its libraries to its first answer."""
    before = private_mb()
    begin = perf_counter()
    module = _module(engine)
    imported, libraries = perf_counter(), private_mb()
    answer: Answer = module.load(source, folder, threads)
    loaded = perf_counter()
    answer(as_text(text), FULL)
    end = perf_counter()
    times = {"import_ms": imported - begin, "load_ms": loaded - imported, "first_ms": end - loaded}
    facts: dict[str, Any] = {name: 1000 * seconds for name, seconds in times.items()}
    return answer, {**facts, "interpreter_mb": before, "libraries_mb": libraries, "versions": module.versions()}


def run(answer: Answer, way: str, texts: list[Any]) -> dict[str, Any]:
    """Milliseconds (on the clock, and of all processors for this process) and answer of each text, one by one."""
    milliseconds, cpu_ms, answers = [], [], []
    gc.disable()
    for text in map(as_text, texts):
        used, begin = process_time(), perf_counter()
        answers.append(answer(text, way))
        milliseconds.append(1000 * (perf_counter() - begin))
        cpu_ms.append(1000 * (process_time() - used))
    gc.enable()
    return {"ms": milliseconds, "cpu_ms": cpu_ms, "answers": answers, "private_mb": private_mb()}


def _module(engine: str) -> Any:
    return importlib.import_module(f"benchmarks.peers.workers.{engine}")


def as_text(text: Any) -> Any:
    """JSON has no tuples."""
    return tuple(text) if isinstance(text, list) else text


def private_mb() -> float | None:
    """Pages that no other process maps; None where the system does not tell."""
    try:
        lines = Path("/proc/self/smaps_rollup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean:", "Private_Dirty:"))) / 1024


def serve(arguments: list[str], answers: TextIO) -> None:
    def tell(record: dict[str, Any]) -> None:
        answers.write(json.dumps(record) + "\n")
        answers.flush()

    task, engine, source, folder, *threads = arguments
    try:
        if task == "convert":
            _module(engine).convert(Path(source), Path(folder))
            return tell({})
        request = json.loads(sys.stdin.readline())
        answer, facts = start(engine, Path(source), Path(folder), int(threads[0]), request["text"])
        tell(facts)
        for line in sys.stdin:
            tell(run(answer, **json.loads(line)))
    except Exception as error:  # whatever the engine raises is the reason that its row shows
        reason = str(error).strip().splitlines() or ["no reason given"]
        tell({"error": f"{type(error).__name__}: {reason[0]}"})
        raise


if __name__ == "__main__":
    # What an engine prints must not get between the answers.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)
        serve(sys.argv[1:], out)
