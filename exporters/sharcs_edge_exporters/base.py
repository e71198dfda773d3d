"""What every exporter shares: the contract it fulfils and example inputs to trace a module with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sharcs_edge.export.exporter import Exporter, GraphPlan
from sharcs_edge_runtime.manifest import TensorSpec

__all__ = ["Exporter", "GraphPlan", "example_inputs"]

# Unlike each other and unlike any size of a model's weights that could hide a mixed-up dimension; above 1, which
# tracers take for a constant.
_EXAMPLE_SIZES = {"batch": 3, "tokens": 7}


def example_inputs(specs: Sequence[TensorSpec]) -> tuple[Tensor, ...]:
    """One tensor of ones per input, each an object of its own: a tracer takes one object passed twice for one input."""
    return tuple(
        torch.ones(
            tuple(_EXAMPLE_SIZES[size] if isinstance(size, str) else size for size in spec.shape),
            dtype=getattr(torch, spec.dtype),
        )
        for spec in specs
    )
