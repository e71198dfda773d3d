"""Engines in processes of their own: made to convert, started, asked, and ended."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sharcs_edge_runtime.tokenization import Text

_ROOT = Path(__file__).parents[2]


class EngineError(Exception):
    """An engine cannot be installed, cannot convert or cannot run; the message is the reason in one line."""


def convert(python: Path, engine: str, source: Path, folder: Path) -> None:
    """Fills ``folder`` with the engine's model. Raises EngineError."""
    with _Pipe([str(python), *_WORKER, "convert", engine, str(source), str(folder)], threads=None) as pipe:
        pipe.receive()


class Answered(NamedTuple):
    """Of each text: milliseconds on the clock, of processor time, and the number of the label."""

    ms: list[float]
    cpu_ms: list[float]
    answers: list[int]

    def extend(self, other: Answered) -> None:
        self.ms.extend(other.ms)
        self.cpu_ms.extend(other.cpu_ms)
        self.answers.extend(other.answers)

    def last(self, count: int) -> Answered:
        return Answered(self.ms[-count:], self.cpu_ms[-count:], self.answers[-count:])


class Worker:
    """A running engine. ``start``: what its start took, see `benchmarks/peers/workers/worker.py`.

    Raises EngineError, here and in :meth:`run`.
    """

    def __init__(self, python: Path, engine: str, source: Path, folder: Path, threads: int, first: Text) -> None:
        command = [str(python), *_WORKER, "run", engine, str(source), str(folder), str(threads)]
        self._pipe = _Pipe(command, threads)
        try:
            self.start = self._pipe.ask({"text": first})
        except BaseException:
            self.close()
            raise
        self.private_mb: float | None = None

    def run(self, way: str, texts: Sequence[Text]) -> Answered:
        """Texts that run one after the other."""
        answer = self._pipe.ask({"way": way, "texts": texts})
        self.private_mb = answer["private_mb"]
        return Answered(answer["ms"], answer["cpu_ms"], answer["answers"])

    def close(self) -> None:
        self._pipe.close()


_WORKER = ("-m", "benchmarks.peers.workers.worker")


class _Pipe:
    """JSON lines to and from a child process, whose stderr is kept for the reason of its end."""

    def __init__(self, command: Sequence[str], threads: int | None) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process
        limits = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
        self._process = subprocess.Popen(
            command,
            cwd=_ROOT,
            env={**os.environ, **limits, "PYTHONNOUSERSITE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            encoding="utf-8",
        )

    def ask(self, request: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended and told why
        return self.receive()

    def receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise EngineError(f"it ended with code {self._process.wait()}: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise EngineError(answer["error"])
        return answer

    def _last_words(self) -> str:
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stderr.close()

    def __enter__(self) -> _Pipe:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
