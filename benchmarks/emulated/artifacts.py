"""The model whose instructions are counted: random weights of a fixed seed, large for every kernel's main path."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sharcs_edge.export import ExportOptions
from sharcs_edge.export.run import export_bundle
from tests.integration.conftest import write_tiny_bundle

WIDTHS: Final = (0.25, 0.5, 1.0)
LENGTHS: Final = (16, 48)  # an input of usual length and the longest one
_SIZES: Final = (
    ("hidden_size", 128),
    ("num_hidden_layers", 3),
    ("num_attention_heads", 4),
    ("intermediate_size", 256),
)


def write_bundle(folder: Path) -> Path:
    """Three layers of which one is the trunk; eight golden texts of at most 22 tokens."""
    return write_tiny_bundle(folder, "bert", rows=8, sizes=_SIZES, widths=WIDTHS, trunk_layers=1)


def write_artifact(bundle: Path, folder: Path, target: str, backend: str) -> Path:
    """The artifact that a user gets for a target, by its preset."""
    return export_bundle(bundle, folder, ExportOptions(target, backend=backend)).artifact
