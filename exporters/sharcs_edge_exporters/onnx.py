"""ONNX graphs: traced by `torch.onnx.export` (dynamo), put into forms that onnxruntime's CPU kernels run well, and
cleaned of everything that tells where they were made. docs/adr/0005-onnx-opset-and-ir.md has the measurements.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import onnx_ir as ir
import torch
from onnx_ir.passes.common import DeduplicateInitializersPass, RemoveUnusedNodesPass
from onnxscript import opset18 as op
from torch import nn
from torch.onnx.errors import OnnxExporterError

from sharcs_edge.device import Preset
from sharcs_edge.errors import ExportError
from sharcs_edge_exporters.base import GraphPlan, example_inputs
from sharcs_edge_exporters.embeddings import quantize_embeddings, saved_bytes
from sharcs_edge_exporters.join import join_graphs
from sharcs_edge_exporters.layout import share_codes, share_weights, widest_first
from sharcs_edge_exporters.quantize import quantize_int8_dynamic, stays_float
from sharcs_edge_exporters.rewrites import rewrite_for_speed
from sharcs_edge_exporters.static_scales import activation_ranges, fix_scales
from sharcs_edge_runtime.manifest import BackendName, Quantization
from sharcs_edge_runtime.tokenization import TokenBatch
from sharcs_edge_runtime.version import __version__

OPSET: Final = 18
IR_VERSION: Final = 8
_MAX_BYTES: Final = 2**31 - 2**20  # a protobuf message ends at 2 GiB; the rest is for the nodes


class OnnxExporter:
    """One ``.onnx`` file per graph, opset 18 and IR version 8; weights inside, or with the layout ``shared`` beside."""

    backend: BackendName = "onnx"
    token_type: Literal["int64", "int32"] = "int64"
    fixed_lengths = False

    def file_name(self, graph: str) -> str:
        """``trunk`` -> ``trunk.onnx``."""
        return f"{graph}.onnx"

    def estimate(self, graph: str, module: nn.Module, preset: Preset) -> int:
        """Bytes of the weights. ExportError if the float32 graph would not fit into one file."""
        size = 4 * sum(parameter.numel() for parameter in module.parameters())
        if size > _MAX_BYTES:
            raise ExportError(
                f"{graph} has {size / 1e9:.1f} GB of float32 weights and an .onnx file holds at most 2 GB; "
                "export narrower widths or train a smaller encoder"
            )
        size -= saved_bytes(module, preset.embeddings)
        if preset.quantization != "none":
            for name, part in module.named_modules():
                if isinstance(part, nn.Linear) and not stays_float(name):
                    size -= 3 * part.weight.numel()
        return size

    def export(self, graphs: Iterable[tuple[GraphPlan, nn.Module]], folder: Path) -> None:
        """Writes each graph as float32. ExportError if torch cannot express a module in ONNX."""
        for plan, module in graphs:
            write_model(export_graph(plan, module), folder / plan.file, plan.name)

    def quantize(
        self,
        graphs: Sequence[GraphPlan],
        source: Path,
        folder: Path,
        preset: Preset,
        calibration: Sequence[TokenBatch] = (),
    ) -> Mapping[str, Quantization]:
        """Quantizes each graph of ``source`` into ``folder``: its linears, then its embeddings."""
        linears = dict.fromkeys((plan.name for plan in graphs), Quantization("none", 0.0))
        before = source
        if preset.quantization != "none":
            before = folder
            linears = {
                plan.name: quantize_int8_dynamic(source / plan.file, folder / plan.file, preset) for plan in graphs
            }
            if preset.layout == "shared":
                share_codes([(source / plan.file, folder / plan.file) for plan in widest_first(graphs)])
        static = preset.quantization == "int8_static"
        ranges = activation_ranges(graphs, source, calibration) if static else {}
        done = {}
        for plan in graphs:
            file = folder / plan.file
            model = ir.load(before / plan.file)
            if static and linears[plan.name].recipe != "none":
                fix_scales(model, ranges[plan.name])
                linears[plan.name] = replace(linears[plan.name], recipe="int8_static")
            tables = {"embeddings": preset.embeddings} if quantize_embeddings(model, preset.embeddings) else {}
            done[plan.name] = replace(linears[plan.name], options={**linears[plan.name].options, **tables})
            write_model(model, file, plan.name)
        return done

    def share(self, graphs: Sequence[GraphPlan], folder: Path) -> tuple[str, ...]:
        """Moves the weights of all graphs to ``weights.bin``, each stored once; see :func:`share_weights`."""
        return (share_weights(graphs, folder),)

    def join(self, trunk: Path, tail: Path, file: Path) -> None:
        """One ``.onnx`` file with all weights inside; see :func:`join_graphs`."""
        write_model(join_graphs(trunk, tail), file, file.stem)

    def tools(self) -> Mapping[str, str]:
        """Versions of torch, onnx, onnxscript and onnxruntime."""
        return {name: version(name) for name in ("torch", "onnx", "onnxscript", "onnxruntime")}


def export_graph(plan: GraphPlan, module: nn.Module) -> ir.Model:
    """``module`` as a float32 ONNX graph whose linears are MatMul + Add with weights of (in, out).

    Raises:
        ExportError: torch cannot trace it or has no ONNX form for one of its operators.
    """
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                module,
                example_inputs(plan.inputs),
                dynamo=True,
                opset_version=OPSET,
                input_names=[spec.name for spec in plan.inputs],
                output_names=[spec.name for spec in plan.outputs],
                dynamic_shapes=[
                    {axis: size for axis, size in enumerate(spec.shape) if isinstance(size, str)}
                    for spec in plan.inputs
                ],
                custom_translation_table=_TRANSLATIONS,
                optimize=False,
                verbose=False,
            )
            assert program is not None  # only without dynamo
            _transpose_weights(program.model)
            program.optimize()
    except OnnxExporterError as error:
        reason = str(error).strip().splitlines()[0]
        raise ExportError(f"torch {torch.__version__} cannot write {plan.name} as ONNX: {reason}") from error
    _fix_reshapes(program.model)
    rewrite_for_speed(program.model)
    _unfuse_residuals(program.model)
    return program.model


def write_model(model: ir.Model, file: Path, name: str) -> None:
    """Writes the graph with nothing but what running it needs; equal graphs give equal bytes."""
    DeduplicateInitializersPass(size_limit=_MAX_BYTES)(model)
    RemoveUnusedNodesPass()(model)
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = "sharcs-edge", __version__
    model.graph.name = name
    proto = ir.serde.serialize_model(model)
    # Shapes of inner values are torch's view of the float graph: quantized ones differ, and runtimes infer their own.
    del proto.graph.value_info[:]
    # Tracing leaves stack traces, with the paths of this machine, in every node.
    graph = proto.graph
    for part in (proto, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    file.write_bytes(proto.SerializeToString(deterministic=True))


@contextmanager
def _quiet() -> Iterator[None]:
    """Tracing warns of libraries that nobody asked for (torchvision) and of its own deprecated calls."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _linear(x: Any, weight: Any, bias: Any = None) -> Any:
    # By default Gemm for two dimensions, which dynamic quantization passes by.
    product = op.MatMul(x, op.Transpose(weight, perm=[1, 0]))
    return product if bias is None else op.Add(product, bias)


