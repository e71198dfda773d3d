"""Graphs run by LiteRT's CompiledModel: one TFLite file with a signature per graph and bucket.

A bucket is a number of tokens: signatures have fixed sizes and take one row, so a row is padded to the smallest bucket
that holds it, and a batch runs row by row. Activations are quantized per token, so that neither padding nor other rows
change a row's answer beyond rounding.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sharcs_edge_runtime._litert_api import Buffer, CompiledModel, Library, Signature, Tensor
from sharcs_edge_runtime.backend import HIDDEN, Engine, Pool, signature_name, smallest_bucket
from sharcs_edge_runtime.errors import ArtifactError, SharcsEdgeError
from sharcs_edge_runtime.weight_cache import with_weight_cache

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sharcs_edge_runtime.artifact import Artifact
    from sharcs_edge_runtime.manifest import Graph, TensorSpec


class LitertBackend:
    """All graphs of one artifact in one compiled model."""

    engine: Engine = "litert"
    requested_provider = provider = "CPU"  # the one accelerator that is registered

    def __init__(self, artifact: Artifact, threads: int, cache: Path | None) -> None:
        """Compile the file. `cache`: folder for the weight cache; None: the user's."""
        manifest = artifact.manifest
        assert manifest.buckets is not None  # a rule of the manifest
        self._file = artifact.file(manifest.trunk)
        library = Library()
        self.version = library.version
        self.pool: Pool = "own" if threads > 1 else "none"
        self._model, self.weight_cache = with_weight_cache(
            cache,
            self._file,
            manifest.trunk.sha256,
            library.version,
            lambda file: CompiledModel(library, self._file, threads, file),
        )
        self._buckets = manifest.buckets
        self._lock = threading.Lock()

    def load(self, graph: Graph) -> LitertGraph:
        """Its signatures, checked; the weights are in memory already."""
        signatures = {}
        for bucket in self._buckets:
            name = signature_name(graph.name, bucket)
            if name not in self._model.signatures:
                raise ArtifactError(f"{self._file} has no signature {name}: export the artifact again")
            signature = self._model.signatures[name]
            _check_tensors(self._file, name, graph.inputs, signature.inputs, bucket)
            _check_tensors(self._file, name, graph.outputs, signature.outputs, bucket)
            signatures[bucket] = signature
        return LitertGraph(graph.name, self._model, signatures, self._lock)

    def rows(self, hidden: LitertHidden, rows: Sequence[int], tokens: int) -> LitertHidden:
        """The rows' own memory; `tokens` changes nothing, since a tail runs at the trunk's bucket."""
        return LitertHidden(hidden.bucket, [hidden.rows[row] for row in rows])


class LitertHidden:
    """Hidden states in the memory that the trunk wrote and a tail reads, one lease of (1, bucket, hidden) per row."""

    def __init__(self, bucket: int, rows: Sequence[_Lease]) -> None:
        self.bucket = bucket
        self.rows = rows


class _Lease:
    """A buffer that goes back to where it came from when nobody reads it any more."""

    def __init__(self, free: list[Buffer], buffer: Buffer) -> None:
        self._free = free
        self.buffer = buffer

    def __del__(self) -> None:
        self._free.append(self.buffer)


class _Memory:
    """The buffers of one signature. What is named `hidden` is set for every run."""

    def __init__(self, model: CompiledModel, signature: Signature) -> None:
        self.signature = signature
        self.inputs = {t.name: model.buffer(signature, "Input", t) for t in signature.inputs if t.name != HIDDEN}
        self.outputs = {t.name: model.buffer(signature, "Output", t) for t in signature.outputs if t.name != HIDDEN}
        self.input_handles = _handles(self.inputs, signature.inputs)
        self.output_handles = _handles(self.outputs, signature.outputs)
        self.hidden_in = next((t.place for t in signature.inputs if t.name == HIDDEN), None)
        self.hidden_out = next((t for t in signature.outputs if t.name == HIDDEN), None)
        self.free: list[Buffer] = []

    def lease(self, model: CompiledModel) -> _Lease:
        """Memory for the trunk's hidden states."""
        assert self.hidden_out is not None
        buffer = self.free.pop() if self.free else model.buffer(self.signature, "Output", self.hidden_out)
        return _Lease(self.free, buffer)


