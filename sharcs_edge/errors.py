"""Every error that the host toolkit raises on purpose; each kind carries the exit code of the command that meets it.

The tree is rooted in `sharcs_edge_runtime.errors.SharcsEdgeError`, so that one `except` clause covers the toolkit and
the runtime. A message states what was given, what was expected and the cure, in one sentence.

==========  =====================================================
exit code   meaning
==========  =====================================================
0           done
1           an error in the input, the data, a file or a library
2           usage: an option or an argument cannot be right
3           a check failed: parity, a budget, a regression
==========  =====================================================
"""

from sharcs_edge_runtime.errors import (
    ArtifactError,
    CheckFailed,
    InputError,
    ManifestError,
    MissingDependencyError,
    ParityError,
    SharcsEdgeError,
    UsageError,
    WidthError,
)

__all__ = [
    "ArtifactError",
    "BundleError",
    "CheckFailed",
    "DataError",
    "DeviceError",
    "ExportError",
    "InputError",
    "ManifestError",
    "MissingDependencyError",
    "OtherProcessFailed",
    "ParityError",
    "SharcsEdgeError",
    "TrainingError",
    "UsageError",
    "WidthError",
]


class DataError(SharcsEdgeError):
    """Labelled text cannot be used as it is; the message names the file and the line or row."""


class BundleError(SharcsEdgeError):
    """A bundle folder is incomplete, was edited, or was written by an unknown version."""


class DeviceError(UsageError):
    """A target is not a known device profile, or its profile is not valid."""


class TrainingError(SharcsEdgeError):
    """Training cannot start or go on."""


class OtherProcessFailed(TrainingError):
    """One of several processes that train together failed; that one says why."""


class ExportError(SharcsEdgeError):
    """A bundle cannot be turned into an artifact."""
