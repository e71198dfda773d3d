"""Repeated measurement: rounds in which every variant runs once, so that drift meets all variants alike."""

from __future__ import annotations

import gc
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, TypeVar

import numpy as np

Variant = TypeVar("Variant", bound=Hashable)


@dataclass(frozen=True)
class Pace:
    """How long to measure: `min_samples` rounds AND `min_seconds`, whichever is more, after `warm_up` rounds."""

    warm_up: int
    min_samples: int
    min_seconds: float

    def at_least(self, rounds: int) -> Pace:
        """With so many rounds, or the next multiple of them that reaches `min_samples`."""
        return replace(self, min_samples=-(-self.min_samples // rounds) * rounds)


def milliseconds_of(action: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = perf_counter()
    action()
    return (perf_counter() - start) * 1000


def run_rounds(run_round: Callable[[int], Mapping[Variant, float]], pace: Pace) -> dict[Variant, list[float]]:
    """Samples of every variant, in order of time.

    `run_round` gets the round's number (from 0, warm-up included) and returns one measurement per variant.
    """
    samples: dict[Variant, list[float]] = {}
    with _collector_paused():
        for number in range(pace.warm_up):
            run_round(number)
        number, end = pace.warm_up, perf_counter() + pace.min_seconds
        while number - pace.warm_up < pace.min_samples or perf_counter() < end:
            for variant, value in run_round(number).items():
                samples.setdefault(variant, []).append(value)
            number += 1
    return samples


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Without Python's cycle collector, which would stop an arbitrary sample for milliseconds."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def summarise(samples: Sequence[float]) -> dict[str, Any]:
    """`statistics`, and the samples themselves."""
    return {**statistics(samples), "samples": [_rounded(value) for value in samples]}


def statistics(samples: Sequence[float] | np.ndarray[Any, Any]) -> dict[str, Any]:
    """n, min, mean, percentiles, coefficient of variation (standard deviation / mean)."""
    values = np.asarray(samples, dtype=np.float64)
    p50, p90, p95, p99 = np.percentile(values, (50, 90, 95, 99))
    mean = float(values.mean())
    return {
        "n": len(values),
        "min": _rounded(values.min()),
        "mean": _rounded(mean),
        "p50": _rounded(p50),
        "p90": _rounded(p90),
        "p95": _rounded(p95),
        "p99": _rounded(p99),
        "cv": _rounded(values.std() / mean if mean else 0.0),
    }


def _rounded(value: float) -> float:
    """Nanoseconds, where `value` is in milliseconds: what a clock can tell."""
    return round(float(value), 6)
