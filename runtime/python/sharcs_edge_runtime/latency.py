"""`latency.json`: how long each graph of an artifact takes on one device (SPEC.md, section 13)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Final

from sharcs_edge_runtime._attached import BINDING, Attached
from sharcs_edge_runtime._strict_json import (
    Reader,
    array,
    fail,
    integer,
    number,
    one_of,
    optional,
    record,
    show,
    text,
)
from sharcs_edge_runtime.manifest import Manifest

SCHEMA_VERSION: Final = 1
LATENCY_NAME: Final = "latency.json"
_SAME_DEVICE: Final = ("model", "machine", "cpu", "cores")


@dataclass(frozen=True)
class GraphLatency:
    """Milliseconds of one graph for an input of each length: mean and 95th percentile."""

    name: str
    mean_ms: tuple[float, ...]
    p95_ms: tuple[float, ...]


@dataclass(frozen=True)
class Watts:
    """What the device draws while it computes, and who says so."""

    value: float
    source: str


@dataclass(frozen=True)
class LatencyTable(Attached):
    """`latency.json`: how long each graph takes on one device.

    Attributes:
        device, runtime: as in a profile record (`fingerprint.read_device`, `fingerprint.read_runtime`).
        threads: that computed one prediction.
        verdict: whether the machine was quiet: "stable", "noisy" or "throttled".
        lengths: tokens per input, ascending; what follows has one figure for each.
        tokenise_ms: mean.
        graphs: the trunk, then the tails in ascending width.
        watts: for estimates of energy; None if unknown.
    """

    _NAME: ClassVar[str] = LATENCY_NAME
    _VERSION: ClassVar[int] = SCHEMA_VERSION
    _COMMAND: ClassVar[str] = "profile"
    _CURE: ClassVar[str] = "run `sharcs-edge profile --save` again, or delete the file"

    device: Mapping[str, Any]
    runtime: Mapping[str, Any]
    threads: int
    verdict: str
    lengths: tuple[int, ...]
    tokenise_ms: tuple[float, ...]
    graphs: tuple[GraphLatency, ...]
    watts: Watts | None

    @classmethod
    def of_profile(cls, profile: Mapping[str, Any], watts: Watts | None = None) -> LatencyTable:
        """The table in a record of `sharcs_edge_runtime.profile`."""
        lengths = tuple(profile["settings"]["lengths"])

        def column(stage: str, width: float | None, statistic: str) -> tuple[float, ...]:
            found = {
                row["tokens"]: row["ms"][statistic]
                for row in profile["stages"]
                if row["stage"] == stage and row["width"] == width
            }
            return tuple(found[tokens] for tokens in lengths)

        kinds = [("trunk", None), *(("tail", width) for width in profile["artifact"]["widths"])]
        names = [graph["name"] for graph in profile["artifact"]["graphs"]]
        return cls(
            schema_version=SCHEMA_VERSION,
            manifest_sha256=profile["artifact"]["manifest_sha256"],
            created=profile["created"],
            device=profile["device"],
            runtime=profile["runtime"],
            threads=profile["settings"]["threads"],
            verdict=profile["verdict"]["state"],
            lengths=lengths,
            tokenise_ms=column("tokenise", None, "mean"),
            graphs=tuple(
                GraphLatency(name, column(*kind, "mean"), column(*kind, "p95"))
                for name, kind in zip(names, kinds, strict=True)
            ),
            watts=watts,
        )

    def measured_on(self, device: Mapping[str, Any]) -> bool:
        """Whether `device` (`fingerprint.read_device`) is of the kind that was measured."""
        return all(self.device.get(name) == device.get(name) for name in _SAME_DEVICE)

    @classmethod
    def _readers(cls) -> Mapping[str, Reader]:
        return _LATENCY

    @classmethod
    def _inconsistencies(cls, sound: Mapping[str, Any]) -> Sequence[str]:
        return _inconsistencies(sound)

    def _misfits(self, manifest: Manifest) -> Sequence[str]:
        tails = (manifest.tail(width).name for width in manifest.widths)
        expected, names = [manifest.trunk.name, *tails], [graph.name for graph in self.graphs]
        if names == expected:
            return ()
        return (f"expected the graphs {', '.join(expected)}, got {', '.join(names)} @ $.graphs",)


def _inconsistencies(sound: Mapping[str, Any]) -> list[str]:
    """Every broken rule between fields that could be read."""
    lengths: Sequence[int] = sound.get("lengths", ())
    problems = [
        f"lengths must ascend, {later} follows {earlier} @ $.lengths[{index}]"
        for index, (earlier, later) in enumerate(pairwise(lengths), start=1)
        if later <= earlier
    ]
    columns = [("$.tokenise_ms", sound.get("tokenise_ms"))]
    for index, graph in enumerate(sound.get("graphs", ())):
        columns += [(f"$.graphs[{index}].{name}", getattr(graph, name)) for name in ("mean_ms", "p95_ms")]
    if lengths:
        problems += [
            f"expected {len(lengths)} numbers, one per length, got {len(column)} @ {path}"
            for path, column in columns
            if column is not None and len(column) != len(lengths)
        ]
    return problems


def _facts(value: Any, path: str, problems: list[str]) -> Any:
    """Free JSON: facts differ from machine to machine."""
    return value if isinstance(value, dict) else fail(problems, f"expected an object, got {show(value)}", path)


_LARGE: Final = 1e12
_MS = array(number(0.0, _LARGE, above_minimum=True))
_LATENCY: dict[str, Reader] = {
    "schema_version": one_of(SCHEMA_VERSION),
    **BINDING,
    "device": _facts,
    "runtime": _facts,
    "threads": integer(1),
    "verdict": one_of("stable", "noisy", "throttled"),
    "lengths": array(integer(1)),
    "tokenise_ms": _MS,
    "graphs": array(record(GraphLatency, {"name": text(), "mean_ms": _MS, "p95_ms": _MS})),
    "watts": optional(record(Watts, {"value": number(0.0, _LARGE, above_minimum=True), "source": text()})),
}
