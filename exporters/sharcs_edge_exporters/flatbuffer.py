"""TFLite files made small: what tensors have in common is stored once, and names that nobody reads are gone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

_IDENTIFIER: Final = b"TFL3"
_ALIGNMENT: Final = 64  # a cache line; kernels ask for 16
_PROBE: Final = 256
_FAR: Final = 2**40  # any place that is not 0 or 1, which have a meaning of their own


def compact(source: Path, destination: Path) -> None:
    """Writes a model again, smaller and with the same results.

    Weights go behind the tables. Equal ones are stored once, and those that are the beginning of others, as a narrow
    width's rows are of the full width's, are a part of these. Equal scales and zero points, which every signature
    repeats, are stored once, too. Tensors keep their names where a caller uses them.
    """
    model, weights = _read(source)
    matrices = {
        tensor.buffer
        for subgraph in model.subgraphs
        for tensor in subgraph.tensors
        if tensor.type in (schema.TensorType.INT8, schema.TensorType.INT4) and len(tensor.shape) == 2
    }
    blob, places = _lay_out(weights, matrices)
    for subgraph in model.subgraphs:
        named = {*subgraph.inputs, *subgraph.outputs}
        for index, tensor in enumerate(subgraph.tensors):
            if index not in named:
                tensor.name = b""
            if tensor.quantization is not None:
                _as_arrays(tensor.quantization)
    # The places of the weights depend on the size of the tables, which does not depend on the places.
    start = _aligned(len(_tables(model, weights, places, _FAR)))
    tables = _tables(model, weights, places, start)
    destination.write_bytes(tables + bytes(start - len(tables)) + blob)


def matmul_coverage(file: Path, signature: str) -> float:
    """The share (0..1) of a signature's products with a weight whose weight is quantized."""
    model, weights = _read(file)
    subgraph = next(
        model.subgraphs[definition.subgraphIndex]
        for definition in model.signatureDefs
        if definition.signatureKey.decode() == signature
    )
    kinds = [
        tensor.type == schema.TensorType.INT8
        for operator in subgraph.operators
        if _code(model, operator) in (schema.BuiltinOperator.FULLY_CONNECTED, schema.BuiltinOperator.BATCH_MATMUL)
        for tensor in (subgraph.tensors[operator.inputs[1]],)
        if tensor.buffer in weights
    ]
    return sum(kinds) / len(kinds) if kinds else 0.0


def residual_linears(file: Path) -> list[str]:
    """Names of what linears put out and an Add reads: in all signatures."""
    model, _ = _read(file)
    names = []
    for subgraph in model.subgraphs:
        readers: dict[int, list[Any]] = {}
        for operator in subgraph.operators:
            for index in operator.inputs:
                readers.setdefault(index, []).append(operator)

        def is_added(index: int, readers: dict[int, list[Any]] = readers) -> bool:
            """Through any Reshape."""
            return any(
                _code(model, reader) == schema.BuiltinOperator.ADD
                or (_code(model, reader) == schema.BuiltinOperator.RESHAPE and is_added(reader.outputs[0]))
                for reader in readers.get(index, ())
            )

        names += [
            subgraph.tensors[operator.outputs[0]].name.decode()
            for operator in subgraph.operators
            if _code(model, operator) == schema.BuiltinOperator.FULLY_CONNECTED and is_added(operator.outputs[0])
        ]
    return names


def twin_tensors(file: Path, signatures: Sequence[str]) -> list[list[str]]:
    """Names of tensors that stand at the same place of signatures which differ in sizes alone, a list per place.

    Raises:
        ValueError: the signatures have not the same operators.
    """
    model, _ = _read(file)
    index = {definition.signatureKey.decode(): definition.subgraphIndex for definition in model.signatureDefs}
    subgraphs = [model.subgraphs[index[name]] for name in signatures]
    return [
        [
            subgraph.tensors[place].name.decode()
            for subgraph, place in zip(subgraphs, places, strict=True)
            if place >= 0  # else an input that is left out
        ]
        for operators in zip(*(subgraph.operators for subgraph in subgraphs), strict=True)
        for side in ("inputs", "outputs")
        for places in zip(*(getattr(operator, side) for operator in operators), strict=True)
    ]


def _read(file: Path) -> tuple[Any, dict[int, bytes]]:
    """The tables as objects, and the content of the buffers that have any, wherever they are."""
    data = file.read_bytes()
    model = schema.ModelT.InitFromPackedBuf(data)
    weights = {}
    for index, buffer in enumerate(model.buffers):
        if buffer.offset > 1:
            weights[index] = data[buffer.offset : buffer.offset + buffer.size]
        elif buffer.data is not None and len(buffer.data):
            weights[index] = bytes(buffer.data)
    return model, weights


def _lay_out(weights: dict[int, bytes], matrices: set[int]) -> tuple[bytes, dict[int, int]]:
    """All weights one after the other, and where each begins."""
    blob = bytearray()
    places: dict[int, int] = {}
    known: dict[bytes, list[tuple[int, bytes]]] = {}
    for index in sorted(weights, key=lambda index: (-len(weights[index]), index)):
        content = weights[index]
        for place, longer in known.get(content[:_PROBE], ()):
            # XNNPACK tells packed weights apart by the places of weights and biases: of a matrix and its beginning, the
            # biases must stay apart.
            if longer == content or (index in matrices and longer.startswith(content)):
                places[index] = place
                break
        else:
            blob += bytes(_aligned(len(blob)) - len(blob))
            places[index] = len(blob)
            known.setdefault(content[:_PROBE], []).append((len(blob), content))
            blob += content
    return bytes(blob), places


def _tables(model: Any, weights: dict[int, bytes], places: dict[int, int], start: int) -> bytes:
    """The packed tables, with the weights at ``start``."""
    for index, buffer in enumerate(model.buffers):
        buffer.data = None
        there = index in weights
        buffer.offset, buffer.size = (start + places[index], len(weights[index])) if there else (0, 0)
    builder = _Builder(1 << 20)
    builder.Finish(model.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())


class _Builder(flatbuffers.Builder):  # type: ignore[misc]  # untyped upstream
    """Writes equal vectors of numbers once."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._vectors: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: NDArray[Any]) -> int:
        key = x.dtype.str, x.tobytes()
        if key not in self._vectors:
            self._vectors[key] = super().CreateNumpyVector(x)
        return self._vectors[key]


def _as_arrays(quantization: Any) -> None:
    if quantization.scale is not None:
        quantization.scale = np.asarray(quantization.scale, dtype=np.float32)
    if quantization.zeroPoint is not None:
        quantization.zeroPoint = np.asarray(quantization.zeroPoint, dtype=np.int64)


def _code(model: Any, operator: Any) -> int:
    """Codes above 127 are in a second field."""
    code = model.operatorCodes[operator.opcodeIndex]
    return int(max(code.builtinCode, code.deprecatedBuiltinCode))


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
