"""Graphs run by ONNX Runtime, and who owns its threads.

ONNX Runtime makes one pool of `threads - 1` workers per graph, none for `threads=1`: then the caller's thread
computes. Only one graph of a prediction runs at a time, so idle pools cost a stack each and no time, provided that
their workers sleep. By default they spin and take the cores from the graph that runs. Measured with 2 threads on 2
cores, int8 trunk + tail: 64 tokens took 10-15 ms at the median instead of 3 ms; and with other work on the machine,
even workers that spin only during a run made it 16 ms instead of 1.7 ms at p95 for 16 tokens. Sleeping costs up to
40 % against the best case of spinning (one pool, idle cores).

The only pool that graphs can share belongs to the process: once it exists, ONNX Runtime refuses every session of that
process which does not use it, other libraries' too, it can never be resized, and its workers spin during a run. A
library must not decide that, a program may: `share_thread_pool`.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sharcs_edge_runtime.backend import Engine, Pool
from sharcs_edge_runtime.errors import ArtifactError, SharcsEdgeError, UsageError
from sharcs_edge_runtime.manifest import Graph, TensorSpec
from sharcs_edge_runtime.packed_tails import WEIGHTS_FILE, PackedTails
from sharcs_edge_runtime.policy import require_count

if TYPE_CHECKING:
    import numpy as np
    import onnxruntime
    from numpy.typing import NDArray

    from sharcs_edge_runtime.artifact import Artifact

_TYPES: Final = {"int64": "tensor(int64)", "float32": "tensor(float)"}
_PACKING: Final = {
    "session.optimized_model_external_initializers_file_name": WEIGHTS_FILE,
    # Below the 1,024 bytes from which on exporters store weights beside a graph: all of those must move.
    "session.optimized_model_external_initializers_min_size_in_bytes": "512",
    "session.save_external_prepacked_constant_initializers": "1",
}
PROVIDER: Final = "CPUExecutionProvider"
_PROCESS_POOL_EXISTS: Final = "use_per_session_threads must be false"


def share_thread_pool(threads: int) -> None:
    """Give this process ONE pool of `threads` (caller included) for all its ONNX Runtime graphs. For programs only.

    Call it before the first `Session.load`; every session of the process then uses it, whatever its `threads`. It
    cannot be undone, and ONNX Runtime refuses any other library's session that does not set
    `use_per_session_threads = False`. Raises UsageError if a pool exists or this ONNX Runtime cannot share one.
    """
    import onnxruntime

    require_count("threads", threads)
    create = getattr(onnxruntime, "set_global_thread_pool_sizes", None)
    if create is None:
        raise UsageError(
            f"onnxruntime {onnxruntime.__version__} cannot share a thread pool; update it, or give threads to "
            "Session.load instead"
        )
    try:
        create(threads, 1)
    except Exception as error:  # onnxruntime's own exception classes differ between versions
        raise UsageError(
            f"onnxruntime refused a pool of {threads} threads for the process ({_first_line(error)}): one can be made "
            "only once, so call share_thread_pool once, at the start of the program"
        ) from None


class OnnxBackend:
    """One ONNX Runtime session per graph; hidden states are float32 arrays (batch, tokens, hidden)."""

    engine: Engine = "onnxruntime"
    requested_provider = PROVIDER

    def __init__(self, artifact: Artifact, threads: int, cache: Path | None) -> None:
        """Loads nothing yet. `cache`: folder for packed tails; None: that of the environment variable, or none."""
        import onnxruntime

        onnxruntime.disable_telemetry_events()  # official builds from 1.29 on report models and runs to Microsoft
        self.version: str = onnxruntime.__version__
        self.provider = PROVIDER
        self.pool: Pool = "own" if threads > 1 else "none"
        self._artifact = artifact
        self._threads = threads
        self._packed = PackedTails.of(artifact, cache, self.version)
        self.weight_cache: Path | None = None if self._packed is None else self._packed.folder

    def load(self, graph: Graph) -> OnnxGraph:
        """A session of its own."""
        loaded = self._load_packed(graph) or OnnxGraph(graph, self._artifact.file(graph), self._threads)
        self.pool = loaded.pool
        self.provider = loaded.provider
        return loaded

    def _load_packed(self, graph: Graph) -> OnnxGraph | None:
        if self._packed is None or graph.role == "trunk":  # packing the trunk would copy its embeddings
            return None
        file = self._artifact.file(graph)
        packed = self._packed.file(graph, lambda copy: _load(file, graph.name, self._threads, packed_copy=copy))
        if packed is None:
            return None
        try:
            return OnnxGraph(graph, packed, self._threads, is_optimized=True)
        except ArtifactError:  # damaged since it was written
            shutil.rmtree(packed.parent, ignore_errors=True)
            return None

    def rows(self, hidden: NDArray[np.float32], rows: Sequence[int], tokens: int) -> NDArray[np.float32]:
        """(rows, tokens, hidden)."""
        chosen: NDArray[np.float32] = hidden[list(rows), :tokens]
        return chosen


class OnnxGraph:
    """One graph of the artifact in ONNX Runtime. Thread-safe: ONNX Runtime's runs are."""

    def __init__(self, graph: Graph, file: Path, threads: int, is_optimized: bool = False) -> None:
        """Load `file`. ArtifactError if this ONNX Runtime cannot, or if its tensors are not those of the manifest.

        `is_optimized`: by this ONNX Runtime on this processor, when it wrote the file.
        """
        self.name = graph.name
        self._session, self.pool = _load(file, graph.name, threads, is_optimized)
        self.provider: str = ", ".join(self._session.get_providers())
        self._outputs = [tensor.name for tensor in graph.outputs]
        _check_tensors(graph, graph.inputs, self._session.get_inputs(), file)
        _check_tensors(graph, graph.outputs, self._session.get_outputs(), file)

    def run(self, feeds: Mapping[str, Any]) -> Sequence[NDArray[np.float32]]:
        """The outputs in the manifest's order. SharcsEdgeError if ONNX Runtime fails (out of memory, mostly)."""
        try:
            outputs: Sequence[NDArray[np.float32]] = self._session.run(self._outputs, feeds)
        except Exception as error:  # onnxruntime's own exception classes differ between versions
            shapes = ", ".join(f"{name} {value.shape}" for name, value in feeds.items())
            raise SharcsEdgeError(f"{self.name}: onnxruntime failed on {shapes}: {_first_line(error)}") from error
        return outputs


