"""How much private memory a graph takes, estimated from its size (SPEC.md, section 9).

ONNX Runtime holds a graph's weights in memory of the process, repacks those of its matrix products for the CPU, and
keeps what its runs needed. Measured as the growth of Private_Clean + Private_Dirty in /proc/self/smaps_rollup after
runs of 16 and 128 tokens (onnxruntime 1.31.1, x86-64, int8 exports of a 6-layer encoder of hidden size 384, MB):

| graph | trunk | tail 1/12 | tail 1/4 | tail 1/2 | tail 1 |
|---|---|---|---|---|---|
| file | 47.0, 48.7 | 1.3 | 2.4, 3.0 | 4.5 | 8.8, 10.5 |
| measured | 48.0, 45.8 | 3.6 to 4.9 | 4.9, 5.8 | 8.8 | 13.7, 16.7 |
| estimate | 56.7, 58.6 | 6.4 | 7.6, 8.3 | 10.0 | 14.7, 16.6 |

Graphs that share one file of weights have small files of their own. Their weights are as many as the multiply-adds of
one token (nearly so where tokens are dropped), and tables that are looked up stay in the file, which the system maps.
With packed tails the repacked weights are mapped, too, and the estimate is too high by them.

LiteRT has the graphs of a TFLite file in memory together: 21 MB for the file of 26.3 MB of such an encoder with three
widths and four buckets, 39 MB where no weight cache could be written, estimate 39.2 MB (LiteRT 2.3.0, as above).
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from typing import Final

from sharcs_edge_runtime.errors import UsageError
from sharcs_edge_runtime.manifest import Graph, Manifest, tail_name

MB: Final = 2**20
PER_BYTE: Final = 1.1
TFLITE_PER_BYTE: Final = 1.3
PER_GRAPH_MB: Final = 5.0


@dataclass(frozen=True)
class GraphMemory:
    """Estimated private memory of an artifact's graphs, in MB of 2^20 bytes; `tails`: one per width, ascending."""

    widths: tuple[float, ...]
    trunk: float
    tails: tuple[float, ...]

    @classmethod
    def of(cls, manifest: Manifest) -> GraphMemory:
        """For the files that a manifest names. Graphs that share one file are in memory together, from the trunk on."""
        if manifest.backend == "tflite":
            size = TFLITE_PER_BYTE * manifest.trunk.bytes / MB + PER_GRAPH_MB
            return cls(manifest.widths, size, (0.0,) * len(manifest.widths))
        return cls(
            manifest.widths,
            graph_mb(manifest.trunk),
            tuple(graph_mb(manifest.tail(width)) for width in manifest.widths),
        )

    def widest(self, first: int, last: int, memory_mb: float) -> int:
        """The last of the widths `first` to `last` up to which each tail fits beside the trunk.

        Raises UsageError, with the number that is needed, if not even the first one does.
        """
        room = memory_mb - self.trunk
        fits = first - 1
        while fits < last and self.tails[fits + 1] <= room:
            fits += 1
        if fits < first:
            raise UsageError(
                f"memory_mb is {memory_mb:g}, and the trunk with {tail_name(self.widths[first])} takes "
                f"{self.trunk + self.tails[first]:.1f} (estimated): allow at least that"
            )
        return fits


def graph_mb(graph: Graph) -> float:
    """Estimated private memory of a loaded graph in MB."""
    bytes_per_weight = 4 - 3 * graph.quantization.matmul_coverage
    weights = bytes_per_weight * (graph.macs.per_row + graph.macs.per_token)
    return PER_BYTE * max(graph.bytes, weights) / MB + PER_GRAPH_MB


def return_freed_memory() -> None:
    """Hand freed memory back to the system. The allocator of glibc would keep it for the process (0.1 ms)."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl and Android have none, and keep less
        if trim is not None:
            trim(0)
