"""TFLite graphs run by tflite-runtime 2.14, the interpreter that ai-edge-litert replaced; asked for by name only.

It runs some quantized models without an error and with wrong results, so `Session` verifies it before it may answer. It
has no weight cache; otherwise it pads and runs rows as LiteRT does.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sharcs_edge_runtime.backend import HIDDEN, Engine, Pool, signature_name, smallest_bucket
from sharcs_edge_runtime.errors import ArtifactError, MissingDependencyError, SharcsEdgeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sharcs_edge_runtime.artifact import Artifact
    from sharcs_edge_runtime.manifest import Graph


class TfliteRuntimeBackend:
    """All graphs of one artifact in one interpreter; hidden states are float32 arrays (batch, bucket, hidden)."""

    engine: Engine = "tflite_runtime"
    requested_provider = provider = "CPU"
    weight_cache: Path | None = None

    def __init__(self, artifact: Artifact, threads: int) -> None:
        """Reads the file."""
        try:
            from tflite_runtime.interpreter import Interpreter

            self.version = version("tflite-runtime")
        except (ImportError, PackageNotFoundError) as error:
            raise MissingDependencyError(
                f"the engine tflite_runtime cannot be imported ({error}): pip install tflite-runtime, which needs "
                'Python 3.11 or older and numpy < 2, or use ai-edge-litert: pip install "sharcs-edge-runtime[litert]"'
            ) from error
        manifest = artifact.manifest
        assert manifest.buckets is not None  # a rule of the manifest
        self._file = artifact.file(manifest.trunk)
        self._buckets = manifest.buckets
        self.pool: Pool = "own" if threads > 1 else "none"
        self._lock = threading.Lock()
        try:
            self._interpreter = Interpreter(model_path=str(self._file), num_threads=threads)
        except (RuntimeError, ValueError) as error:
            raise self._cannot_load(error) from error

    def load(self, graph: Graph) -> TfliteRuntimeGraph:
        """Its signatures."""
        try:
            runners = {
                bucket: self._interpreter.get_signature_runner(signature_name(graph.name, bucket))
                for bucket in self._buckets
            }
        except (RuntimeError, ValueError) as error:
            raise self._cannot_load(error) from error
        return TfliteRuntimeGraph(graph, runners, self._lock)

    def rows(self, hidden: NDArray[np.float32], rows: Sequence[int], tokens: int) -> NDArray[np.float32]:
        """(rows, bucket, hidden): a tail runs at the trunk's bucket, whatever `tokens` says."""
        chosen: NDArray[np.float32] = hidden[list(rows)]
        return chosen

    def _cannot_load(self, error: Exception) -> ArtifactError:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return ArtifactError(
            f"{self._file} cannot be loaded by tflite-runtime {self.version} ({reason}): use ai-edge-litert"
        )


class TfliteRuntimeGraph:
    """The trunk or a tail. Thread-safe: runs of one artifact wait for each other."""

    def __init__(self, graph: Graph, runners: Mapping[int, Any], lock: threading.Lock) -> None:
        self.name = graph.name
        self._outputs = [tensor.name for tensor in graph.outputs]
        self._runners = runners
        self._lock = lock

    def run(self, feeds: Mapping[str, Any]) -> Sequence[NDArray[np.float32]]:
        """See `RunnableGraph.run`."""
        rows, tokens = feeds["attention_mask"].shape
        bucket = feeds[HIDDEN].shape[1] if HIDDEN in feeds else smallest_bucket(tuple(self._runners), tokens)
        padded = {name: array if name == HIDDEN else _pad(array, bucket) for name, array in feeds.items()}
        try:
            with self._lock:
                results = [
                    self._runners[bucket](**{name: array[row : row + 1] for name, array in padded.items()})
                    for row in range(rows)
                ]
        except (RuntimeError, ValueError) as error:
            raise SharcsEdgeError(f"{self.name} at {bucket} tokens: tflite-runtime failed: {error}") from error
        return [np.concatenate([result[name] for result in results]) for name in self._outputs]


def _pad(array: NDArray[np.int64], bucket: int) -> NDArray[np.int32]:
    padded = np.zeros((len(array), bucket), dtype=np.int32)
    tokens = min(array.shape[1], bucket)
    padded[:, :tokens] = array[:, :tokens]
    return padded