def _load(
    file: Path, name: str, threads: int, is_optimized: bool = False, packed_copy: Path | None = None
) -> tuple[onnxruntime.InferenceSession, Pool]:
    """A session and who owns its threads; writes the optimized graph with packed weights to `packed_copy`, too."""
    import onnxruntime

    def create(own_threads: bool) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only: they come as exceptions, warnings would go to the user's stderr
        options.enable_mem_pattern = False  # it would keep one plan per input length seen, for ever
        if is_optimized:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        if packed_copy is not None:
            options.optimized_model_filepath = str(packed_copy)
            for key, value in _PACKING.items():
                options.add_session_config_entry(key, value)
        if own_threads:
            options.intra_op_num_threads = threads
            options.inter_op_num_threads = 1
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        else:
            options.use_per_session_threads = False
            options.add_session_config_entry("session.force_spinning_stop", "1")  # at least between runs
        return onnxruntime.InferenceSession(str(file), options, providers=[PROVIDER], enable_fallback=False)

    try:
        try:
            return create(own_threads=True), "own" if threads > 1 else "none"
        except Exception as error:
            # The program made a pool for the process, in our share_thread_pool or by itself; there is no query for it.
            if _PROCESS_POOL_EXISTS not in str(error):
                raise
            return create(own_threads=False), "process"
    except Exception as error:
        raise ArtifactError(
            f"{file} ({name}) cannot be loaded by onnxruntime {onnxruntime.__version__}: {_first_line(error)}; "
            "update onnxruntime or export the artifact again"
        ) from error


def _check_tensors(graph: Graph, specs: Sequence[TensorSpec], actual: Sequence[Any], file: Path) -> None:
    """The file must have the manifest's tensors; symbolic dimensions may take any name in the file."""
    found = {tensor.name: tensor for tensor in actual}
    if found.keys() != {spec.name for spec in specs}:
        raise ArtifactError(
            f"{file} has the tensors {', '.join(sorted(found))}, the manifest says "
            f"{', '.join(sorted(spec.name for spec in specs))} for {graph.name}: export the artifact again"
        )
    for spec in specs:
        tensor = found[spec.name]
        if tensor.type != _TYPES[spec.dtype] or not _shape_agrees(tensor.shape, spec.shape):
            raise ArtifactError(
                f"{file}: {spec.name} is {tensor.type} {tensor.shape}, the manifest says {spec.dtype} "
                f"{list(spec.shape)} for {graph.name}: export the artifact again"
            )


def _shape_agrees(actual: Sequence[object], spec: Sequence[int | str]) -> bool:
    """A symbol of the manifest must be free in the file; a size must be that size or free."""
    return len(actual) == len(spec) and all(
        found == size if isinstance(found, int) else True for found, size in zip(actual, spec, strict=True)
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
