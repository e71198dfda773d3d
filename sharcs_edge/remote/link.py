"""A connection to a program on a device that answers requests: what both kinds of agent have in common."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

from sharcs_edge.remote.transport import RemoteError, Transport

Talk = Callable[[str], None]

_SPARE_BYTES: Final = 32 << 20
_SECONDS_TO_TIDY_UP: Final = 15.0


class Link(ABC):
    """One agent on one device, which keeps files there by their SHA-256 and takes one request at a time.

    `command` starts it; what it writes to stderr is heard, and goes to `talk` line by line while `listening`.
    """

    def __init__(self, transport: Transport, command: str, talk: Talk) -> None:
        self.name = transport.name
        self.talk = talk
        self.transport = transport
        self.listening = False
        self.heard: deque[str] = deque(maxlen=200)
        """The last lines of its stderr."""
        self._process = transport.start(command)
        self._ear = threading.Thread(target=self._hear, daemon=True)
        self._ear.start()

    @property
    @abstractmethod
    def folder(self) -> str:
        """Where everything lies on the device."""

    @abstractmethod
    def look(self, files: list[str]) -> tuple[dict[str, int], int]:
        """The bytes that have come of some files (-1: all of it), by SHA-256; and those that are free there."""

    @abstractmethod
    def put(self, sha: str, path: Path, offset: int, size: int) -> None:
        """Send the last `size` bytes of a file, from `offset` on."""

    def send(self, files: Mapping[str, Path], extra: int = 0) -> None:
        """Send what the device has not got of `files` (SHA-256: path), going on where a transfer was cut off.

        `extra`: bytes that will be needed beside the files. Raises RemoteError if there is no room for all of it.
        """
        received, free = self.look(list(files))
        sizes = {sha: path.stat().st_size for sha, path in files.items() if received[sha] >= 0}
        missing = sum(size - min(received[sha], size) for sha, size in sizes.items())
        needed = missing + extra + _SPARE_BYTES
        if needed > free:
            raise RemoteError(
                f"the disk of {self.name} is too full: {_size(needed)} are needed in {self.folder} and "
                f"{_size(free)} are free; free some space there, or set XDG_CACHE_HOME there to a folder "
                "on a larger disk"
            )
        if sizes:
            self.talk(f"sending {_size(missing)} in {len(sizes)} file{'s' if len(sizes) > 1 else ''}")
        for sha, size in sizes.items():
            offset = received[sha] if received[sha] <= size else 0
            self.put(sha, files[sha], offset, size - offset)

    def close(self) -> None:
        """Hang up; the end of its stdin makes the agent stop what runs and remove what it leaves."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_SECONDS_TO_TIDY_UP)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._ear.join(timeout=1)

    def answer(self) -> dict[str, Any]:
        """The agent's next answer. Raises RemoteError for a request that it refuses, or if it has gone."""
        answer = self.read()
        match answer.get("refused"):
            case None:
                return answer
            case "busy":
                raise RemoteError(
                    f"another sharcs-edge is at work on {self.name} ({answer['holder']}), and two would disturb each "
                    "other: wait until it is done, or end that process"
                )
            case "storage":
                raise RemoteError(
                    f"cannot write to {answer['folder']} on {self.name}: {answer['reason']}; free some space there, or "
                    "set XDG_CACHE_HOME there to a folder that can be written"
                )
            case "tools":
                raise RemoteError(
                    f"{self.name} has not got{answer['missing']}: its shell needs those of toybox (Android 8 or "
                    "newer), busybox or coreutils"
                )
            case kind:
                raise RemoteError(f"what arrived on {self.name} is {kind}: run the command again")

    def write(self, data: bytes) -> None:
        """What the other end no longer takes is not an error yet: it has said why, or `read` finds out."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(data)
            self._process.stdin.flush()

    def read(self) -> dict[str, Any]:
        """The next JSON object, whatever it says. Raises RemoteError if there will be none."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(b"{"):  # a login shell may greet first
                answer: dict[str, Any] = json.loads(line)
                return answer
        self._raise_lost()

    def _raise_lost(self) -> NoReturn:
        try:
            returncode = self._process.wait(_SECONDS_TO_TIDY_UP)
        except subprocess.TimeoutExpired:
            self._process.kill()
            returncode = self._process.wait()
        self._ear.join(timeout=5)
        said = "\n".join(self.heard)
        if error := self.transport.failure(returncode, said):
            raise error
        last = self.heard[-1] if self.heard else f"exit code {returncode}"
        raise RemoteError(f"the work on {self.name} ended by itself ({last}); run the command again")

    def _hear(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            text = line.decode("utf-8", "replace").rstrip()
            if text:
                self.heard.append(text)
                if self.listening:
                    self.talk(text)


def _size(count: int) -> str:
    return f"{count / (1 << 20):.1f} MB" if count >= 1 << 20 else f"{count / (1 << 10):.1f} kB"
