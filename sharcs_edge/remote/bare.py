"""A device without Python: its shell keeps the files, and one program that was sent carries out requests."""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

from sharcs_edge.errors import UsageError
from sharcs_edge.remote.link import Link, Talk
from sharcs_edge.remote.transport import RemoteError, Transport, stopped

_START: Final = "exec sh"  # which reads the agent, and then its requests, from stdin
_PIECE: Final = 1 << 16
_NOT_STARTED: Final = (126, 127)  # POSIX: the shell could not start a command; so do loaders that miss a library
_SIGNAL: Final = 128


@dataclass(frozen=True)
class BareFacts:
    """What a device says of itself; `model` and `android` (its version) are "" where it is no Android."""

    machine: str
    kernel: str
    folder: str
    model: str
    android: str

    def __str__(self) -> str:
        return (
            f"{self.machine}, {f'Android {self.android}' if self.android else f'kernel {self.kernel}'}, no Python used"
        )


@contextmanager
def connect_bare(transport: Transport, talk: Talk = lambda message: None) -> Iterator[BareDevice]:
    """As `device.connect`, for a device that needs no Python. Raises RemoteError for one that lacks a tool."""
    device = BareDevice(transport, talk)
    try:
        device.greet()
        yield device
    finally:
        device.close()


class BareDevice(Link):
    """See `connect_bare`, which makes it."""

    facts: BareFacts

    def __init__(self, transport: Transport, talk: Talk) -> None:
        super().__init__(transport, _START, talk)

    @property
    def folder(self) -> str:
        """See `Link.folder`."""
        return self.facts.folder

    def greet(self) -> None:
        """Start the agent and learn what the device is."""
        self.write(resources.files("sharcs_edge.remote").joinpath("_agent.sh").read_bytes())
        self.facts = BareFacts(**{name: value.strip() for name, value in self.answer().items()})

    def look(self, files: list[str]) -> tuple[dict[str, int], int]:
        """See `Link.look`."""
        answer = self._ask("look", *files)
        return answer["received"], answer["free_kb"] * 1024

    def put(self, sha: str, path: Path, offset: int, size: int) -> None:
        """See `Link.put`. The bytes go over a connection of their own: few shells can take so many and no more."""
        target = shlex.quote(f"{self.folder}/files/{sha}.part")
        process = self.transport.start(f"cat {'>>' if offset else '>'} {target}")
        assert process.stdin is not None and process.stderr is not None
        try:
            with path.open("rb") as stream, contextlib.suppress(BrokenPipeError):
                stream.seek(offset)
                while piece := stream.read(_PIECE):
                    process.stdin.write(piece)
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            said = process.stderr.read().decode("utf-8", "replace").strip()
            code = process.wait()
        finally:
            process.kill()
            process.wait()
        if error := self.transport.failure(code, said):
            raise error
        if code != 0:
            raise RemoteError(
                f"cannot write to {self.folder} on {self.name}: {said or f'exit code {code}'}; free some space there, "
                "or set XDG_CACHE_HOME there to a folder that can be written"
            )
        self._ask("keep", sha)

    def place(self, files: Mapping[str, str]) -> None:
        """Lay files that were sent (path: SHA-256) into the run's folder, which is removed at the end."""
        for path, sha in files.items():
            self._ask("place", sha, path)

    @contextmanager
    def start(self, *command: str) -> Iterator[Program]:
        """A program of the run's folder while the block runs, with that folder as its own and for its libraries."""
        self.heard.clear()
        self.write(f"call {' '.join(command)}\n".encode())
        program = Program(self, command[0])
        yield program
        program.end()

    def _ask(self, *words: str) -> dict[str, Any]:
        self.write(f"{' '.join(words)}\n".encode())
        return self.answer()


class Program:
    """A program on the device that answers requests, one JSON object a line both ways; an empty line ends it."""

    def __init__(self, device: BareDevice, name: str) -> None:
        self._device = device
        self._name = name

    def ask(self, step: str, **details: Any) -> dict[str, Any]:
        """The answer to ``{"do": step, ...}``.

        Raises RemoteError if the program ends instead, and that or UsageError, with the program's sentence, for a step
        that fails.
        """
        self._device.write(json.dumps({"do": step, **details}, ensure_ascii=False).encode() + b"\n")
        answer = self._device.read()
        if "failed" in answer:
            error = UsageError if answer["code"] == UsageError.exit_code else RemoteError
            raise error(f"on {self._device.name}: {answer['failed']}")
        if "returncode" in answer:
            raise self._ended(answer["returncode"])
        return answer

    def end(self) -> None:
        """Raises RemoteError if the program fails at its end."""
        self._device.write(b"\n")
        if code := self._device.read()["returncode"]:
            raise self._ended(code)

    def _ended(self, code: int) -> RemoteError:
        name, heard = self._device.name, self._device.heard
        if code > _SIGNAL:
            return stopped(self._name, name, code - _SIGNAL)
        said = heard[-1] if heard else f"exit code {code}"
        if code in _NOT_STARTED:
            return RemoteError(
                f"{self._name} does not start on {name} ({said}): build it for that system, and put the libraries that "
                "it needs beside it into the folder of --runner"
            )
        return RemoteError(f"{self._name} on {name} ended by itself ({said})")
