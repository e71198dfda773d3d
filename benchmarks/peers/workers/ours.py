"""SHARCS Edge: an artifact through the runtime that ships. Ways: "full", "routed", or "width R"; and "is full", whose
answer is 1 where the routed way ends at the full width.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.peers.workers.tokens import Answer
from sharcs_edge_runtime.budget import Budget
from sharcs_edge_runtime.onnx_backend import share_thread_pool
from sharcs_edge_runtime.session import Session


def load(source: Path, folder: Path, threads: int) -> Answer:
    if threads > 1 and any(folder.glob("*.onnx")):
        share_thread_pool(threads)  # this program has no other sessions, so it does as the README says
    session = Session.load(folder, threads=threads)
    number = {label: index for index, label in enumerate(session.labels)}
    budgets = {"full": Budget(width=session.widths[-1]), "routed": Budget()}
    budgets |= {f"width {width:g}": Budget(width=width) for width in session.widths}

    def answer(text: Any, way: str) -> int:
        if way == "is full":
            return int(session.predict(text).width == session.widths[-1])
        label = session.predict(text, budget=budgets[way]).label
        assert label is not None  # a classification
        return number[label]

    return answer


def versions() -> dict[str, str]:
    """Of the engine: an environment that has LiteRT is for TFLite artifacts."""
    try:
        return {"ai-edge-litert": version("ai-edge-litert")}
    except PackageNotFoundError:
        return {"onnxruntime": version("onnxruntime")}
