"""Weights of a TFLite artifact, kept in the order that XNNPACK likes on this processor (SPEC.md, section 9).

One file per artifact, processor and version of the library; the system maps it, so that processes share its pages. It
appears by a rename, complete, and is never written again: a crash, a full disk or a second process leaves the old one,
the new one or none. A name also holds the folder of the artifact, and a new file drops those that the same folder's
former artifacts left behind; whoever still has them mapped keeps them until it ends.
"""

from __future__ import annotations

import hashlib
import os
import platform
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

from sharcs_edge_runtime.errors import UsageError

FOLDER_VARIABLE: Final = "SHARCS_EDGE_CACHE"
_SUFFIX: Final = ".xnnpack"
_CPUINFO: Final = Path("/proc/cpuinfo")
Built = TypeVar("Built")


def cache_folder(chosen: Path | None) -> Path:
    """The folder that the caller chose, else that of the environment variable, else one in the user's cache folder."""
    if chosen is not None:
        return chosen
    from_environment = os.environ.get(FOLDER_VARIABLE)
    if from_environment:
        return Path(from_environment)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "sharcs-edge"


def processor_id(cpuinfo: Path = _CPUINFO) -> str:
    """8 hex digits that change with the instruction set, on which the order of the weights depends."""
    facts = [platform.machine()]
    with suppress(OSError):
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
        facts += sorted({line for line in lines if line.partition(":")[0].strip() in ("flags", "Features", "CPU part")})
    return _digits("\n".join(facts))


def with_weight_cache(
    chosen: Path | None, file: Path, sha256: str, library: str, load: Callable[[Path | None], Built]
) -> tuple[Built, Path | None]:
    """What `load` makes of a cache file, and that file.

    `load` gets a file that is there and complete, or one that it is to write, or None: to do without, if nothing can be
    written. A folder that the caller `chosen` must work: UsageError if it cannot be written.
    """
    folder = cache_folder(chosen).absolute()
    origin = _digits(str(file.parent))
    stem = f"{origin}-{sha256[:16]}-{processor_id()}-{library}"
    try:
        if any(character in str(folder) for character in '"\\\n'):
            raise OSError("its name holds a quote, a backslash or a line break")
        found = _complete(folder, stem)
        if found is not None:
            return load(found), found
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f".{stem}.{uuid.uuid4().hex[:12]}.tmp"
        draft.touch(mode=0o600, exist_ok=False)
        draft.unlink()
    except OSError as error:
        if chosen is None:
            return load(None), None
        raise UsageError(
            f"{folder} cannot hold the weight cache: {error.strerror or error}; name a folder that can be written"
        ) from error
    try:
        built = load(draft)
        return built, _keep(draft, folder, stem, origin)
    finally:
        with suppress(OSError):
            draft.unlink()


def _complete(folder: Path, stem: str) -> Path | None:
    """The file's name ends in its size, so that one that was cut off is not taken."""
    for file in folder.glob(f"{stem}-*{_SUFFIX}"):
        size = file.name.removesuffix(_SUFFIX).rpartition("-")[2]
        if size == str(file.stat().st_size):
            return file
    return None


def _keep(draft: Path, folder: Path, stem: str, origin: str) -> Path | None:
    """Gives the draft its name, and drops what the same origin had before. None if the library wrote no file."""
    try:
        with draft.open("rb") as stream:
            os.fsync(stream.fileno())
        final = folder / f"{stem}-{draft.stat().st_size}{_SUFFIX}"
        draft.replace(final)
    except OSError:
        return None
    for file in folder.glob(f"{origin}-*{_SUFFIX}"):
        if file != final:
            with suppress(OSError):
                file.unlink()
    return final


def _digits(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
