"""Profile records with figures that a test chooses, complete as the profiler writes them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from sharcs_edge_runtime._timing import statistics, summarise

WIDTHS = (0.25, 1.0)
LENGTHS = (16, 64)
TEXTS = 20

Edit = Callable[[dict[str, Any]], None]


def figures(ms: float, count: int = 40, noise: float = 0.01, seed: int = 0) -> dict[str, Any]:
    """`count` samples around `ms`."""
    return summarise((ms * (1 + noise * np.random.default_rng(seed).uniform(-1, 1, count))).tolist())


def rescale(summary: dict[str, Any], factor: float) -> dict[str, Any]:
    """The same figures, every sample `factor` times as long."""
    return summarise([sample * factor for sample in summary["samples"]])


def make_record(*edits: Edit, seed: int = 0) -> dict[str, Any]:
    """Of a Raspberry Pi 4 with two widths; `edits` change it in place."""
    state = {
        "clocks": [{"cpus": "0 1 2 3", "governor": "ondemand", "mhz": 1500, "max_mhz": 1500}],
        "temperatures": [{"zone": "cpu-thermal", "celsius": 48.2}],
        "throttled": {"bits": "0x0", "now": [], "since_boot": []},
    }
    record: dict[str, Any] = {
        "kind": "profile",
        "schema_version": 1,
        "created": "2026-11-22T12:00:00+00:00",
        "artifact": {
            "name": "intents",
            "manifest_sha256": "ab" * 32,
            "family": "0123",
            "task": "classification",
            "backend": "onnx",
            "target": "rpi4",
            "widths": list(WIDTHS),
            "trunk_layers": 1,
            "num_layers": 6,
            "bytes": 26_500_000,
            "graphs": [
                {"name": name, "bytes": 1000, "quantization": "int8_dynamic"} for name in ("trunk", "tail_w025")
            ],
        },
        "settings": {"lengths": list(LENGTHS), "threads": 1, "min_samples": 40, "min_seconds": 2.0, "warm_up": 5},
        "budget": {"rules": 0},
        "device": {
            "model": "Raspberry Pi 4 Model B",
            "machine": "aarch64",
            "cpu": [{"part": "Cortex-A72", "count": 4}],
            "cores": 4,
            "features": ["neon", "crc32"],
            "hwcap": {"hwcap": "0x8ff", "hwcap2": "unavailable"},
            "ram_mb": 3793,
            "os": "Debian GNU/Linux 12 (bookworm)",
            "kernel": "6.6.20",
            "libc": "glibc 2.36",
            "python": "3.11.2 (64 bit)",
        },
        "runtime": {
            "engine": "onnxruntime 1.31.1",
            "requested_provider": "CPUExecutionProvider",
            "active_provider": "CPUExecutionProvider",
            "sharcs_edge_runtime": "0.1.0",
            "active_threads": 1,
            "affinity": [0, 1, 2, 3],
        },
        "state": {"before": state, "after": copy.deepcopy(state)},
        "thermal": [{"group": "stages at 16 tokens", "waited_seconds": 0.0, "celsius": 48.2, "held_back": None}],
        "texts": {"source": "texts.jsonl", "sha256": "cd" * 32, "given": 700, "used": TEXTS, "tokens_mean": 24.0},
        "parity": {"passed": True, "rows": 64, "label_agreement": 1.0, "route_agreement": 0.984375, "failures": []},
        "cold_start": {
            **{f"{name}_ms": figures(ms, 3, seed=seed) for name, ms in _START.items()},
            "disk_load_ms": 412.5,
            "memory": {
                "interpreter": {"pss_mb": 10.5, "private_mb": 9.0},
                "after_runs": {"pss_mb": 80.5, "private_mb": 70.25},
            },
        },
        "stages": [row for tokens in LENGTHS for row in _stages(tokens, seed)],
        "mix": _mix(seed),
        "operating_points": _points(),
        "verdict": {"state": "stable", "reasons": []},
    }
    for edit in edits:
        edit(record)
    return record


_START = {"import": 900.0, "load": 300.0, "first_run": 30.0, "warm_run": 12.0}


def _stages(tokens: int, seed: int) -> list[dict[str, Any]]:
    times: dict[tuple[str, float | None], float] = {("tokenise", None): 0.05, ("trunk", None): 2.0}
    for width, ms in zip(WIDTHS, (1.0, 10.0), strict=True):
        times |= {("tail", width): ms, ("total", width): 2.05 + ms}
    scale = tokens / LENGTHS[0]
    return [
        {"stage": stage, "width": width, "tokens": tokens, "macs": 1000, "ms": figures(ms * scale, seed=seed + place)}
        for place, ((stage, width), ms) in enumerate(times.items())
    ]


def _mix(seed: int) -> dict[str, Any]:
    """Two passes over texts of very different lengths, three quarters of them narrow."""
    draw = np.random.default_rng(seed)
    lengths = np.random.default_rng(99).uniform(0.2, 5, TEXTS)
    narrow = np.arange(TEXTS) % 4 != 0
    noise = 1 + 0.01 * draw.uniform(-1, 1, (2, 2, TEXTS))
    routed = (np.where(narrow, 3.0, 12.0) * lengths * noise[0]).ravel()
    full = (12.0 * lengths * noise[1]).ravel()
    by = np.tile(np.where(narrow, *WIDTHS), 2)
    return {
        "shares": [
            {
                "width": width,
                "share": float(np.mean(by == width)),
                **{f"{way}_ms": float(ms[by == width].mean()) for way, ms in (("routed", routed), ("full", full))},
                **{way: statistics(ms[by == width]) for way, ms in (("routed", routed), ("full", full))},
            }
            for width in WIDTHS
        ],
        "routed": summarise(routed.tolist()),
        "full": summarise(full.tolist()),
        "decision": figures(0.004),
        "answered_by": by.tolist(),
        "escalated": 0.1,
        "points": {"0": 1.0},
        "speedup": round(float(full.mean() / routed.mean()), 4),
        "agreement": 0.985,
        "router_overhead": 0.001,
        "break_even_share": 0.0012,
    }


def _points() -> dict[str, Any]:
    def point(score: float, macs: float, narrow: float, certified: bool) -> dict[str, Any]:
        shares = [narrow, 1 - narrow]
        drop = round(0.9 - score, 6)
        return {
            "score": score,
            "drop": drop,
            "macs": macs,
            "mean_ms": None,
            "shares": shares,
            "starts": shares,
            "certified": certified,
        }

    points = [point(0.88, 500.0, 0.75, True), point(0.89, 700.0, 0.5, False), point(0.9, 1000.0, 0.0, True)]
    calibration = {"metric": "accuracy", "against": "labels", "max_drop": 0.01, "confidence": 0.95, "samples": 3000}
    return {**calibration, "points": points}
