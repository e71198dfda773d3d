"""One set of weights for all ONNX graphs of an artifact: ``weights.bin`` holds each matrix once, as wide as it gets.

Each graph refers to it by offset. Of a matrix that it runs a leading block of, it holds a Slice, which runtimes compute
when they load the graph, before they look for patterns to fuse and weights to repack: what runs is what a file of its
own would run. docs/adr/0012-one-set-of-weights.md has the measurements and what was tried besides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from sharcs_edge_exporters.base import GraphPlan

WEIGHTS_FILE: Final = "weights.bin"
_SMALLEST: Final = 1024  # bytes; smaller constants stay in their graph, where runtimes read shapes from them
_ALIGNMENT: Final = 64  # bytes: a cache line, and the widest vector register
_MOST_RUNS: Final = 4  # query, key, value and one to spare; a matrix in more pieces is stored as a whole

Array = NDArray[Any]


@dataclass(frozen=True)
class Run:
    """The columns ``start`` to ``stop`` of the known matrix ``source``; of their rows, as many as the reader has."""

    source: int
    start: int
    stop: int


class Columns:
    """Finds the columns of a matrix among those of matrices with at least as many rows."""

    def __init__(self) -> None:
        self.matrices: list[Array] = []
        self._places: dict[tuple[int, str], dict[bytes, tuple[int, int]]] = {}

    def add(self, matrix: Array) -> int:
        """The number that runs will call ``matrix`` by."""
        self.matrices.append(matrix)
        self._places.clear()
        return len(self.matrices) - 1

    def find(self, matrix: Array) -> tuple[Run, ...] | None:
        """``matrix`` (rows, columns) as runs of known columns, cut to its rows; None if that takes more than a few."""
        rows, width = matrix.shape
        places = self._index(rows, matrix.dtype)
        wanted = _column_bytes(matrix, rows)
        runs: list[Run] = []
        at = 0
        while at < width:
            place = places.get(wanted[at])
            if place is None or len(runs) == _MOST_RUNS:
                return None
            source, start = place
            known = self.matrices[source]
            most = min(width - at, known.shape[1] - start)
            same = (known[:rows, start : start + most] == matrix[:, at : at + most]).all(axis=0)
            length = most if same.all() else int(same.argmin())
            if length == 0:  # NaN equals nothing, itself neither
                return None
            runs.append(Run(source, start, start + length))
            at += length
        return tuple(runs)

    def _index(self, rows: int, dtype: np.dtype[Any]) -> Mapping[bytes, tuple[int, int]]:
        """Where each column, cut to ``rows``, stands first."""
        key = (rows, dtype.str)
        if key not in self._places:
            places = self._places[key] = {}
            for source, matrix in enumerate(self.matrices):
                if matrix.dtype == dtype and matrix.shape[0] >= rows:
                    for start, column in enumerate(_column_bytes(matrix, rows)):
                        places.setdefault(column, (source, start))
        return self._places[key]


def _column_bytes(matrix: Array, rows: int) -> list[bytes]:
    return [column.tobytes() for column in np.ascontiguousarray(matrix[:rows].T)]


def widest_first(graphs: Sequence[GraphPlan]) -> list[GraphPlan]:
    """The order in which narrower graphs find their weights in wider ones; the trunk has the full width."""
    return sorted(graphs, key=lambda graph: -1.0 if graph.width is None else -graph.width)


def share_codes(graphs: Sequence[tuple[Path, Path]]) -> None:
    """Gives narrow weights the codes and scales of the wider ones that they are blocks of, in place.

    Quantized by themselves they have scales, and so codes, of their own, and nothing is left to share. The names are
    those that onnxruntime's quantization tool gives.

    Args:
        graphs: the float32 and the quantized file of each graph, the widest first.
    """
    columns = Columns()
    known: list[dict[str, Array]] = []
    for source, file in graphs:
        floats = {tensor.name: tensor for tensor in onnx.load(source).graph.initializer}
        model = onnx.load(file)
        tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        own: list[tuple[Array, dict[str, Array]]] = []
        for name in [name.removesuffix("_quantized") for name in tensors if name.endswith("_quantized")]:
            parts = {part: tensors[f"{name}_{part}"] for part in ("quantized", "scale", "zero_point")}
            matrix = numpy_helper.to_array(floats[name])
            runs = columns.find(matrix)
            one_scale = len(parts["scale"].dims) == 0
            if runs is None or (one_scale and len({run.source for run in runs}) > 1):
                own.append((matrix, {part: numpy_helper.to_array(tensor) for part, tensor in parts.items()}))
                continue
            for part, tensor in parts.items():
                pieces = [_cut(known[run.source][part], run, matrix.shape[0]) for run in runs]
                joined = np.concatenate(pieces, axis=-1) if pieces[0].ndim else pieces[0]
                tensor.CopyFrom(numpy_helper.from_array(joined, tensor.name))
        for matrix, arrays in own:  # only now: within a graph, nothing is cut from anything
            columns.add(matrix)
            known.append(arrays)
        onnx.save(model, file)


def _cut(array: Array, run: Run, rows: int) -> Array:
    """The run's part of codes (rows, columns), of scales or zero points (columns), or the one scale of all columns."""
    if array.ndim == 0:
        return array
    return array[:rows, run.start : run.stop] if array.ndim == 2 else array[run.start : run.stop]


