"""`benchmarks/training_cost.py` from its arguments to its table, on a tiny model."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import training_cost
from benchmarks.training_cost import Seconds, table

DataFolder = Callable[[str], Path]


def test_the_table_compares_epochs_and_not_steps() -> None:
    """A recipe may take more or fewer steps for the same samples."""
    times = {
        training_cost.PLAIN: [[Seconds(1.0, 1.0)] * 4, [Seconds(2.0, 1.0)] * 4],
        "ours": [[Seconds(3.0, 2.0)] * 2, [Seconds(3.0, 4.0)] * 2],
    }
    plain, ours = table(times).splitlines()[2:4]
    assert plain == "| plain fine-tuning | 4 | 1500.0 | 6.00 | 1 | 1 |"
    assert ours == "| ours | 2 | 3000.0 | 6.00 | 1.12 (0.75 to 1.50) | 1.50 (1.00 to 2.00) |"


def test_a_run(
    tiny_encoder: Path,
    tiny_data: DataFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["--model", tiny_encoder, "--data", tiny_data("classification"), "--max-train-samples", "20"]
    words += ["--batch-size", "8", "--epochs", "2", "--ours", "widths=1/4,1", "--precision", "bf16"]
    monkeypatch.setattr(sys, "argv", ["cost", *map(str, words), "--threads", "1", "--output", str(tmp_path / "cost")])
    training_cost.main()
    printed = capsys.readouterr().out
    assert printed.startswith((tmp_path / "cost.md").read_text())
    assert "widths 0.25, 1" in printed and "precision bf16" in printed
    record = json.loads((tmp_path / "cost.json").read_text())
    assert {name: [len(epoch) for epoch in epochs] for name, epochs in record["seconds"].items()} == {
        "plain fine-tuning": [3, 3],
        "distill": [3, 3],
    }
