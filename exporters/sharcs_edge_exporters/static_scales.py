"""Fixed scales for the activations of int8 ONNX graphs: ranges seen on calibration texts, written as QDQ.

docs/adr/0018-static-activation-scales.md has the measurements.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx_ir.passes.common import CommonSubexpressionEliminationPass, RemoveUnusedNodesPass
from onnxruntime import InferenceSession, SessionOptions
from onnxscript.rewriter import RewritePass, pattern

from sharcs_edge_exporters.base import GraphPlan
from sharcs_edge_exporters.quantize import stays_float, weight_matmuls
from sharcs_edge_exporters.rewrites import constant
from sharcs_edge_runtime.tokenization import TokenBatch

_LARGEST_CODE: Final = 255


class Range(NamedTuple):
    """The smallest and the largest number seen in a tensor."""

    low: float
    high: float

    def widened(self, array: NDArray[np.float32]) -> Range:
        return Range(min(self.low, float(array.min())), max(self.high, float(array.max())))

    @property
    def scale(self) -> np.float32:
        """Of uint8 codes for all numbers between, and for zero, which is always one of them."""
        return np.float32((self.high - self.low) / _LARGEST_CODE) or np.float32(1)

    @property
    def zero_point(self) -> np.uint8:
        return np.uint8(round(-self.low / float(self.scale)))


_ZERO: Final = Range(0.0, 0.0)


def activation_ranges(
    graphs: Sequence[GraphPlan], source: Path, rows: Iterable[TokenBatch]
) -> dict[str, dict[str, Range]]:
    """What the linears of each float32 graph in ``source`` read while it answers ``rows``: by graph and tensor."""
    taps = {plan.name: _Tap(plan, source / plan.file) for plan in graphs}
    (trunk,) = (taps.pop(plan.name) for plan in graphs if plan.role == "trunk")
    for row in rows:
        hidden, *_ = trunk.run({name: array for name, array in row._asdict().items() if array is not None})
        for tail in taps.values():
            tail.run({"hidden": hidden, "attention_mask": row.attention_mask})
    return {tap.plan.name: tap.ranges for tap in (trunk, *taps.values())}


class _Tap:
    """A float32 graph that also gives what its linears read."""

    def __init__(self, plan: GraphPlan, file: Path) -> None:
        self.plan = plan
        model = onnx.load(file)
        linears = [name for name in weight_matmuls(model) if not stays_float(name)]
        read = dict.fromkeys(node.input[0] for node in model.graph.node if node.name in linears)
        self.ranges = dict.fromkeys(read, _ZERO)
        inner = [name for name in read if name not in {value.name for value in model.graph.input}]
        model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in inner)
        options = SessionOptions()
        options.intra_op_num_threads = 1  # sums in one order, so that equal modules give equal bytes
        self._inner = inner
        self._session = InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """What the graph gives by itself."""
        own = [spec.name for spec in self.plan.outputs]
        results: list[NDArray[Any]] = self._session.run([*own, *self._inner], feeds)
        seen = dict(zip([*own, *self._inner], results, strict=True)) | dict(feeds)
        self.ranges = {name: known.widened(seen[name]) for name, known in self.ranges.items()}
        return results[: len(own)]


def fix_scales(model: ir.Model, ranges: Mapping[str, Range]) -> None:
    """Replaces scales that are found at run time by those of ``ranges``, as QDQ of standard operators.

    onnxruntime makes an integer product of QuantizeLinear and DequantizeLinear before a MatMul. Biases are added by
    Sum: of Add and a MatMul of two dimensions it would first make a Gemm, with weights that are dequantized in every
    run.
    """
    graph = model.graph
    fixed = {
        name: (constant(graph, f"{name}.scale", seen.scale), constant(graph, f"{name}.zero_point", seen.zero_point))
        for name, seen in ranges.items()
    }

    def dynamic(op: Any, x: Any, weight: Any, weight_scale: Any, weight_zero: Any) -> Any:
        codes, scale, zero = op.DynamicQuantizeLinear(x, _outputs=3)
        product = op.Cast(op.MatMulInteger(codes, weight, zero, weight_zero))
        return op.Mul(product, op.Mul(scale, weight_scale))

    def static(op: Any, x: Any, weight: Any, weight_scale: Any, weight_zero: Any) -> Any:
        scale, zero = fixed[x.name]
        again = op.DequantizeLinear(op.QuantizeLinear(x, scale, zero), scale, zero)
        return op.MatMul(again, op.DequantizeLinear(weight, weight_scale, weight_zero, axis=1))

    RewritePass([pattern.RewriteRule(dynamic, static, name="static scales", remove_nodes=False)])(model)
    for cleanup in (RemoveUnusedNodesPass(), CommonSubexpressionEliminationPass()):
        cleanup(model)
    for node in graph:
        product = node.inputs[0].producer() if node.op_type == "Add" and node.inputs[0] is not None else None
        if product is not None and _is_static_linear(product):
            node.op_type = "Sum"


def _is_static_linear(node: ir.Node) -> bool:
    weight = node.inputs[1].producer() if node.op_type == "MatMul" and node.inputs[1] is not None else None
    return weight is not None and weight.op_type == "DequantizeLinear"