def _attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """Query (batch, heads, queries, size), key and value (batch, heads, tokens, size), additive mask."""
    if attn_mask is None or is_causal or scale is not None or enable_gqa:
        raise ValueError("only attention of the form softmax(QK/sqrt(size) + mask)V can be written")
    factor = op.Constant(value_float=1 / math.sqrt(query.shape[-1]))
    one_head = query.shape[1] == 1
    axis: Any = op.Constant(value_ints=[1])
    if one_head:  # without an axis for heads, the rewrites can drop what splits and joins them
        query, key, value, attn_mask = (op.Squeeze(tensor, axis) for tensor in (query, key, value, attn_mask))
    # By default the transposed key is reshaped through 9 operators that compute shapes.
    turned = op.Transpose(key, perm=[0, 2, 1] if one_head else [0, 1, 3, 2])
    scores = op.MatMul(op.Mul(query, factor), turned)
    mixed = op.MatMul(op.Softmax(op.Add(scores, attn_mask), axis=-1), value)
    return op.Unsqueeze(mixed, axis) if one_head else mixed


def _gelu(x: Any, approximate: str = "none") -> Any:
    """x * (1 + erf(x / sqrt 2)) * 0.5, in the one order of products that onnxruntime fuses; or its tanh form."""
    if approximate == "tanh":
        cubic = op.Mul(op.Mul(op.Mul(x, x), x), op.Constant(value_float=0.044715))
        inner = op.Tanh(op.Mul(op.Add(x, cubic), op.Constant(value_float=math.sqrt(2 / math.pi))))
    else:
        inner = op.Erf(op.Div(x, op.Constant(value_float=math.sqrt(2))))
    doubled = op.Mul(x, op.Add(inner, op.Constant(value_float=1.0)))
    return op.Mul(doubled, op.Constant(value_float=0.5))


