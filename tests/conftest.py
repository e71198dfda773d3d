"""Tiny real models and tokenizers, built here; nothing is downloaded."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from torch import nn

    from sharcs_edge.export.exporter import GraphPlan
    from sharcs_edge_exporters.onnx import OnnxExporter

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


class _Contents(pickle.Pickler):
    """Tensors as their bytes; by default the places that they have in memory come in."""

    def reducer_override(self, thing: Any) -> Any:
        import torch

        if not isinstance(thing, torch.Tensor):
            return NotImplemented
        return tuple, ((type(thing).__name__, str(thing.dtype), (*thing.shape,), thing.detach().numpy().tobytes()),)


def fingerprint(*things: object) -> str:
    """SHA-256 of all that pickling keeps of `things`: equal for equal ones, if not always."""
    stream = io.BytesIO()
    _Contents(stream).dump(things)
    return hashlib.sha256(stream.getvalue()).hexdigest()


@pytest.fixture(scope="session")
def traced_once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[None]:
    """Float32 graphs are files by what they were traced from: equal modules are not traced again, which takes seconds.

    What is made of the files, from quantization to parity with torch, is done each time. All workers share them.
    """
    from sharcs_edge_exporters.onnx import OnnxExporter

    base = tmp_path_factory.getbasetemp()
    kept = (base if worker_id == "master" else base.parent) / "graphs"
    kept.mkdir(exist_ok=True)
    trace = OnnxExporter.export

    def export(self: OnnxExporter, graphs: Iterable[tuple[GraphPlan, nn.Module]], folder: Path) -> None:
        for plan, module in graphs:
            file = kept / f"{fingerprint(plan, module)}.onnx"
            if not file.exists():
                trace(self, [(plan, module)], folder)
                unfinished = file.with_suffix(f".{worker_id}")
                unfinished.write_bytes((folder / plan.file).read_bytes())
                unfinished.rename(file)
            (folder / plan.file).write_bytes(file.read_bytes())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OnnxExporter, "export", export)
        yield
