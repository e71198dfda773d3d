"""Probes rank what can be ranked, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.router_probe import Probe, Samples, area, probes
from sharcs_edge.train.metrics import SplitOutputs


def samples(seed: int, count: int = 400) -> Samples:
    """Only the full width is right where the second layer's first feature is large; the first layer tells nothing."""
    draw = np.random.default_rng(seed)
    blind, telling = (draw.normal(size=(count, 6)).astype(np.float32) for _ in range(2))
    labels = draw.integers(0, 2, count)
    hard = telling[:, 0] > 0.5
    right = np.where(labels[:, None] == np.arange(2), 2.0, -2.0).astype(np.float32)
    logits = np.stack([np.where(hard[:, None], -right, right), right])
    nothing = np.zeros(count, dtype=np.int64)
    outputs = SplitOutputs(logits, np.zeros((count, 2), np.float32), labels, nothing, np.zeros((count, 2), np.int64))
    states = [blind, telling]
    return Samples({"mean": states, "first": states}, outputs, draw.integers(3, 30, count))


@pytest.mark.parametrize("source", ["dev", "train"])
@pytest.mark.parametrize("target", ["flip", "gap"])
def test_a_probe_finds_what_its_features_tell(source: str, target: str) -> None:
    train, dev = samples(1), samples(2)
    probe = Probe(1, target=target, learns_from=source)
    assert area(probe, train, dev, seed=0) > 0.95
    assert 0.35 < area(replace(probe, depth=0), train, dev, seed=0) < 0.65


def test_features_of_several_kinds_are_joined() -> None:
    dev = samples(2)
    assert dev.features(Probe(1, pooling="mean+first+length")).shape == (400, 13)


def test_every_layer_that_the_full_width_has_is_probed() -> None:
    names = [name for name, probe in probes(1, 6) if name == f"after {probe.depth} layers"]
    assert names == [f"after {depth} layers" for depth in range(6)]
