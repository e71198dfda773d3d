"""A device at the other end of a connection: what it is, what it has, files sent by content, Python run on it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final, NoReturn

from sharcs_edge.remote.link import Link, Talk
from sharcs_edge.remote.packages import Site, runtime_site
from sharcs_edge.remote.transport import RemoteError, Transport

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
_PIECE: Final = 1 << 16


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


class Device(Link):
    """See `connect`, which makes it."""

    facts: Facts

    def __init__(self, transport: Transport, talk: Talk) -> None:
        super().__init__(transport, _START, talk)

    @property
    def folder(self) -> str:
        """See `Link.folder`."""
        return self.facts.folder

    def greet(self) -> None:
        """Start the agent and learn what the device is."""
        source = resources.files("sharcs_edge.remote").joinpath("_agent.py").read_bytes()
        self.write(f"{len(source)}\n".encode() + source)
        answer = self.answer()
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
        self.heard.clear()
        self.listening = True
        try:
            answer = self._ask(
                "call",
                arguments=list(arguments),
                sites=[site.sha256 for site in sites],
                files=dict(files or {}),
                contents=dict(contents or {}),
            )
        finally:
            self.listening = False
        return Ended(answer["returncode"], answer["stdout"], self.heard[-1] if self.heard else "")

    def look(self, files: list[str]) -> tuple[dict[str, int], int]:
        """See `Link.look`."""
        answer = self._ask("look", files=files, sites=[])
        return answer["received"], answer["free"]

    def put(self, sha: str, path: Path, offset: int, size: int) -> None:
        """See `Link.put`."""
        self.write(json.dumps({"do": "put", "sha": sha, "offset": offset, "size": size}).encode() + b"\n")
        with path.open("rb") as stream:
            stream.seek(offset)
            while piece := stream.read(_PIECE):
                self.write(piece)
        self.answer()

    def _ask(self, request: str, **details: Any) -> dict[str, Any]:
        self.write(json.dumps({"do": request, **details}).encode() + b"\n")
        return self.answer()

    def _refuse_python(self, machine: str, bits: str, pythons: str) -> NoReturn:
        if bits == "32" or machine.startswith(_MACHINES_32_BIT):
            raise RemoteError(
                f"{self.name} runs a 32-bit system ({machine}), and the engines exist for 64 bits alone: install the "
                "64-bit system, such as Raspberry Pi OS (64-bit)"
            )
        found = pythons.rstrip(", ")
        raise RemoteError(
            f"{self.name} has no Python that serves ({f'found {found}' if found else 'found none'}), and 3.10 or newer "
            "of 64 bits is needed: install it there, on Debian with `sudo apt install python3`, or measure with the C "
            "tools (`--runner FOLDER`), which need none"
        )
