"""The tails in memory: all of them, or those that a memory limit leaves room for (SPEC.md, section 9)."""

from __future__ import annotations

import math
import threading
from time import perf_counter

from sharcs_edge_runtime.backend import Backend, RunnableGraph
from sharcs_edge_runtime.manifest import Manifest
from sharcs_edge_runtime.memory import GraphMemory, return_freed_memory


class Tails:
    """Loads a tail when it is first asked for, and drops the least recently used ones to hold a limit. Thread-safe.

    A tail that was dropped while another thread runs it lives until that run ends.
    """

    def __init__(self, manifest: Manifest, backend: Backend, memory: GraphMemory, trunk_ms_per_mb: float) -> None:
        """`trunk_ms_per_mb`: how long the trunk took to load, for the first guess of `load_ms`."""
        self._backend = backend
        self._memory = memory
        self._graphs = [manifest.tail(width) for width in manifest.widths]
        self._loaded: dict[int, RunnableGraph] = {}
        self._used = [0.0] * len(self._graphs)  # when each was asked for, for the last time
        self._load_ms = [trunk_ms_per_mb * size for size in memory.tails]
        self._lock = threading.Lock()

    @property
    def loaded(self) -> tuple[int, ...]:
        """Indices of the widths whose tails are in memory, the least recently used first."""
        with self._lock:
            return tuple(sorted(self._loaded, key=self._used.__getitem__))

    def load_all(self) -> None:
        """Load every tail. Raises ArtifactError for one that the engine cannot load."""
        for index in range(len(self._graphs)):
            self.get(index)

    def get(self, index: int, memory_mb: float | None = None) -> RunnableGraph:
        """The tail of the width `index`. `memory_mb`: for the trunk and all loaded tails; others are dropped for it.

        Raises ArtifactError for a tail that the engine cannot load.
        """
        self._used[index] = perf_counter()
        graph = self._loaded.get(index)
        if graph is not None and memory_mb is None:
            return graph  # nothing changes, so that no lock is needed
        with self._lock:
            graph = self._loaded.get(index)
            if memory_mb is not None:
                self._make_room(index, memory_mb)
            if graph is None:
                start = perf_counter()
                graph = self._loaded[index] = self._backend.load(self._graphs[index])
                self._load_ms[index] = (perf_counter() - start) * 1000
            return graph

    def load_ms(self, index: int) -> float:
        """What `get` is expected to spend on loading: 0 for a tail in memory."""
        return 0.0 if index in self._loaded else self._load_ms[index]

    def _make_room(self, index: int, memory_mb: float) -> None:
        others = [other for other in self._loaded if other != index]
        room = memory_mb - self._memory.trunk - self._memory.tails[index]
        taken = math.fsum([self._memory.tails[other] for other in others])
        if taken <= room:
            return
        for other in sorted(others, key=self._used.__getitem__):  # the least recently used first
            if taken <= room:
                break
            del self._loaded[other]
            taken -= self._memory.tails[other]
        return_freed_memory()
