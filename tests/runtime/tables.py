"""TFLite artifacts for tests: a tiny real one, written table by table, so that no converter is needed.

Its weights are those of the tiny ONNX artifact, its golden answers numpy's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from sharcs_edge_runtime.artifact import Artifact, file_reference, write_file_atomically
from sharcs_edge_runtime.manifest import MANIFEST_NAME, TensorSpec, Tolerance, tail_name
from tests.runtime.conftest import HIDDEN, TinyModel

BUCKETS = (4, 8, 16)
_OPERATORS = schema.BuiltinOperator


class TableWriter:
    """One TFLite file, subgraph by subgraph; equal weights share a buffer."""

    def __init__(self, int8: bool) -> None:
        self._int8 = int8
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.buffers = [schema.BufferT()]
        self.model.operatorCodes, self.model.subgraphs, self.model.signatureDefs = [], [], []
        self._weights: dict[bytes, int] = {}
        self._codes: dict[int, int] = {}

    def start(self) -> None:
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.graph.inputs, self.graph.outputs = [], []

    def tensor(self, name: str, shape: Sequence[int], kind: int = schema.TensorType.FLOAT32, buffer: int = 0) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name.encode(), list(shape), kind, buffer
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def constant(self, value: Any) -> int:
        array = np.ascontiguousarray(value)
        if array.tobytes() not in self._weights:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(array.tobytes(), dtype=np.uint8)
            self.model.buffers.append(buffer)
            self._weights[array.tobytes()] = len(self.model.buffers) - 1
        kind = getattr(schema.TensorType, str(array.dtype).upper())
        return self.tensor("constant", array.shape, kind, self._weights[array.tobytes()])

    def apply(self, name: str, inputs: Sequence[int], shape: Sequence[int], **options: Any) -> int:
        """An operator with one output; `options`: fields of its options, if it has any."""
        code = getattr(_OPERATORS, name)
        if code not in self._codes:
            entry = schema.OperatorCodeT()
            entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, code, 1
            self.model.operatorCodes.append(entry)
            self._codes[code] = len(self.model.operatorCodes) - 1
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs = self._codes[code], list(inputs)
        output = self.tensor(name, shape)
        operator.outputs = [output]
        kind = {"FULLY_CONNECTED": "FullyConnected", "SUM": "Reducer"}.get(name, name.title())
        if hasattr(schema, f"{kind}OptionsT"):
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, f"{kind}Options")
            operator.builtinOptions = getattr(schema, f"{kind}OptionsT")()
            for key, value in options.items():
                setattr(operator.builtinOptions, key, value)
        self.graph.operators.append(operator)
        return output

    def quantized(self, value: Any) -> int:
        """int8 with a scale per row."""
        scales = np.abs(value).max(axis=1) / 127
        tensor = self.graph.tensors[index := self.constant(np.round(value / scales[:, None]).astype(np.int8))]
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = scales.astype(np.float32)
        tensor.quantization.zeroPoint = np.zeros(len(scales), dtype=np.int64)
        return index

    def linear(self, x: int, weight: Any, shape: Sequence[int]) -> int:
        rows = self.quantized(weight.T) if self._int8 else self.constant(weight.T)
        return self.apply("FULLY_CONNECTED", [x, rows, -1], shape, keepNumDims=True)

    def mean(self, x: int, mask: int, tokens: int, size: int) -> int:
        """Of (1, tokens, size), over the tokens that the mask has: (1, size)."""
        numbers = self.apply("CAST", [mask], (1, tokens))
        weights = self.apply("RESHAPE", [numbers, self.constant(np.array([1, tokens, 1], np.int32))], (1, tokens, 1))
        masked = self.apply("MUL", [x, weights], (1, tokens, size))
        axis = self.constant(np.array([1], np.int32))
        total, count = (self.apply("SUM", [t, axis], (1, n)) for t, n in ((masked, size), (weights, 1)))
        return self.apply("DIV", [total, count], (1, size))

    def finish(self, signature: str, inputs: dict[str, int], outputs: dict[str, int]) -> None:
        self.graph.inputs, self.graph.outputs = list(inputs.values()), list(outputs.values())
        entry = schema.SignatureDefT()
        entry.signatureKey, entry.subgraphIndex = signature.encode(), len(self.model.subgraphs)
        for names, target in ((inputs, "inputs"), (outputs, "outputs")):
            maps = []
            for name, index in names.items():
                one = schema.TensorMapT()
                one.name, one.tensorIndex = name.encode(), index
                maps.append(one)
            setattr(entry, target, maps)
        self.model.signatureDefs.append(entry)
        self.model.subgraphs.append(self.graph)

    def to_bytes(self) -> bytes:
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def write_graphs(model: TinyModel, buckets: Sequence[int], int8: bool) -> bytes:
    """The arithmetic of `TinyModel`, a signature per graph and bucket."""
    writer = TableWriter(int8)
    for tokens in buckets:
        writer.start()
        ids, mask = (writer.tensor(name, (1, tokens), schema.TensorType.INT32) for name in ("ids", "mask"))
        table = writer.constant(model.weights["embeddings"])
        words = writer.apply("GATHER", [table, ids], (1, tokens, HIDDEN))
        mixed = writer.linear(words, model.weights["mix"], (1, tokens, HIDDEN))
        hidden = writer.apply("TANH", [mixed], (1, tokens, HIDDEN))
        pooled = writer.mean(hidden, mask, tokens, HIDDEN)
        scores = writer.linear(pooled, model.weights["router"], (1, len(model.widths)))
        inputs = {"input_ids": ids, "attention_mask": mask}
        writer.finish(f"trunk_{tokens}", inputs, {"hidden": hidden, "router_logits": scores})
        for width in model.widths:
            writer.start()
            name = tail_name(width)
            up, down = (model.weights[f"{name}.{part}"] for part in ("up", "down"))
            hidden = writer.tensor("hidden", (1, tokens, HIDDEN))
            mask = writer.tensor("mask", (1, tokens), schema.TensorType.INT32)
            wide = writer.linear(hidden, up, (1, tokens, up.shape[1]))
            inner = writer.apply("RELU", [wide], (1, tokens, up.shape[1]))
            pooled = writer.mean(inner, mask, tokens, up.shape[1])
            logits = writer.linear(pooled, down, (1, model.labels))
            writer.finish(f"{name}_{tokens}", {"hidden": hidden, "attention_mask": mask}, {"logits": logits})
    return writer.to_bytes()


def as_tflite(folder: Path, buckets: Sequence[int] = BUCKETS, seed: int = 28, int8: bool = False) -> Path:
    """Turns a tiny ONNX artifact without token types into a TFLite one, in place; `int8`: weights, as exporters do."""
    manifest = Artifact.open(folder).manifest
    model = TinyModel.random(manifest.widths, len(manifest.labels), False, seed)
    write_file_atomically(folder / "model.tflite", write_graphs(model, buckets, int8))
    file = file_reference(folder / "model.tflite")

    def tensors(specs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
        return tuple(dataclasses.replace(spec, dtype="int32") if spec.dtype == "int64" else spec for spec in specs)

    graphs = tuple(
        dataclasses.replace(
            graph,
            file=file.file,
            sha256=file.sha256,
            bytes=file.bytes,
            inputs=tensors(graph.inputs),
            outputs=tensors(graph.outputs),
        )
        for graph in manifest.graphs
    )
    tolerance = Tolerance(0.2, 0.75, 0.75) if int8 else manifest.tolerance  # eight rows
    changed = dataclasses.replace(
        manifest, backend="tflite", buckets=tuple(buckets), graphs=graphs, tolerance=tolerance
    )
    write_file_atomically(folder / MANIFEST_NAME, changed.to_json())
    return folder
