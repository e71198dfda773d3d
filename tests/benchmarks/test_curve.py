"""`benchmarks/curve.py` and `benchmarks/ablation.py` from their arguments to their tables, on tiny models."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import ablation, curve
from benchmarks.curves.methods import METHODS
from benchmarks.curves.tables import command

DataFolder = Callable[[str], Path]


def run(main: Callable[[], None], monkeypatch: pytest.MonkeyPatch, *args: object) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark.py", *map(str, args)])
    main()


def test_the_command_shown_names_no_place_on_this_machine(tmp_path: Path) -> None:
    parser = curve.parser()
    given = ["--data", f"{tmp_path}/sst2/", "--work", str(tmp_path), "--seeds", "0,1", "--ours", "epochs=2 seed=1"]
    shown = command(parser, parser.parse_args(given))
    assert shown.endswith('--data sst2 --ours "epochs=2 seed=1" --seeds 0,1')
    assert str(tmp_path) not in shown


def test_data_without_a_test_split_is_refused(
    tiny_encoder: Path, tiny_data: DataFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiny_data("classification")
    (data / "test.jsonl").unlink()
    with pytest.raises(SystemExit, match="has no test split"):
        run(curve.main, monkeypatch, "--data", data, "--model", tiny_encoder, "--work", tmp_path)


def test_an_unknown_method_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match="unknown method magic; expected some of ours"):
        run(curve.main, monkeypatch, "--methods", "ours,magic")


@pytest.mark.slow
@pytest.mark.parametrize(("task", "seeds"), [("classification", "0,1"), ("regression", "0"), ("multi_label", "0")])
def test_every_method_ends_in_the_tables_and_nothing_is_trained_twice(
    task: str,
    seeds: str,
    tiny_encoder: Path,
    tiny_data: DataFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    common = ["--data", tiny_data(task), "--model", tiny_encoder, "--work", tmp_path / "work", "--epochs", 1]
    common += ["--ours", "widths=1/4,1/2,1 trunk_layers=0"]
    arguments = [*common, "--seeds", seeds, "--easy-thresholds", 0.7, "--output", tmp_path / "out" / "curve"]
    run(curve.main, monkeypatch, *arguments)
    first = capsys.readouterr()
    assert "trained ours" in first.err
    assert "left out: 3-layer MiniLM" in first.err  # the others start from another encoder
    assert str(tmp_path) not in first.out
    with (tmp_path / "out" / "curve.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["method"] for row in rows} == METHODS.keys() - {"minilm-l3"}
    assert all(float(row["dev_macs"]) <= float(row["budget"]) + 1e-4 for row in rows)
    plain = [row for row in rows if row["method"] == "plain" and row["budget"] == "inf"]
    assert [float(row["test_macs"]) for row in plain] == [1.0] * len(plain)
    assert (tmp_path / "out" / "curve.png").stat().st_size > 10_000

    run(curve.main, monkeypatch, *arguments)
    second = capsys.readouterr()
    assert "trained" not in second.err
    assert second.out == first.out

    run(ablation.main, monkeypatch, *common, "--switch", "", "--switch", "trunk_layers=1")
    third = capsys.readouterr()
    assert third.err.count("trained ours") == 1  # the default recipe's is there
    assert "| `trunk_layers=1` |" in third.out