def _handles(buffers: Mapping[str, Buffer], tensors: Sequence[Tensor]) -> Any:
    return (ctypes.c_void_p * len(tensors))(*(buffers[t.name].handle if t.name in buffers else None for t in tensors))


class LitertGraph:
    """The trunk or a tail: a signature per bucket. Thread-safe: runs of one artifact wait for each other."""

    def __init__(
        self, name: str, model: CompiledModel, signatures: Mapping[int, Signature], lock: threading.Lock
    ) -> None:
        self.name = name
        self._model = model
        self._signatures = signatures
        self._buckets = tuple(signatures)
        self._memory: dict[int, _Memory] = {}
        self._lock = lock

    def run(self, feeds: Mapping[str, Any]) -> Sequence[Any]:
        """See `RunnableGraph.run`."""
        hidden: LitertHidden | None = feeds.get(HIDDEN)
        arrays: dict[str, NDArray[np.int64]] = {name: value for name, value in feeds.items() if name != HIDDEN}
        rows, tokens = next(iter(arrays.values())).shape
        bucket = smallest_bucket(self._buckets, tokens) if hidden is None else hidden.bucket
        with self._lock:
            try:
                if bucket not in self._memory:
                    self._memory[bucket] = _Memory(self._model, self._signatures[bucket])
                memory = self._memory[bucket]
                results = [self._run_row(memory, arrays, row, hidden) for row in range(rows)]
            except SharcsEdgeError as error:
                raise SharcsEdgeError(f"{self.name} at {bucket} tokens: {error}") from error
        values = [np.concatenate(column) for column in zip(*(arrays for _, arrays in results), strict=True)]
        if memory.hidden_out is None:
            return values
        return [LitertHidden(bucket, [lease for lease, _ in results if lease is not None]), *values]

    def _run_row(
        self, memory: _Memory, arrays: Mapping[str, NDArray[np.int64]], row: int, hidden: LitertHidden | None
    ) -> tuple[_Lease | None, list[NDArray[np.float32]]]:
        """Copies of the outputs, without the hidden states, which stay where they are."""
        for name, array in arrays.items():
            target = memory.inputs[name].array
            tokens = min(array.shape[1], target.shape[1])
            target[0, :tokens] = array[row, :tokens]
            target[0, tokens:] = 0  # masked: any id that the embeddings have
        if memory.hidden_in is not None:
            assert hidden is not None
            memory.input_handles[memory.hidden_in] = hidden.rows[row].buffer.handle
        lease = None
        if memory.hidden_out is not None:
            lease = memory.lease(self._model)
            memory.output_handles[memory.hidden_out.place] = lease.buffer.handle
        self._model.run(memory.signature, memory.input_handles, memory.output_handles)
        return lease, [buffer.array.copy() for buffer in memory.outputs.values()]


def _check_tensors(
    file: Path, signature: str, specs: Sequence[TensorSpec], actual: Sequence[Tensor], bucket: int
) -> None:
    """The file must have the manifest's tensors, of one row and the bucket's tokens."""
    sizes = {"batch": 1, "tokens": bucket}
    found = {tensor.name: (tensor.dtype, tensor.shape) for tensor in actual}
    expected = {
        spec.name: (spec.dtype, tuple(sizes[size] if isinstance(size, str) else size for size in spec.shape))
        for spec in specs
    }
    if found != expected:
        raise ArtifactError(
            f"{file}: {signature} has the tensors {_shown(found)}, the manifest says {_shown(expected)}: export the "
            "artifact again"
        )


def _shown(tensors: Mapping[str, tuple[str, tuple[int, ...]]]) -> str:
    return ", ".join(f"{name} {dtype} {list(shape)}" for name, (dtype, shape) in sorted(tensors.items()))
