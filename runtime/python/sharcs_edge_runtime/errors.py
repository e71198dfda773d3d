"""The errors that a caller may meet.

Every message is one sentence that says what was given, what was expected and the cure. `exit_code` is what a
command line tool returns for it: 1 error, 2 wrong use, 3 a check failed.
"""

from __future__ import annotations

from typing import ClassVar


class SharcsEdgeError(Exception):
    """Base of all errors of SHARCS Edge."""

    exit_code: ClassVar[int] = 1


class UsageError(SharcsEdgeError):
    """An argument or option is wrong; nothing was computed."""

    exit_code: ClassVar[int] = 2


class WidthError(UsageError):
    """A width that the artifact does not have, or limits that no width satisfies."""


class InputError(SharcsEdgeError):
    """A text (or label) that cannot be processed; the message names its position and the cure."""


class ArtifactError(SharcsEdgeError):
    """The artifact folder is missing, incomplete, damaged, or unreadable by this runtime."""


class DocumentError(ArtifactError):
    """A JSON file of the artifact breaks the contract of SPEC.md."""

    _SHOWN = 20
    _PLACE: ClassVar[str] = ""

    def __init__(self, source: str, problems: tuple[str, ...], cure: str = "") -> None:
        """`problems`: every violation found, each as ``<what> @ <JSON path>``."""
        self.source = source
        self.problems = tuple(problems)
        self.cure = cure
        shown = "; ".join(self.problems[: self._SHOWN])
        more = len(self.problems) - self._SHOWN
        tail = f"; and {more} more" if more > 0 else ""
        count = f"{len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}"
        super().__init__(f"{source}: {count}{self._PLACE}: {shown}{tail}{f'; {cure}' if cure else ''}")

    def __reduce__(self) -> tuple[type[DocumentError], tuple[str, tuple[str, ...], str]]:
        return type(self), (self.source, self.problems, self.cure)


class ManifestError(DocumentError):
    """`manifest.json` breaks the contract of SPEC.md."""

    _PLACE = " in the manifest"


class CheckFailed(SharcsEdgeError):
    """A check ran to its end and its limit was not met."""

    exit_code: ClassVar[int] = 3


class ParityError(CheckFailed):
    """The artifact, run by the real runtime, does not agree with torch within its tolerance."""


class EngineError(SharcsEdgeError):
    """The library that computes does not run on this processor; the message holds the version and the cure."""


class MissingDependencyError(SharcsEdgeError):
    """An optional package is needed; the message holds the command that installs it."""
