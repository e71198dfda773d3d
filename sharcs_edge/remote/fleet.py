"""Several devices profiled side by side; one that fails does not lose the others."""

from __future__ import annotations

import subprocess
import threading
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from sharcs_edge.errors import SharcsEdgeError, UsageError
from sharcs_edge.remote.adb import AdbTransport
from sharcs_edge.remote.profile import Job, profile_remote
from sharcs_edge.remote.ssh import SshTransport
from sharcs_edge.remote.transport import RemoteError, Transport

_WAYS: Final[Mapping[str, Callable[[str], Transport]]] = {"host": SshTransport, "adb": AdbTransport}
_TYPES: Final[Mapping[str, type]] = {
    **dict.fromkeys(("name", "host", "adb", "artifact", "runner"), str),
    "threads": int,
}
_WORDS: Final[Mapping[type, str]] = {str: "text", int: "a whole number of 1 or more"}


@dataclass(frozen=True)
class Member:
    """One device of a fleet, and what to measure on it."""

    name: str
    transport: Transport
    job: Job


@dataclass(frozen=True)
class Outcome:
    """What became of one device: its record, or the error."""

    name: str
    record: dict[str, Any] | None
    error: SharcsEdgeError | None


def read_fleet(file: Path, job: Job) -> list[Member]:
    """The devices of a TOML file, each with `job` but for what the file says of it.

    Every ``[[device]]`` has either ``host`` (as `ssh` takes it) or ``adb`` (a serial), and may have a ``name``,
    ``threads``, and an ``artifact`` and a ``runner`` of its own, relative to the file. Raises UsageError listing every
    problem.
    """
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8 text (byte {error.start}); convert it") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file} is not TOML: {error}") from None
    problems = list(_problems(document))
    if problems:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise UsageError(f"{file}: {count} in the list of devices: {'; '.join(problems)}")
    return [_member(table, file.parent, job) for table in document["device"]]


def _problems(document: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"unknown field {key} @ $" for key in document if key != "device")
    tables = document.get("device")
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        yield "expected [[device]] tables, one for each device @ $.device"
        return
    for index, table in enumerate(tables):
        yield from _table_problems(table, f"$.device[{index}]")
    names = Counter(_name(table) for table in tables)
    yield from (f'"{name}" stands for {count} devices @ $.device' for name, count in names.items() if count > 1)


def _table_problems(table: Mapping[str, Any], path: str) -> Iterator[str]:
    for key, value in table.items():
        kind = _TYPES.get(key)
        if kind is None:
            yield f"unknown field {key} @ {path}"
        elif type(value) is not kind or not value or (isinstance(value, int) and value < 0):
            yield f"expected {_WORDS[kind]}, got {value!r} @ {path}.{key}"
        elif isinstance(value, str) and key in _WAYS:
            try:
                _WAYS[key](value)
            except UsageError as error:
                yield f"{error} @ {path}.{key}"
    if len(_WAYS.keys() & table.keys()) != 1:
        yield f"expected either host or adb @ {path}"


def _name(table: Mapping[str, Any]) -> str:
    return str(table.get("name") or table.get("host") or table.get("adb") or "")


def _member(table: Mapping[str, Any], folder: Path, job: Job) -> Member:
    (way,) = _WAYS.keys() & table.keys()
    settings = replace(job.settings, threads=table.get("threads", job.settings.threads))
    own = {field: folder / table[field] for field in ("artifact", "runner") if field in table}
    return Member(_name(table), _WAYS[way](table[way]), replace(job, settings=settings, **own))


def profile_fleet(members: Sequence[Member], talk: Callable[[str, str], None]) -> list[Outcome]:
    """Profile every device at the same time, in the order of `members`; `talk` gets a device's name and a line.

    Ctrl-C hangs up on all of them.
    """
    lines = _Lines()

    def measure(member: Member) -> Outcome:
        try:
            transport = _Line(member.transport, lines)
            record = profile_remote(transport, member.job, lambda message: talk(member.name, message))
        except SharcsEdgeError as error:
            return Outcome(member.name, None, error)
        return Outcome(member.name, {**record, "remote": member.name}, None)

    with ThreadPoolExecutor(len(members)) as pool:
        futures = [pool.submit(measure, member) for member in members]
        try:
            return [future.result() for future in futures]
        except BaseException:
            lines.cut()
            raise


class _Lines:
    """The connections of all threads, which cannot be interrupted themselves."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []
        self._cut = False
        self._lock = threading.Lock()

    def open(self, transport: Transport, command: str) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._cut:
                raise RemoteError(f"interrupted before {transport.name} was reached")
            self._processes.append(process := transport.start(command))
            return process

    def cut(self) -> None:
        with self._lock:
            self._cut = True
            for process in self._processes:
                process.terminate()


@dataclass(frozen=True)
class _Line:
    """A transport whose connections `_Lines` knows."""

    transport: Transport
    lines: _Lines

    @property
    def name(self) -> str:
        return self.transport.name

    def start(self, command: str) -> subprocess.Popen[bytes]:
        return self.lines.open(self.transport, command)

    def failure(self, returncode: int, stderr: str) -> RemoteError | None:
        return self.transport.failure(returncode, stderr)
