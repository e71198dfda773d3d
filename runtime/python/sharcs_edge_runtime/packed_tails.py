"""Tails of an ONNX artifact with their weights in the order that this processor likes, in files (SPEC.md, section 9).

Otherwise ONNX Runtime repacks the weights of every tail into private memory. It can write the repacked ones beside the
graph that it optimized; read from there, the system maps them, shares them between processes and takes them back when
memory is short. While loading, ONNX Runtime repacks all the same, one weight at a time, and uses the file's only where
the result is equal: a file from another processor costs memory and never changes an answer.

A tail is a folder that appears by a rename, complete, and is never written again. A new one drops those that former
artifacts of the same folder left behind; whoever still has them mapped keeps them until it ends.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sharcs_edge_runtime.artifact import Artifact
from sharcs_edge_runtime.errors import ArtifactError, UsageError
from sharcs_edge_runtime.manifest import Graph
from sharcs_edge_runtime.weight_cache import FOLDER_VARIABLE, processor_id

GRAPH_FILE: Final = "graph.onnx"
WEIGHTS_FILE: Final = "packed.bin"  # not "weights.bin": nothing may be looked up at offsets of the artifact's file
_SUFFIX: Final = ".packed"
_FIRST_VERSION: Final = (1, 22)  # of ONNX Runtime; older ones leave the repacked weights out


class PackedTails:
    """The folder of packed tails for one artifact, processor and version of ONNX Runtime."""

    def __init__(self, folder: Path, is_chosen: bool, artifact: Artifact, version: str) -> None:
        """`is_chosen`: by the caller, who is told if the folder cannot be written."""
        self.folder = folder.absolute()
        self._is_chosen = is_chosen
        self._origin = _digits(str(artifact.path))
        self._weights = [entry.sha256 for entry in artifact.manifest.files]
        self._environment = f"{processor_id()}-{version}"

    @classmethod
    def of(cls, artifact: Artifact, chosen: Path | None, version: str) -> PackedTails | None:
        """In the folder that the caller chose, else that of the environment variable; None without either.

        It takes more than twice the room of the tails themselves, so that it is never made unasked.
        """
        from_environment = os.environ.get(FOLDER_VARIABLE)
        folder = chosen or (Path(from_environment) if from_environment else None)
        numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
        if folder is None or numbers < _FIRST_VERSION:
            return None
        return cls(folder, chosen is not None, artifact, version)

    def file(self, graph: Graph, write: Callable[[Path], object]) -> Path | None:
        """The packed graph; None if there is none and none can be made.

        `write` puts a graph and its weights beside the path that it gets, or raises ArtifactError. Raises UsageError
        where the folder that the caller chose cannot be written.
        """
        stem = f"{self._origin}-{graph.name}-{_digits(graph.sha256, *self._weights)}-{self._environment}"
        draft = self.folder / f".{stem}.{uuid.uuid4().hex[:12]}.tmp"
        try:
            found = self._complete(stem)
            if found is not None:
                return found
            draft.mkdir(mode=0o700, parents=True)
            write(draft / GRAPH_FILE)
            self._keep(draft, stem)
            self._drop_others(f"{self._origin}-{graph.name}-", stem)
            return self._complete(stem)
        except ArtifactError:
            return None
        except OSError as error:
            if not self._is_chosen:
                return None
            raise UsageError(
                f"{self.folder} cannot hold the weight cache: {error.strerror or error}; name a folder that can be "
                "written"
            ) from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _complete(self, stem: str) -> Path | None:
        """The folder's name ends in the bytes of its files, so that one that was cut off is not taken."""
        for folder in self.folder.glob(f"{stem}-*{_SUFFIX}"):
            if folder.name.removesuffix(_SUFFIX).rpartition("-")[2] == str(_size(folder)):
                return folder / GRAPH_FILE
        return None

    def _keep(self, draft: Path, stem: str) -> None:
        for file in draft.iterdir():
            with file.open("rb+") as stream:
                os.fsync(stream.fileno())
        final = self.folder / f"{stem}-{_size(draft)}{_SUFFIX}"
        if final.exists() and self._complete(stem) is None:
            shutil.rmtree(final, ignore_errors=True)
        try:
            draft.rename(final)
        except OSError:
            if self._complete(stem) is None:  # else another process was faster
                raise

    def _drop_others(self, prefix: str, stem: str) -> None:
        for folder in self.folder.glob(f"{prefix}*{_SUFFIX}"):
            if not folder.name.startswith(stem):
                shutil.rmtree(folder, ignore_errors=True)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def _digits(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
