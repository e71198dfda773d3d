"""May these milliseconds be trusted? The profiler's verdict and the reasons for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

# Within a run of seconds, a quiet board repeats itself well inside these limits; a disturbed one does not.
MAX_DRIFT: Final = 0.10  # of the median, between the first and the second half of the samples
MAX_SPREAD: Final = 0.25  # of the median, from p50 to p90
MAX_BACKGROUND_CORES: Final = 0.5
MAX_STEAL: Final = 0.02  # of the wall time


def judge(
    stages: Sequence[Mapping[str, Any]],
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    spent: Mapping[str, float],
    passages: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """``{"state": "stable" | "noisy" | "throttled", "reasons": [...]}``.

    `stages`: rows of the record; only those of stage "total" count. `before`, `after`: `fingerprint.read_state` around
    the measurement. `spent`: `wall_seconds` and `own_cpu_seconds` of this process in between. `passages`: of the
    `ThermalGate`.
    """
    throttling = _throttling(before, after)
    noise = [*_heat(passages), *_unrest(stages), *_company(before, after, spent)]
    state = "throttled" if throttling else "noisy" if noise else "stable"
    return {"state": state, "reasons": throttling + noise}


def _throttling(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What held the processor back while measuring; a fact that the machine does not offer accuses nobody."""
    reasons = []
    first, last = before["throttled"], after["throttled"]
    if isinstance(first, dict) and isinstance(last, dict):
        now = dict.fromkeys([*first["now"], *last["now"]])
        new = [name for name in last["since_boot"] if name not in first["since_boot"] and name not in now]
        reasons += [f"the firmware reports: {name}" for name in (*now, *new)]
    events = (before["throttle_events"], after["throttle_events"])
    if all(isinstance(count, int) for count in events) and events[1] > events[0]:
        reasons.append(f"cores were slowed for heat {events[1] - events[0]} times")
    cooling = [name for state in (before, after) if isinstance(state["cooling"], list) for name in state["cooling"]]
    reasons += [f"the cooling device {name} held the clock down" for name in dict.fromkeys(cooling)]
    return reasons


def _heat(passages: Sequence[Mapping[str, Any]]) -> list[str]:
    """The first group that began hot; what follows it seldom says more."""
    hot = [passage for passage in passages if passage["held_back"] is not None]
    return [f"{passage['group']} began although {passage['held_back']}" for passage in hot[:1]]


def _unrest(stages: Sequence[Mapping[str, Any]]) -> list[str]:
    """The worst drift and the worst spread over their limits, each named once."""
    totals = [row for row in stages if row["stage"] == "total"]
    reasons = []
    drift, row = max(((_drift(row["ms"]["samples"]), row) for row in totals), key=lambda pair: pair[0])
    if drift > MAX_DRIFT:
        reasons.append(
            f"{_name(row)}: the medians of both halves of the run differ by {drift:.0%} (limit {MAX_DRIFT:.0%})"
        )
    spread, row = max(((row["ms"]["p90"] / row["ms"]["p50"] - 1, row) for row in totals), key=lambda pair: pair[0])
    if spread > MAX_SPREAD:
        reasons.append(f"{_name(row)}: p90 is {spread:.0%} above p50 (limit {MAX_SPREAD:.0%})")
    return reasons


def _drift(samples: Sequence[float]) -> float:
    middle = len(samples) // 2
    first, second = np.median(samples[:middle]), np.median(samples[middle:])
    return float(abs(first - second) / np.median(samples))


def _name(row: Mapping[str, Any]) -> str:
    return f"width {row['width']:.3g} at {row['tokens']} tokens"


def _company(before: Mapping[str, Any], after: Mapping[str, Any], spent: Mapping[str, float]) -> list[str]:
    """Other processes on this machine, other guests of its host."""
    first, last = before["cpu_seconds"], after["cpu_seconds"]
    if not isinstance(first, dict) or not isinstance(last, dict) or not spent["wall_seconds"]:
        return []
    wall = spent["wall_seconds"]
    others = (last["busy"] - first["busy"] - spent["own_cpu_seconds"]) / wall
    stolen = (last["steal"] - first["steal"]) / wall
    reasons = []
    if others > MAX_BACKGROUND_CORES:
        reasons.append(f"other processes kept {others:.1f} cores busy (limit {MAX_BACKGROUND_CORES:g})")
    if stolen > MAX_STEAL:
        reasons.append(f"the hypervisor gave {stolen:.0%} of the time to other machines (limit {MAX_STEAL:.0%})")
    return reasons
