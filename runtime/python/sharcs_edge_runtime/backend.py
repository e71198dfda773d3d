"""What runs an artifact's graphs: one backend per format of the graph files, found by the manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TypeAlias

from sharcs_edge_runtime.artifact import Artifact
from sharcs_edge_runtime.errors import InputError, UsageError
from sharcs_edge_runtime.manifest import Graph

Pool = Literal["none", "own", "process"]
"""Who owns the worker threads: there are none, every graph (or file) its own, or one pool of the process."""

Engine = Literal["onnxruntime", "litert", "tflite_runtime"]
"""The library that computes."""

Hidden: TypeAlias = Any
"""The trunk's hidden states as a backend keeps them, maybe not as an array: for tails of that backend alone."""

ENGINES: Mapping[str, tuple[Engine, ...]] = {"onnx": ("onnxruntime",), "tflite": ("litert", "tflite_runtime")}
"""By the manifest's `backend`; the first is the one that runs unless another is asked for."""

UNPROVEN: frozenset[Engine] = frozenset({"tflite_runtime"})
"""Engines known to give wrong answers for some artifacts without an error: only verified sessions use them."""


HIDDEN: Final = "hidden"
"""Name of the trunk's output that the tails read."""


class RunnableGraph(Protocol):
    """A graph in memory. Thread-safe."""

    @property
    def name(self) -> str:
        """The manifest's name of the graph."""
        ...

    def run(self, feeds: Mapping[str, Any]) -> Sequence[Any]:
        """The outputs in the manifest's order, for inputs by name; `hidden` is a :data:`Hidden` on both sides.

        Token inputs are int64 (batch, tokens); other outputs are float32 arrays. Raises SharcsEdgeError if the library
        fails (out of memory, mostly).
        """
        ...


class Backend(Protocol):
    """Loads and runs the graphs of one artifact."""

    @property
    def engine(self) -> Engine:
        """The library that computes."""
        ...

    @property
    def version(self) -> str:
        """Of that library."""
        ...

    @property
    def requested_provider(self) -> str:
        """What was to compute inside the engine: its execution provider or accelerator."""
        ...

    @property
    def provider(self) -> str:
        """What computes there, as the engine says."""
        ...

    @property
    def pool(self) -> Pool:
        """Who owns the threads."""
        ...

    @property
    def weight_cache(self) -> Path | None:
        """The file, or folder, with weights in the order that this processor likes, where the engine keeps one."""
        ...

    def load(self, graph: Graph) -> RunnableGraph:
        """Raises ArtifactError if the library cannot, or if the file's tensors are not those of the manifest."""
        ...

    def rows(self, hidden: Hidden, rows: Sequence[int], tokens: int) -> Hidden:
        """Some rows of what a trunk run gave, of which no more than the first `tokens` tokens are real."""
        ...


def open_backend(artifact: Artifact, threads: int, engine: Engine | None, cache: Path | None) -> Backend:
    """The backend of an artifact. `cache`: the folder for weight caches; None: the user's.

    Raises UsageError for an engine that does not run the artifact's format, MissingDependencyError for one that is not
    installed, ArtifactError for a file that it cannot read.
    """
    known = ENGINES[artifact.manifest.backend]
    chosen = known[0] if engine is None else engine
    if chosen not in known:
        raise UsageError(
            f"the engine {chosen!r} does not run {artifact.manifest.backend} graphs; this artifact runs with "
            f"{' or '.join(known)}"
        )
    if chosen == "litert":
        from sharcs_edge_runtime.litert_backend import LitertBackend

        return LitertBackend(artifact, threads, cache)
    if chosen == "tflite_runtime":
        from sharcs_edge_runtime.tflite_runtime_backend import TfliteRuntimeBackend

        return TfliteRuntimeBackend(artifact, threads)
    from sharcs_edge_runtime.onnx_backend import OnnxBackend

    return OnnxBackend(artifact, threads, cache)


def signature_name(graph: str, bucket: int) -> str:
    """``trunk``, 32 -> ``trunk_32``."""
    return f"{graph}_{bucket}"


def smallest_bucket(buckets: Sequence[int], tokens: int) -> int:
    """The smallest bucket of at least `tokens` tokens. Raises InputError if there is none."""
    for bucket in buckets:
        if bucket >= tokens:
            return bucket
    raise InputError(f"{tokens} tokens are given and the graphs take at most {buckets[-1]}; cut the input")
