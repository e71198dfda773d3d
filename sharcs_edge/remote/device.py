"""A device at the other end of a connection: what it is, what it has, files sent by content, Python run on it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final, NoReturn

from sharcs_edge.remote.packages import Site, runtime_site
from sharcs_edge.remote.transport import RemoteError, Transport

Talk = Callable[[str], None]

# The first Python that serves becomes the agent; the source comes over stdin. No single quote, no line break: whatever
# the login shell is, it hands this to sh as it is.
_PYTHONS: Final = (
    "python3 /data/data/com.termux/files/usr/bin/python3 python3.14 python3.13 python3.12 python3.11 python3.10"
)
_START: Final = (
    "exec sh -c '"
    f"for p in {_PYTHONS}; do command -v $p >/dev/null 2>&1 || continue; "
    'seen="$seen$($p --version 2>&1 | tail -n 1), "; '
    '$p -c "import struct,sys;sys.exit(sys.version_info<(3,10)or struct.calcsize(chr(80))<8)" >/dev/null 2>&1 '
    '&& exec $p -u -c "import sys;exec(sys.stdin.buffer.read(int(sys.stdin.buffer.readline())))"; done; '
    'printf "{\\"machine\\":\\"%s\\",\\"bits\\":\\"%s\\",\\"pythons\\":\\"%s\\"}\\n" '
    '"$(uname -m)" "$(getconf LONG_BIT 2>/dev/null)" "$seen"'
    "'"
)
_MACHINES_32_BIT: Final = ("arm", "i386", "i486", "i586", "i686")
_SPARE_BYTES: Final = 32 << 20
_PIECE: Final = 1 << 16
_SECONDS_TO_TIDY_UP: Final = 15.0


@dataclass(frozen=True)
class Facts:
    """What decides which packages run on a device. `libc`: name and version; `packages`: installed, name: version."""

    machine: str
    system: str
    python: tuple[int, int, int]
    libc: tuple[str, str]
    executable: str
    folder: str
    packages: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.machine}, Python {'.'.join(map(str, self.python))}, {' '.join(self.libc).strip()}"


@dataclass(frozen=True)
class Ended:
    """How a Python program on the device ended; `returncode` is negative for a signal, `last_words` of its stderr."""

    returncode: int
    stdout: str
    last_words: str


@contextmanager
def connect(transport: Transport, talk: Talk = lambda message: None) -> Iterator[Device]:
    """A device, locked for others while the block runs; at its end, however it comes, nothing keeps running there.

    `talk` gets what happens, a line each. Raises RemoteError if the device cannot be reached, has no Python of
    64 bits and 3.10 or newer, has no room, or is in use by another sharcs-edge.
    """
    device = Device(transport, talk)
    try:
        device.greet()
        yield device
    finally:
        device.close()


class Device:
    """See `connect`, which makes it."""

    facts: Facts

    def __init__(self, transport: Transport, talk: Talk) -> None:
        self.name = transport.name
        self._transport = transport
        self._talk = talk
        self._process = transport.start(_START)
        self._heard: deque[str] = deque(maxlen=200)
        self._listening = False
        self._ear = threading.Thread(target=self._hear, daemon=True)
        self._ear.start()

    def greet(self) -> None:
        """Start the agent and learn what the device is."""
        source = resources.files("sharcs_edge.remote").joinpath("_agent.py").read_bytes()
        self._write(f"{len(source)}\n".encode() + source)
        answer = self._answer()
        if "pythons" in answer:
            self._refuse_python(**answer)
        answer |= {key: tuple(answer[key]) for key in ("python", "libc")}
        self.facts = Facts(**answer)

    def install(self, sites: Sequence[Site]) -> None:
        """Send and unpack the sites that are not there yet. Raises RemoteError if there is no room for them."""
        known = self._ask("look", files=[], sites=[site.sha256 for site in sites])["sites"]
        missing = [site for site in sites if site.sha256 not in known]
        self.send({site.sha256: site.path for site in missing}, extra=sum(site.unpacked for site in missing))
        for site in missing:
            self._ask("unpack", sha=site.sha256)

    def send(self, files: Mapping[str, Path], extra: int = 0) -> None:
        """Send what the device has not got of `files` (SHA-256: path), going on where a transfer was cut off.

        `extra`: bytes that will be needed beside the files. Raises RemoteError if there is no room for all of it.
        """
        look = self._ask("look", files=list(files), sites=[])
        received = look["received"]
        sizes = {sha: path.stat().st_size for sha, path in files.items() if received[sha] >= 0}
        missing = sum(size - min(received[sha], size) for sha, size in sizes.items())
        needed = missing + extra + _SPARE_BYTES
        if needed > look["free"]:
            raise RemoteError(
                f"the disk of {self.name} is too full: {_size(needed)} are needed in {self.facts.folder} and "
                f"{_size(look['free'])} are free; free some space there, or set XDG_CACHE_HOME there to a folder "
                "on a larger disk"
            )
        if sizes:
            self._talk(f"sending {_size(missing)} in {len(sizes)} file{'s' if len(sizes) > 1 else ''}")
        for sha, size in sizes.items():
            offset = received[sha] if received[sha] <= size else 0
            self._put(sha, files[sha], offset, size - offset)

    def fingerprint(self) -> dict[str, Any]:
        """`sharcs_edge_runtime.fingerprint.read_device` of the device, and the `clocks` of its `read_state`."""
        site = runtime_site()
        self.install([site])
        code = (
            "import json; from sharcs_edge_runtime.fingerprint import read_device, read_state; "
            "print(json.dumps(read_device() | {'clocks': read_state()['clocks']}))"
        )
        ended = self.python(["-c", code], [site])
        if ended.returncode != 0:
            raise RemoteError(f"{self.name} cannot say what it is: {ended.last_words or f'exit {ended.returncode}'}")
        facts: dict[str, Any] = json.loads(ended.stdout)
        return facts

    def python(
        self,
        arguments: Sequence[str],
        sites: Sequence[Site] = (),
        files: Mapping[str, str] | None = None,
        contents: Mapping[str, str] | None = None,
    ) -> Ended:
        """Run the device's Python with `sites` on its path, in a folder of its own that is removed afterwards.

        The folder holds `files` (path: SHA-256 of what was sent) and `contents` (path: text). What the program writes
        to stderr goes to `talk` line by line.
        """
        self._heard.clear()
        self._listening = True
        try:
            answer = self._ask(
                "call",
                arguments=list(arguments),
                sites=[site.sha256 for site in sites],
                files=dict(files or {}),
                contents=dict(contents or {}),
            )
        finally:
            self._listening = False
        return Ended(answer["returncode"], answer["stdout"], self._heard[-1] if self._heard else "")

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

    def _put(self, sha: str, path: Path, offset: int, size: int) -> None:
        self._write(json.dumps({"do": "put", "sha": sha, "offset": offset, "size": size}).encode() + b"\n")
        with path.open("rb") as stream:
            stream.seek(offset)
            while piece := stream.read(_PIECE):
                self._write(piece)
        self._answer()

    def _ask(self, request: str, **details: Any) -> dict[str, Any]:
        self._write(json.dumps({"do": request, **details}).encode() + b"\n")
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        answer = self._read()
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
            case kind:
                raise RemoteError(f"what arrived on {self.name} is {kind}: run the command again")

    def _write(self, data: bytes) -> None:
        """What the other end no longer takes is not an error yet: it has said why, or `_read` finds out."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(data)
            self._process.stdin.flush()

    def _read(self) -> dict[str, Any]:
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
        said = "\n".join(self._heard)
        if error := self._transport.failure(returncode, said):
            raise error
        last = self._heard[-1] if self._heard else f"exit code {returncode}"
        raise RemoteError(f"the work on {self.name} ended by itself ({last}); run the command again")

    def _hear(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            text = line.decode("utf-8", "replace").rstrip()
            if text:
                self._heard.append(text)
                if self._listening:
                    self._talk(text)

    def _refuse_python(self, machine: str, bits: str, pythons: str) -> NoReturn:
        if bits == "32" or machine.startswith(_MACHINES_32_BIT):
            raise RemoteError(
                f"{self.name} runs a 32-bit system ({machine}), and the engines exist for 64 bits alone: install the "
                "64-bit system, such as Raspberry Pi OS (64-bit)"
            )
        found = pythons.rstrip(", ")
        raise RemoteError(
            f"{self.name} has no Python that serves ({f'found {found}' if found else 'found none'}), and 3.10 or newer "
            "of 64 bits is needed: install it there, on Debian with `sudo apt install python3`"
        )


def _size(count: int) -> str:
    return f"{count / (1 << 20):.1f} MB" if count >= 1 << 20 else f"{count / (1 << 10):.1f} kB"
