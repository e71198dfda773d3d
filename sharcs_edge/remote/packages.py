"""What a device needs to run an artifact, as ZIP files of Python packages that only have to be unpacked there.

Neither pip nor the internet is needed on the device: wheels are fetched here, for its system and Python.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import sharcs_edge_runtime
from sharcs_edge.device import DeviceProfile
from sharcs_edge.remote.transport import RemoteError
from sharcs_edge_runtime.artifact import file_sha256, write_file_atomically

if TYPE_CHECKING:
    from sharcs_edge.remote.device import Facts

_RUNTIME: Final = "sharcs-edge-runtime"
_ENGINES: Final = {"onnx": "onnxruntime", "tflite": "ai-edge-litert"}
_EXTRA: Final = {"onnx": "", "tflite": "litert"}
_OLDEST_GLIBC_MINOR: Final = 17  # of manylinux2014, the oldest that engines are built for
_DATE: Final = (1980, 1, 1, 0, 0, 0)  # equal contents make equal files
_fetching = threading.Lock()


@dataclass(frozen=True)
class Site:
    """A ZIP file of packages, by its content; `unpacked`: the bytes that its files take."""

    sha256: str
    path: Path
    unpacked: int

    @classmethod
    def of(cls, path: Path) -> Site:
        """Of a file that exists."""
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        return cls(file_sha256(path), path, unpacked)


def runtime_site() -> Site:
    """The runtime that this process uses itself, whatever way it was installed."""
    folder = Path(sharcs_edge_runtime.__file__).parent
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)
    data = _zip((path.relative_to(folder.parent).as_posix(), path.read_bytes()) for path in files)
    target = _cache() / f"runtime-{hashlib.sha256(data).hexdigest()[:16]}.zip"
    if not target.is_file():
        write_file_atomically(target, data)
    return Site.of(target)


def requirements(backend: str, python: Sequence[int]) -> list[Requirement]:
    """What the runtime requires for artifacts of `backend` on this version of Python, by its own metadata."""
    version = ".".join(map(str, python))
    environment = {
        "python_version": ".".join(map(str, python[:2])),
        "python_full_version": version,
        "extra": _EXTRA[backend],
    }
    others = {name for key, name in _ENGINES.items() if key != backend}
    parsed = map(Requirement, importlib.metadata.requires(_RUNTIME) or ())
    return [
        each for each in parsed if each.name not in others and (not each.marker or each.marker.evaluate(environment))
    ]


def unmet(needed: Iterable[Requirement], installed: Mapping[str, str], target: DeviceProfile | None) -> list[str]:
    """The requirements that `installed` (name: version) does not meet, or only with a version that `target` blocks."""
    versions = {canonicalize_name(name): version for name, version in installed.items()}
    return [
        str(each).partition(";")[0].strip()
        for each in needed
        if (version := versions.get(canonicalize_name(each.name))) is None
        or not each.specifier.contains(version, prereleases=True)
        or (target is not None and target.blocked_by(each.name, version))
    ]


def engine_site(needed: Sequence[Requirement], facts: Facts, target: DeviceProfile | None) -> Site:
    """The packages that meet `needed` on a device with these facts, fetched once and kept.

    Raises RemoteError if there are none for it or they cannot be fetched.
    """
    words = sorted(str(each).partition(";")[0].strip() for each in needed)
    tags = _platforms(facts, words)
    key = hashlib.sha256(repr((words, tags, facts.python[:2])).encode()).hexdigest()[:16]
    path = _cache() / f"engine-{key}.zip"
    with _fetching:  # devices of one kind ask for the same at the same moment
        if not path.is_file():
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                _download(words, tags, facts, Path(folder))
                merged = Path(folder) / "merged.zip"
                _merge(sorted(Path(folder).glob("*.whl")), merged)
                merged.replace(path)
    with zipfile.ZipFile(path) as archive:
        versions = dict(_version_of(name) for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    if blocked := unmet(needed, versions, target):
        raise RemoteError(
            f"of {', '.join(blocked)} only a version that {target.name if target else 'the target'} blocks was found; "
            f"install another one on the device (and remove {path})"
        )
    return Site.of(path)


def _version_of(metadata: str) -> tuple[str, str]:
    name, _, version = metadata.partition(".dist-info/")[0].rpartition("-")
    return name, version


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(base) if base else Path.home() / ".cache") / "sharcs-edge" / "packages"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _platforms(facts: Facts, words: Sequence[str]) -> list[str]:
    """The wheel platforms that a device takes, the newest first."""
    name, version = facts.libc
    if facts.system != "linux" or name != "glibc":
        raise RemoteError(
            f"packages are missing on the device ({', '.join(words)}), and can only be sent to Linux with glibc, not "
            f"to {facts.system} ({facts}): install them there"
        )
    minor = int(version.split(".")[1])
    tags = [f"manylinux_2_{each}_{facts.machine}" for each in range(minor, _OLDEST_GLIBC_MINOR - 1, -1)]
    return [*tags, f"manylinux2014_{facts.machine}"]


def _download(words: Sequence[str], tags: Sequence[str], facts: Facts, folder: Path) -> None:
    python = f"{facts.python[0]}.{facts.python[1]}"
    abi = f"cp{facts.python[0]}{facts.python[1]}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--dest", str(folder)]
    command += ["--implementation=cp", f"--python-version={python}", f"--abi={abi}", "--abi=abi3", "--abi=none"]
    done = subprocess.run(
        [*command, *(f"--platform={tag}" for tag in tags), *words], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["pip gave no reason"]
        reason = next((line for line in said if line.startswith("ERROR: No matching")), said[-1])
        raise RemoteError(
            f"cannot fetch {', '.join(words)} for {facts} with this machine's pip ({reason.removeprefix('ERROR: ')}): "
            "check its connection, or install them on the device"
        )


def _merge(wheels: Sequence[Path], target: Path) -> None:
    """Lay wheels over each other; what would go beside the packages (scripts, headers) is left out."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as merged:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as archive:
                for member in archive.infolist():
                    place = _place(member.filename)
                    if place is None or member.is_dir() or place in merged.NameToInfo:
                        continue
                    entry = zipfile.ZipInfo(place, _DATE)
                    entry.compress_type = zipfile.ZIP_DEFLATED
                    with archive.open(member) as source, merged.open(entry, "w") as sink:
                        shutil.copyfileobj(source, sink)


def _place(name: str) -> str | None:
    head, _, rest = name.partition("/")
    if not head.endswith(".data"):
        return name
    kind, _, rest = rest.partition("/")
    return rest if kind in ("purelib", "platlib") else None


def _zip(files: Iterable[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files:
            archive.writestr(zipfile.ZipInfo(name, _DATE), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
