"""Where milliseconds come from: `latency.json` if it was made on that device, else an estimate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, Protocol

from sharcs_edge.device import DeviceProfile, load_device
from sharcs_edge.errors import DeviceError, UsageError
from sharcs_edge.latency.estimate import EFFICIENCY, ERROR_FACTOR, EstimatedLatency
from sharcs_edge_runtime.artifact import Artifact
from sharcs_edge_runtime.fingerprint import UNAVAILABLE
from sharcs_edge_runtime.latency import LATENCY_NAME, LatencyTable
from sharcs_edge_runtime.manifest import Graph


class Latency(Protocol):
    """Mean milliseconds of each stage of a prediction, for an input of so many tokens (maybe a mean, not whole)."""

    def tokenise_ms(self, tokens: float) -> float:
        """Tokenizing one text."""

    def graph_ms(self, graph: Graph, tokens: float) -> float:
        """One run of the trunk or of a tail."""


class MeasuredLatency:
    """What `profile --save` measured, linear between the lengths and beyond the outer two.

    Beyond these, noise is extrapolated, too. So a shorter text takes no less than its share of the shortest one's
    tokens, and a longer one no less time than the longest.
    """

    def __init__(self, table: LatencyTable) -> None:
        self._lengths = table.lengths
        self._tokenise = table.tokenise_ms
        self._graphs = {graph.name: graph.mean_ms for graph in table.graphs}

    def tokenise_ms(self, tokens: float) -> float:
        """Tokenizing one text."""
        return self._at(self._tokenise, tokens)

    def graph_ms(self, graph: Graph, tokens: float) -> float:
        """One run of the trunk or of a tail; with a single length, in proportion to the MACs."""
        times = self._graphs[graph.name]
        if len(times) == 1 and (known := graph.macs.count(self._lengths[0])):
            return times[0] * mean_macs(graph, tokens) / known
        return self._at(times, tokens)

    def _at(self, times: tuple[float, ...], tokens: float) -> float:
        if len(times) == 1:
            return times[0] * tokens / self._lengths[0]
        segments = list(pairwise(zip(self._lengths, times, strict=True)))
        (left, low), (right, high) = next((pair for pair in segments if tokens <= pair[1][0]), segments[-1])
        time = low + (tokens - left) * (high - low) / (right - left)
        if tokens < self._lengths[0]:
            return max(time, times[0] * tokens / self._lengths[0])
        return max(time, times[-1]) if tokens > self._lengths[-1] else time


@dataclass(frozen=True)
class Timing:
    """Times and what they are worth.

    Attributes:
        kind: "measured" on such a device, or "estimated" from its profile.
        device: its name for people.
        source: where the times come from.
        assumption: what an estimate rests on; None for measured times.
        error_factor: by what the truth may differ from an estimate, either way; 1 for measured times.
        watts: what the device draws while it computes, and `watts_source`; None if unknown.
    """

    kind: Literal["measured", "estimated"]
    device: str
    source: str
    assumption: str | None
    error_factor: float
    threads: int
    watts: float | None
    watts_source: str | None
    latency: Latency

    def to_dict(self) -> dict[str, Any]:
        """What is known of the times, as plain JSON values."""
        return {name: value for name, value in vars(self).items() if name != "latency"}


def mean_macs(graph: Graph, tokens: float) -> float:
    """Multiply-accumulates of a graph for a number of tokens that need not be whole."""
    macs = graph.macs
    return macs.per_row + tokens * (macs.per_token + tokens * macs.per_token_squared)


def find_timing(artifact: Artifact, device: str | None) -> Timing:
    """The times of an artifact on a device: the target that it was exported for, or what was measured, if None.

    Raises DeviceError for an unknown device or one whose profile says too little, UsageError if there is neither.
    """
    table = LatencyTable.load(artifact)
    if device is None:
        return _measured(table) if table is not None else _of_target(artifact)
    profile = load_device(device)
    if table is not None and was_made_on(table.device, profile):
        return _measured(table, profile)
    return _estimated(artifact, profile)


def was_made_on(facts: Mapping[str, Any], profile: DeviceProfile) -> bool:
    """Whether a machine (`fingerprint.read_device`) is one of a profile: the same cores, or, for a class of machines,
    every feature of the class."""
    if profile.cores:
        return {(kind.get("part"), kind.get("count")) for kind in _cores(facts)} == {
            (kind.part, kind.count) for kind in profile.cores
        }
    features = facts.get("features")
    return isinstance(features, list) and set(profile.isa.features) <= set(features)


def _of_target(artifact: Artifact) -> Timing:
    target = artifact.manifest.target
    try:
        return _estimated(artifact, load_device(target))
    except DeviceError as error:
        raise UsageError(
            f"there is no {LATENCY_NAME} in {artifact.path}, and the device it was exported for gives no estimate "
            f"({error}); measure there with `sharcs-edge profile ARTIFACT --save`, or name a device with --device"
        ) from error


def _measured(table: LatencyTable, profile: DeviceProfile | None = None) -> Timing:
    watts, source = (None, None) if table.watts is None else (table.watts.value, table.watts.source)
    if watts is None and profile is not None and profile.power is not None:
        watts, source = profile.power.watts, profile.power.source
    verdict = "" if table.verdict == "stable" else f"; the machine was {table.verdict}"
    return Timing(
        kind="measured",
        device=_name_of(table.device),
        source=f"{LATENCY_NAME} of {table.created}{verdict}",
        assumption=None,
        error_factor=1.0,
        threads=table.threads,
        watts=watts,
        watts_source=source,
        latency=MeasuredLatency(table),
    )


def _cores(facts: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The kinds of cores, if the machine told."""
    found = facts.get("cpu")
    return [kind for kind in found if isinstance(kind, dict)] if isinstance(found, list) else []


def _name_of(facts: Mapping[str, Any]) -> str:
    """The machine's model; where it does not tell, its processor."""
    names = [facts.get("model"), *(kind.get("part") for kind in _cores(facts))]
    return next((name for name in names if isinstance(name, str) and name != UNAVAILABLE), "the measured machine")


def _estimated(artifact: Artifact, profile: DeviceProfile) -> Timing:
    latency = EstimatedLatency(artifact.manifest, profile)
    power = profile.power
    return Timing(
        kind="estimated",
        device=profile.title,
        source=f"device profile {profile.name}: {latency.facts}",
        assumption=(
            f"matrix products reach {EFFICIENCY:.0%} of that peak, and the rest takes as many cycles as on an x86-64 "
            f"core with VNNI; the truth may be {ERROR_FACTOR:g} times more or less"
        ),
        error_factor=ERROR_FACTOR,
        threads=1,
        watts=None if power is None else power.watts,
        watts_source=None if power is None else power.source,
        latency=latency,
    )
