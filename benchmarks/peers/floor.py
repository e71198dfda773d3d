"""The arithmetic floor: what the machine computes in a large product of matrices, and what a model would take at that.

int8 for the linears, float32 for attention (scores and context), as every engine here does. Norms, softmax, lookups and
all movement of data count nothing, so that no engine reaches it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from sharcs_edge_runtime.manifest import Macs

_SIZE = 512
_SECONDS = 2.0


@dataclass(frozen=True)
class Floor:
    """Multiply-accumulates per ms, the best of many runs."""

    int8: float
    float32: float

    def ms(self, macs: list[Macs], tokens: int) -> float:
        """Of graphs that run one after the other on one input."""
        linear = sum(one.per_row + tokens * one.per_token for one in macs)
        attention = sum(one.per_token_squared * tokens**2 for one in macs)
        return linear / self.int8 + attention / self.float32


def measure_floor(threads: int) -> Floor:
    """By torch's kernels (oneDNN, MKL) and ONNX Runtime's (MLAS), whichever are faster here."""
    torch.set_num_threads(threads)
    generator = np.random.default_rng(0)
    weights = generator.integers(-127, 128, (_SIZE, _SIZE), dtype=np.int8)
    as_float, as_bytes = weights.astype(np.float32), weights.view(np.uint8)
    tensor, float_tensor = torch.from_numpy(weights), torch.from_numpy(as_float)
    integer, real = _product("MatMulInteger", weights, threads), _product("MatMul", as_float, threads)
    return Floor(
        int8=max(_rate(lambda: torch._int_mm(tensor, tensor)), _rate(lambda: integer.run(None, {"left": as_bytes}))),
        float32=max(_rate(lambda: float_tensor @ float_tensor), _rate(lambda: real.run(None, {"left": as_float}))),
    )


def _product(operator: str, weights: NDArray[Any], threads: int) -> onnxruntime.InferenceSession:
    """A graph that multiplies what it gets by `weights`."""
    integer = weights.dtype == np.int8
    left = helper.make_tensor_value_info("left", TensorProto.UINT8 if integer else TensorProto.FLOAT, weights.shape)
    out = helper.make_tensor_value_info("out", TensorProto.INT32 if integer else TensorProto.FLOAT, weights.shape)
    node = helper.make_node(operator, ["left", "weights"], ["out"])
    graph = helper.make_graph([node], "product", [left], [out], [numpy_helper.from_array(weights, "weights")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _rate(product: Callable[[], object]) -> float:
    best, end = float("inf"), perf_counter() + _SECONDS
    product()
    while perf_counter() < end:
        start = perf_counter()
        product()
        best = min(best, perf_counter() - start)
    return _SIZE**3 / (1000 * best)
