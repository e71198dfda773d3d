"""JSON files that measuring commands add to an artifact, each bound to its manifest by hash (SPEC.md, section 1).

Encoding, canonical form and refusals are those of the manifest.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

from sharcs_edge_runtime._strict_json import INVALID, Reader, decode, fields, pattern, show, text
from sharcs_edge_runtime.artifact import Artifact, file_sha256, write_file_atomically
from sharcs_edge_runtime.errors import ArtifactError, DocumentError
from sharcs_edge_runtime.manifest import MANIFEST_NAME, Manifest
from sharcs_edge_runtime.version import __version__

BINDING: Final[Mapping[str, Reader]] = {
    "manifest_sha256": pattern(r"[0-9a-f]{64}", "a SHA-256 of 64 lower-case hex digits"),
    "created": text(),
}
"""The fields behind `schema_version` that every such file has."""

_Kind = TypeVar("_Kind", bound="Attached")


@dataclass(frozen=True)
class Attached(ABC):
    """What such a file is read into.

    A subclass names its file, its schema version and the command that writes it, and says what it refuses.

    Attributes:
        manifest_sha256: of the artifact's `manifest.json`, as hex digits.
        created: date and time, ISO 8601.
    """

    _NAME: ClassVar[str]
    _VERSION: ClassVar[int]
    _COMMAND: ClassVar[str]
    _CURE: ClassVar[str]

    schema_version: int
    manifest_sha256: str
    created: str

    @classmethod
    @abstractmethod
    def _readers(cls) -> Mapping[str, Reader]:
        """Of every field."""

    @classmethod
    @abstractmethod
    def _inconsistencies(cls, sound: Mapping[str, Any]) -> Iterable[str]:
        """Every broken rule between the fields that could be read, as ``<what> @ <JSON path>``."""

    @abstractmethod
    def _misfits(self, manifest: Manifest) -> Iterable[str]:
        """What does not suit the artifact, whose manifest the hash has identified."""

    @classmethod
    def parse(cls: type[_Kind], data: bytes, source: str | None = None) -> _Kind:
        """Read the file's bytes. DocumentError lists every problem with its JSON path; `source` names the file."""
        source = source or cls._NAME
        try:
            document = decode(data)
        except ValueError as error:
            raise DocumentError(source, (f"it is not UTF-8 JSON ({error}) @ $",), cls._CURE) from None
        cls._refuse_newer(document, source)
        problems: list[str] = []
        values = fields(document, "$", problems, cls._readers())
        sound = {key: value for key, value in (values or {}).items() if value is not INVALID}
        problems += cls._inconsistencies(sound)
        if problems:
            raise DocumentError(source, tuple(problems), cls._CURE)
        return cls(**sound)

    @classmethod
    def load(cls: type[_Kind], artifact: Artifact) -> _Kind | None:
        """The file of an artifact, None if it has none.

        Raises DocumentError for a file that cannot be read, ArtifactError for one that was made for another artifact.
        """
        file = artifact.file(cls._NAME)
        try:
            data = file.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ArtifactError(f"cannot read {file}: {error.strerror or error}") from None
        found = cls.parse(data, str(file))
        found._check_fit(file, artifact)
        return found

    def to_json(self) -> bytes:
        """Canonical bytes (SPEC.md, section 2.1). DocumentError if `parse` would refuse them."""
        return type(self).parse(self._dump())._dump()  # numbers that were given as integers become floats

    def write(self, artifact: Artifact) -> Path:
        """Put the file into the artifact, atomically, and return its path; an older one is replaced.

        Raises DocumentError or ArtifactError, and writes nothing, for what `load` would refuse.
        """
        file = artifact.file(self._NAME)
        data = self.to_json()
        self._check_fit(file, artifact)
        write_file_atomically(file, data)
        return file

    def _dump(self) -> bytes:
        plain: dict[str, Any] = asdict(self)
        if "tools" in plain:
            plain["tools"] = dict(sorted(plain["tools"].items()))
        try:
            return (json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")
        except (TypeError, ValueError) as error:
            raise DocumentError(self._NAME, (f"a value cannot be written as JSON ({error}) @ $",)) from None

    @classmethod
    def _refuse_newer(cls, document: Any, source: str) -> None:
        """A newer schema is refused before its unknown fields are, which would only hide the reason."""
        version = document.get("schema_version") if isinstance(document, dict) else None
        if isinstance(version, int) and not isinstance(version, bool) and version > cls._VERSION:
            problem = (
                f"schema_version is {show(version)}, and sharcs-edge-runtime {__version__} reads {cls._VERSION}: "
                f"update sharcs-edge-runtime, or {cls._COMMAND} again with the sharcs-edge of this version "
                "@ $.schema_version"
            )
            raise DocumentError(source, (problem,))

    def _check_fit(self, file: Path, artifact: Artifact) -> None:
        found = file_sha256(artifact.file(MANIFEST_NAME))
        if self.manifest_sha256 != found:
            raise ArtifactError(
                f"{file} was made for another artifact: for the manifest {self.manifest_sha256[:12]}..., and this one "
                f"has the SHA-256 {found[:12]}...; {self._CURE}"
            )
        if problems := tuple(self._misfits(artifact.manifest)):
            raise DocumentError(str(file), problems, self._CURE)
