"""What a deadline leaves: which paths through the tails end in time, and for inputs of how many tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sharcs_edge.errors import CheckFailed
from sharcs_edge.latency import Latency
from sharcs_edge_runtime.manifest import Manifest, format_widths


@dataclass(frozen=True)
class Path:
    """A way from the text to the answer: `widths` that run one after the other, narrow to wide.

    `ms`: for an input of the planned tokens. `most_tokens`: of the longest input that ends by the deadline, 0 if none.
    """

    widths: tuple[float, ...]
    ms: float
    most_tokens: int

    @property
    def name(self) -> str:
        """``0.083, 0.25, 1``."""
        return format_widths(self.widths)


def deadline_paths(
    manifest: Manifest, latency: Latency, tokens: float, deadline_ms: float, start: int, end: int
) -> tuple[Path, ...]:
    """Every width alone, then the longest path of the plan: from width index `start`, handed on up to `end`.

    Raises CheckFailed where even the narrowest width alone takes longer for an input of `tokens` tokens.
    """
    ways: list[tuple[float, ...]] = [(width,) for width in manifest.widths]
    if end > start:
        ways.append(manifest.widths[start : end + 1])
    paths = tuple(_path(manifest, latency, tokens, deadline_ms, way) for way in ways)
    if paths[0].ms > deadline_ms:
        raise CheckFailed(
            f"deadline_ms {deadline_ms:g} buys nothing: the narrowest width alone takes {paths[0].ms:.4g} ms"
        )
    return paths


def _path(manifest: Manifest, latency: Latency, tokens: float, deadline_ms: float, widths: Sequence[float]) -> Path:
    graphs = [manifest.trunk, *map(manifest.tail, widths)]

    def takes(length: float) -> float:
        return latency.tokenise_ms(length) + sum(latency.graph_ms(graph, length) for graph in graphs)

    fits, too_long = 0, manifest.tokenizer.max_length + 1
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if takes(middle) <= deadline_ms:
            fits = middle
        else:
            too_long = middle
    return Path(tuple(widths), takes(tokens), fits)
