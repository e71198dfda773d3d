"""SHARCS Edge on the device: load an artifact, answer texts with no more compute than each of them needs.

from sharcs_edge_runtime import Session
print(Session.load("artifact").predict("turn on the light"))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sharcs_edge_runtime.version import __version__

if TYPE_CHECKING:
    from sharcs_edge_runtime.artifact import Artifact
    from sharcs_edge_runtime.budget import Budget, Rule
    from sharcs_edge_runtime.manifest import Manifest
    from sharcs_edge_runtime.onnx_backend import share_thread_pool
    from sharcs_edge_runtime.session import Prediction, Session

__all__ = ["Artifact", "Budget", "Manifest", "Prediction", "Rule", "Session", "__version__", "share_thread_pool"]

# Loaded on first use: a program that only catches our errors, or prints --help, pays neither numpy nor ONNX Runtime.
_HOMES = {
    "Artifact": "artifact",
    "Budget": "budget",
    "Manifest": "manifest",
    "Prediction": "session",
    "Rule": "budget",
    "Session": "session",
    "share_thread_pool": "onnx_backend",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
