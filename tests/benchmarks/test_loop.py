"""The benchmark's own loop trains a plain encoder exactly as `sharcs_edge.train` does."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks.curves.bench import PLAIN, PLAIN_OPTIONS, Bench, Settings
from benchmarks.curves.loop import trained
from benchmarks.curves.separate import OneWidth
from sharcs_edge.config import SharcsConfig
from sharcs_edge.train.options import TrainOptions

DataFolder = Callable[[str], Path]


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_plain_fine_tuning_is_the_same_in_both_loops(
    task: str, tiny_encoder: Path, tiny_data: DataFolder, tmp_path: Path
) -> None:
    options = TrainOptions(epochs=2, batch_size=16, learning_rate=3e-3)
    settings = Settings(str(tiny_encoder), str(tiny_data(task)), None, None, SharcsConfig(), options, options, tmp_path)
    bench = Bench(settings, seed=1)
    theirs = bench.nested("plain", PLAIN, bench.common, reads=PLAIN_OPTIONS)
    ours = trained(bench, "loop", PLAIN, partial(OneWidth, width=1.0))
    for split in ("dev", "test"):
        np.testing.assert_allclose(ours[split].logits, theirs[split].logits, atol=1e-4)
        assert (ours[split].macs <= theirs[split].macs).all()