_TRANSLATIONS: Final[dict[Any, Any]] = {
    torch.ops.aten.linear.default: _linear,
    torch.ops.aten.scaled_dot_product_attention.default: _attention,
    torch.ops.aten.gelu.default: _gelu,
}


def _transpose_weights(model: ir.Model) -> None:
    """Stores each linear's weight as (in, out) under its own name and names its MatMul after it.

    Layers may share a weight; then the MatMuls after the first one have a number, too.
    """
    uses: dict[ir.Value, int] = {}
    for node in list(model.graph):
        weight = node.inputs[0] if node.op_type == "Transpose" else None
        if weight is None or not weight.is_initializer() or weight.const_value is None:
            continue
        if weight not in uses:
            array = np.ascontiguousarray(weight.const_value.numpy().T)
            weight.const_value = ir.tensor(array, name=weight.name)
            weight.shape = ir.Shape(array.shape)
        for use in list(node.outputs[0].uses()):
            use.node.replace_input_with(use.idx, weight)
            uses[weight] = uses.get(weight, 0) + 1
            number = f".{uses[weight]}" if uses[weight] > 1 else ""
            use.node.name = str(weight.name).removesuffix(".weight") + number
        model.graph.remove(node, safe=True)


def _fix_reshapes(model: ir.Model) -> None:
    """Constant shapes (0: as in the input) to split and join heads, instead of shapes computed per run."""
    for node in model.graph:
        before, after = (node.inputs[0], node.outputs[0]) if node.op_type == "Reshape" else (None, None)
        if before is None or after is None or before.shape is None or after.shape is None:
            continue
        sizes = [
            size if isinstance(size, int) else 0 if axis < len(before.shape) and before.shape[axis] == size else None
            for axis, size in enumerate(after.shape)
        ]
        if None not in sizes:
            shape = ir.val(f"{node.name}.shape", const_value=ir.tensor(np.array(sizes, dtype=np.int64)))
            model.graph.register_initializer(shape)
            node.replace_input_with(1, shape)
            node.attributes.pop("allowzero", None)


def _unfuse_residuals(model: ir.Model) -> None:
    """Sum instead of Add before a LayerNormalization: the same kernel, but onnxruntime does not fuse it.

    Its fused SkipLayerNormalization makes an int8 tail 1.7 times slower on CPUs.
    """
    for node in model.graph:
        residual = node.inputs[0].producer() if node.op_type == "LayerNormalization" and node.inputs[0] else None
        if residual is not None and residual.op_type == "Add":
            residual.op_type = "Sum"
