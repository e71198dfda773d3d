"""The artifact folder: opening it with every file checked, and writing folders and files that are never half there."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sharcs_edge_runtime.errors import ArtifactError, SharcsEdgeError, UsageError
from sharcs_edge_runtime.manifest import MANIFEST_NAME, FileRef, Graph, Manifest

_CURE = "copy the artifact again or export it again"
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True)
class Artifact:
    """An artifact whose manifest was read and whose files were checked; `path` is absolute."""

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: str | os.PathLike[str], verify_hashes: bool = True) -> Artifact:
        """Read the manifest; check that every file is there, has its size and (`verify_hashes`) its SHA-256.

        Raises ArtifactError naming the file, ManifestError listing every problem of the manifest.
        """
        folder = Path(path)
        manifest_file = folder / MANIFEST_NAME
        try:
            data = manifest_file.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise ArtifactError(_no_manifest(folder)) from None
        except OSError as error:
            raise ArtifactError(f"cannot read {manifest_file}: {error.strerror or error}") from None
        artifact = cls(folder.resolve(), Manifest.parse(data, str(manifest_file)))
        for entry in artifact.manifest.all_files:
            artifact._check_size(entry)
        if verify_hashes:
            for entry in artifact.manifest.all_files:
                artifact._check_hash(entry)
        return artifact

    def file(self, entry: FileRef | Graph | str) -> Path:
        """The path of a file of the artifact."""
        return self.path / (entry if isinstance(entry, str) else entry.file)

    @property
    def tokenizer_file(self) -> Path:
        """The path of the Hugging Face fast tokenizer."""
        return self.path / self.manifest.tokenizer.file

    @property
    def golden_file(self) -> Path:
        """The path of the golden inputs and outputs."""
        return self.path / self.manifest.golden.file

    def _check_size(self, entry: FileRef) -> None:
        file = self.file(entry)
        if not file.is_file():
            raise ArtifactError(f"{self.path}: the manifest names {entry.file}, which is not there: {_CURE}")
        if file.resolve().parent != self.path:
            raise ArtifactError(f"{self.path}: {entry.file} is a link that leads out of the artifact: {_CURE}")
        size = file.stat().st_size
        if size != entry.bytes:
            raise ArtifactError(
                f"{self.path}: {entry.file} has {size} bytes, the manifest says {entry.bytes}: "
                f"it was cut off or edited; {_CURE}"
            )

    def _check_hash(self, entry: FileRef) -> None:
        try:
            found = file_sha256(self.file(entry))
        except OSError as error:
            raise ArtifactError(f"cannot read {self.file(entry)}: {error.strerror or error}") from None
        if found != entry.sha256:
            raise ArtifactError(
                f"{self.path}: {entry.file} has SHA-256 {found}, the manifest says {entry.sha256}: "
                f"it was damaged or edited; {_CURE}"
            )


def _no_manifest(folder: Path) -> str:
    if not folder.exists():
        return f"{folder} does not exist; expected an artifact folder that `sharcs-edge export` wrote"
    if not folder.is_dir():
        return f"{folder} is a file; expected an artifact folder that `sharcs-edge export` wrote"
    return f"{folder} holds no {MANIFEST_NAME}; expected an artifact folder that `sharcs-edge export` wrote"


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, as 64 lower-case hex digits, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def file_reference(path: Path) -> FileRef:
    """The manifest entry of a file that exists."""
    return FileRef(path.name, file_sha256(path), path.stat().st_size)


def write_file_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file through a temporary sibling and a rename: a crash leaves the old content or the new, never a part.

    The folder must exist. Raises SharcsEdgeError if the disk is full or the folder cannot be written.
    """
    target = Path(path)
    temporary = _sibling(target, "tmp")
    try:
        with temporary.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)
        _sync_folder(target.parent)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise _storage_error(error, target, len(data)) from error
        raise


@contextmanager
def staged_folder(target: str | os.PathLike[str], overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty temporary sibling of `target` that becomes `target` if the block ends well.

    On any exception (Ctrl-C too) it is removed and `target` stays as it was. An existing folder that is not empty is
    refused (UsageError) unless `overwrite`; then it is replaced only at the end. A full disk becomes SharcsEdgeError.
    """
    final = Path(target).resolve()
    _check_target(final, overwrite)
    staging = _sibling(final, "tmp")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        staging.mkdir()
    except OSError as error:
        raise _storage_error(error, final) from error
    try:
        yield staging
        _check_target(final, overwrite)
        _commit(staging, final)
    except BaseException as error:
        shutil.rmtree(staging, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in _NO_SPACE:
            raise _storage_error(error, final) from error
        raise


def _check_target(target: Path, overwrite: bool) -> None:
    if target.exists() and not target.is_dir():
        raise UsageError(f"{target} is a file; give the name of a folder to write")
    if target.is_dir() and any(target.iterdir()):
        if not overwrite:
            raise UsageError(f"{target} exists and is not empty; name another folder or ask for it to be overwritten")
        if Path.cwd().is_relative_to(target):
            raise UsageError(f"{target} holds the working directory and is not overwritten; name another folder")


def _commit(staging: Path, final: Path) -> None:
    """Flush to disk and rename; an old folder is put back if the last step fails."""
    for path in (*staging.rglob("*"), staging):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
        elif path.is_dir():
            _sync_folder(path)
    old = _sibling(final, "old")
    replaced = final.exists()
    try:
        if replaced:
            final.rename(old)
        staging.rename(final)
    except BaseException as error:
        if old.exists() and not final.exists():
            old.rename(final)
        if isinstance(error, OSError):
            raise _storage_error(error, final) from error
        raise
    _sync_folder(final.parent)
    if replaced:
        shutil.rmtree(old, ignore_errors=True)


def _sibling(path: Path, suffix: str) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.{suffix}")


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut, where the system can flush folders (Windows cannot)."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _storage_error(error: OSError, target: Path, needed: int | None = None) -> SharcsEdgeError:
    if error.errno not in _NO_SPACE:
        return SharcsEdgeError(f"cannot write {target}: {error.strerror or error}")
    amount = f", {needed} bytes are needed" if needed is not None else ""
    with suppress(OSError):
        amount += f", {shutil.disk_usage(target.parent).free} are free"
    return SharcsEdgeError(f"cannot write {target}: the disk is full{amount}; free some space or name another folder")
