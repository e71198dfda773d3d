"""int8 dynamic quantization of ONNX graphs with onnxruntime's own tool, and what it covered."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from sharcs_edge.device import Preset
from sharcs_edge.errors import ExportError
from sharcs_edge_runtime.manifest import Quantization

_WEIGHT_TYPES: Final = {"int8": QuantType.QInt8, "uint8": QuantType.QUInt8}


def stays_float(name: str) -> bool:
    """Whether a linear of this name is left alone: the router, whose logits are compared with each other.

    It runs on one row per input, so that int8 would save next to nothing, and every rounding there could flip a route.
    """
    return name.startswith("router")


def quantize_int8_dynamic(source: Path, destination: Path, preset: Preset) -> Quantization:
    """Writes ``source`` with the weights of its linears as 8-bit integers; activations are quantized as they come.

    Products of two activations (attention scores and context) and embeddings stay float32.

    Returns:
        What was done; ``matmul_coverage`` is quantized / all MatMuls that have a weight. A graph without a linear to
        quantize is written as it is, with the recipe ``none``.

    Raises:
        ExportError: onnxruntime refuses, or leaves out a MatMul that it was told to quantize.
    """
    model = onnx.load(source)
    weighted = weight_matmuls(model)
    targets = [name for name in weighted if not stays_float(name)]
    if not targets:
        onnx.save(model, destination)
        return Quantization("none", 0.0)
    add_pre_process_metadata(model)  # else it asks on stderr for optimisations that our graphs already had
    # From and to one file: given a model in memory, it would use the system's temporary folder.
    onnx.save(model, destination)
    try:
        quantize_dynamic(
            destination,
            destination,
            per_channel=preset.per_channel,
            reduce_range=preset.reduce_range,
            weight_type=_WEIGHT_TYPES[preset.weight_type],
            nodes_to_quantize=targets,
        )
    except OSError:
        raise
    except Exception as error:  # it documents none of its exceptions
        raise ExportError(f"onnxruntime cannot quantize {source.stem}: {error}") from error
    left = weight_matmuls(onnx.load(destination))
    if len(left) != len(weighted) - len(targets):
        missed = sorted(set(left) & set(targets))
        raise ExportError(f"onnxruntime left MatMuls of {source.stem} unquantized: {', '.join(missed)}")
    return Quantization("int8_dynamic", len(targets) / len(weighted), preset.options)


def weight_matmuls(model: onnx.ModelProto) -> list[str]:
    """Names of the float MatMuls whose second operand is a weight, in graph order."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [node.name for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in weights]
