"""What runs on the device: one Python process that lives as long as the connection, and no longer.

It is sent over that connection and needs Python 3.10 and its standard library alone. It reads one JSON request a line
from stdin (`put` is followed by the bytes of a file) and answers each with one JSON line on stdout; what it starts
writes to its stderr. The end of stdin (the host has gone, the connection is lost) ends whatever it does.

Everything lives in one folder, ``~/.cache/sharcs-edge``:

    files/SHA256         what was sent, by content; SHA256.part: what has come so far
    sites/SHA256         a ZIP file of Python packages, unpacked
    runs/NAME            one run's artifact and texts; removed at its end, and by the next run if there was no end
    lock                 held by the one process that works here
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import importlib.metadata
import json
import os
import platform
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

KEPT_DAYS = 30
PIECE = 1 << 18
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


class Refused(Exception):
    """A request that cannot be met; `kind` is for the host, which knows the cure."""

    def __init__(self, kind: str, **details: Any) -> None:
        super().__init__(kind)
        self.answer = {"refused": kind, **details}


class Agent:
    """The requests, each a method; `root` is the folder that everything lives in."""

    def __init__(self, root: Path, lock: int) -> None:
        self.root = root
        self.lock = lock
        self.stdin = sys.stdin.buffer
        for name in ("files", "sites", "runs"):
            (root / name).mkdir(exist_ok=True)
        self._tidy()

    def _tidy(self) -> None:
        """Nobody else works here while the lock is held: what lies in `runs` has been left behind."""
        for left in (*(self.root / "runs").iterdir(), *(self.root / "sites").glob("*.tmp")):
            shutil.rmtree(left, ignore_errors=True)
        oldest = time.time() - KEPT_DAYS * 86400
        for path in (*(self.root / "files").iterdir(), *(self.root / "sites").iterdir()):
            if path.stat().st_mtime < oldest:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def look(self, files: list[str], sites: list[str]) -> dict[str, Any]:
        """What has come of these files (-1: all of it), which sites are there, and the free space in bytes."""
        there = {sha: self._received(sha) for sha in files}
        known = [sha for sha in sites if (self.root / "sites" / sha).is_dir()]
        for path in [self.root / "sites" / sha for sha in known]:
            os.utime(path)
        return {"received": there, "sites": known, "free": shutil.disk_usage(self.root).free}

    def _received(self, sha: str) -> int:
        file, part = self._paths(sha)
        if file.is_file():
            os.utime(file)
            return -1
        return part.stat().st_size if part.is_file() else 0

    def _paths(self, sha: str) -> tuple[Path, Path]:
        return self.root / "files" / sha, self.root / "files" / f"{sha}.part"

    def put(self, sha: str, offset: int, size: int) -> dict[str, Any]:
        """Append `size` bytes from stdin to what has come of a file; it counts only if its SHA-256 is right then."""
        file, part = self._paths(sha)
        try:
            with part.open("r+b" if offset else "wb") as stream:
                stream.truncate(offset)
                stream.seek(offset)
                self._receive(stream, size)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            part.unlink(missing_ok=True)
            raise Refused("storage", reason=error.strerror, folder=str(self.root)) from None
        if _sha256(part) != sha:
            part.unlink()
            raise Refused("damaged", sha=sha)
        part.replace(file)
        return {}

    def _receive(self, stream: BinaryIO, size: int) -> None:
        while size:
            piece = self.stdin.read(min(size, PIECE))
            if not piece:
                stream.flush()
                raise SystemExit  # the host has gone; what has come is kept
            stream.write(piece)
            size -= len(piece)

    def unpack(self, sha: str) -> dict[str, Any]:
        """Turn a ZIP file that was sent into a site; the file is not needed any more then."""
        site = self.root / "sites" / sha
        if not site.is_dir():
            staging = site.with_suffix(".tmp")
            try:
                with zipfile.ZipFile(self._paths(sha)[0]) as archive:
                    archive.extractall(staging)
                staging.rename(site)
            except OSError as error:
                shutil.rmtree(staging, ignore_errors=True)
                raise Refused("storage", reason=error.strerror, folder=str(self.root)) from None
        self._paths(sha)[0].unlink(missing_ok=True)
        return {}

    def call(
        self, arguments: list[str], sites: list[str], files: dict[str, str], contents: dict[str, str]
    ) -> dict[str, Any]:
        """Run this Python in a folder of its own that holds `files` (path: SHA-256) and `contents` (path: text)."""
        folder = Path(tempfile.mkdtemp(dir=self.root / "runs"))
        try:
            for name, sha in files.items():
                _link(self._paths(sha)[0], folder / name)
            for name, text in contents.items():
                (folder / name).write_text(text, encoding="utf-8")
            return self._run(arguments, sites, folder)
        except OSError as error:
            raise Refused("storage", reason=error.strerror, folder=str(self.root)) from None
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _run(self, arguments: list[str], sites: list[str], folder: Path) -> dict[str, Any]:
        path = os.pathsep.join(str(self.root / "sites" / sha) for sha in sites)
        rest = os.environ.get("PYTHONPATH")
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": f"{path}{os.pathsep}{rest}" if rest else path},
            start_new_session=True,
            preexec_fn=_end_with_parent,
            pass_fds=(self.lock,),  # as long as anything measures here, nobody else does
        )
        try:
            stdout = self._output(process)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            returncode = process.wait()
        return {"returncode": returncode, "stdout": stdout.decode("utf-8", "replace")}

    def _output(self, process: subprocess.Popen[bytes]) -> bytes:
        """All that a process writes to stdout. The host is silent meanwhile: what stdin then has to say is its end."""
        assert process.stdout is not None
        pieces: list[bytes] = []
        while True:
            readable, _, _ = select.select([process.stdout, self.stdin], [], [])
            if self.stdin in readable:
                raise SystemExit
            piece = os.read(process.stdout.fileno(), PIECE)
            if not piece:
                process.wait()
                return b"".join(pieces)
            pieces.append(piece)


def _end_with_parent() -> None:
    """Not even an agent that is killed leaves something measuring."""
    with contextlib.suppress(OSError, AttributeError):  # no Linux, or a C library that cannot be asked
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _link(source: Path, target: Path) -> None:
    """A second name for a file; a copy where the file system has no links, such as an SD card's FAT."""
    target.parent.mkdir(exist_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while piece := stream.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _folder() -> Path:
    """Where everything lives; Android's shell user has no home that it may write to."""
    base = os.environ.get("XDG_CACHE_HOME")
    places = [Path(base)] if base else [Path(os.environ.get("HOME", "/")) / ".cache", Path("/data/local/tmp")]
    for place in places:
        root = place / "sharcs-edge"
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            return root
        except OSError as error:
            reason = error.strerror
    raise Refused("storage", reason=reason, folder=str(places[0]))


def _take(root: Path) -> int:
    """The lock, for as long as this process and what it starts live."""
    lock = os.open(root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Refused("busy", holder=os.read(lock, 100).decode().strip()) from None
    os.ftruncate(lock, 0)
    os.write(lock, f"process {os.getpid()}, since {time.strftime('%H:%M:%S')}".encode())
    return lock


def _facts(root: Path) -> dict[str, Any]:
    """What decides which packages run here."""
    distributions = importlib.metadata.distributions()
    return {
        "machine": platform.machine(),
        "system": sys.platform,
        "python": list(sys.version_info[:3]),
        "libc": list(platform.libc_ver()),
        "executable": sys.executable,
        "folder": str(root),
        "packages": {(each.metadata["Name"] or "").lower(): each.version for each in distributions},
    }


def _answer(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Say what this device is, then meet requests until stdin ends or one cannot be met."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(1))
    try:
        root = _folder()
        agent = Agent(root, _take(root))
        _answer(_facts(root))
        while line := sys.stdin.buffer.readline():
            request = json.loads(line)
            method = getattr(agent, request.pop("do"))
            _answer(method(**request))
    except Refused as refused:
        _answer(refused.answer)
    except BrokenPipeError:  # the host has gone, and Python would complain about it once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


if __name__ == "__main__":
    main()
