"""Repeated measurement: rounds in which every variant runs once, so that drift meets all variants alike."""

from __future__ import annotations

import gc
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Any, TypeVar

import numpy as np

Variant = TypeVar("Variant", bound=Hashable)


def milliseconds_of(action: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = perf_counter()
    action()
    return (perf_counter() - start) * 1000


def run_rounds(
    run_round: Callable[[int], Mapping[Variant, float]],
    *,
    warm_up: int,
    min_samples: int,
    min_seconds: float,
) -> dict[Variant, list[float]]:
    """Samples of every variant, in order of time.

    `run_round` gets the round's number (from 0, warm-up included) and returns one measurement per variant. Rounds go on
    until there were `min_samples` of them AND `min_seconds` have passed, both counted after `warm_up` rounds.
    """
    samples: dict[Variant, list[float]] = {}
    with _collector_paused():
        for number in range(warm_up):
            run_round(number)
        number, end = warm_up, perf_counter() + min_seconds
        while number - warm_up < min_samples or perf_counter() < end:
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
    """n, min, mean, percentiles, coefficient of variation (standard deviation / mean) and the samples themselves."""
    values = np.asarray(samples, dtype=np.float64)
    p50, p90, p95, p99 = np.percentile(values, (50, 90, 95, 99))
    mean = float(values.mean())
    return {
        "n": len(samples),
        "min": _rounded(values.min()),
        "mean": _rounded(mean),
        "p50": _rounded(p50),
        "p90": _rounded(p90),
        "p95": _rounded(p95),
        "p99": _rounded(p99),
        "cv": _rounded(values.std() / mean if mean else 0.0),
        "samples": [_rounded(value) for value in samples],
    }


def _rounded(value: float) -> float:
    """Nanoseconds, where `value` is in milliseconds: what a clock can tell."""
    return round(float(value), 6)