def share_weights(graphs: Sequence[GraphPlan], folder: Path) -> str:
    """Moves the weights of the graphs in ``folder`` to one file there, and returns its name."""
    store = _Store()
    for graph in widest_first(graphs):
        model = onnx.load(folder / graph.file)
        store.take(model.graph)
        (folder / graph.file).write_bytes(model.SerializeToString(deterministic=True))
    (folder / WEIGHTS_FILE).write_bytes(b"".join(store.pieces))
    return WEIGHTS_FILE


class _Store:
    """``weights.bin`` so far, in ``pieces``."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self._size = 0
        self._offsets: dict[bytes, int] = {}
        self._columns = Columns()
        self._column_offsets: list[int] = []  # of each matrix that `_columns` knows

    def take(self, graph: GraphProto) -> None:
        """Replaces each large constant by where it stands, or by how to cut it from what stands there."""
        constants: dict[str, TensorProto] = {}
        nodes: list[NodeProto] = []
        own: list[Array] = []
        for tensor in graph.initializer:
            array = numpy_helper.to_array(tensor)
            if array.nbytes < _SMALLEST:
                constants[tensor.name] = tensor
                continue
            runs = self._columns.find(array) if array.ndim == 2 else None
            if runs is None:
                constants[tensor.name] = _reference(tensor.name, array, self._place(array))
                own += [array] if array.ndim == 2 else []
            elif len(runs) == 1 and runs[0].stop - runs[0].start == self._columns.matrices[runs[0].source].shape[1]:
                # Leading rows of a whole matrix stand together.
                constants[tensor.name] = _reference(tensor.name, array, self._column_offsets[runs[0].source])
            else:
                nodes += self._join(tensor.name, array.shape[0], runs, constants)
        for array in own:  # only now: within a graph, nothing is cut from anything
            self._columns.add(array)
            self._column_offsets.append(self._offsets[array.tobytes()])
        _replace(graph.initializer, constants.values())
        _replace(graph.node, [*nodes, *graph.node])

    def _place(self, array: Array) -> int:
        data = array.tobytes()
        if data not in self._offsets:
            padding = -self._size % _ALIGNMENT
            self._offsets[data] = self._size + padding
            self.pieces += [bytes(padding), data]
            self._size += padding + len(data)
        return self._offsets[data]

    def _join(self, name: str, rows: int, runs: Sequence[Run], constants: dict[str, TensorProto]) -> list[NodeProto]:
        """Nodes that make ``name`` from parts of stored matrices, and the constants that they need."""
        nodes = []
        for number, run in enumerate(runs):
            whole, part = f"{name}.whole{number}", f"{name}.part{number}"
            constants[whole] = _reference(whole, self._columns.matrices[run.source], self._column_offsets[run.source])
            bounds = ((0, run.start), (rows, run.stop))
            names = [f"at.{row}.{column}" for row, column in bounds]
            for bound_name, bound in zip(names, bounds, strict=True):
                constants[bound_name] = numpy_helper.from_array(np.array(bound, dtype=np.int64), bound_name)
            nodes.append(helper.make_node("Slice", [whole, *names], [part], name=part))
        parts = [node.output[0] for node in nodes]
        if len(parts) == 1:
            nodes[0].output[0] = name
        else:
            nodes.append(helper.make_node("Concat", parts, [name], name=name, axis=1))
        return nodes


def _reference(name: str, array: Array, offset: int) -> TensorProto:
    """A constant of ``array``'s type and shape whose bytes stand at ``offset`` of the file."""
    tensor = TensorProto(
        name=name,
        dims=array.shape,
        data_type=helper.np_dtype_to_tensor_dtype(array.dtype),
        data_location=TensorProto.EXTERNAL,
    )
    for key, value in (("location", WEIGHTS_FILE), ("offset", offset), ("length", array.nbytes)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def _replace(field: Any, values: Iterable[Any]) -> None:
    """New entries for a repeated field of a protobuf message."""
    values = list(values)
    del field[:]
    field.extend(values)
