"""The road from labelled text to answers, each step by its command, and what the steps say about each other."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli

WIDTHS = [0.25, 0.5, 1.0]


def test_every_step_of_the_road_agrees_with_the_others(
    cli: Cli, trained: Any, bundle: Path, exported: Any, artifact: Path, data: Path, tmp_path: Path
) -> None:
    json_form = ("--format", "json")
    assert trained["widths"] == WIDTHS
    assert trained["samples"] == {"train": 240, "dev": 60}

    plan = cli("export", bundle, "--target", "rpi4", "--output", tmp_path / "plan", "--dry-run", *json_form).record
    assert not (tmp_path / "plan").exists()
    assert exported["parity"]["passed"]
    assert [graph["file"] for graph in plan["graphs"]] == [graph["file"] for graph in exported["manifest"]["graphs"]]

    verified = cli("verify", artifact, *json_form).record
    assert verified["passed"]
    assert verified["rows"] == plan["golden_rows"]
    assert [check["max_abs_diff"] for check in verified["widths"]] == [
        check["max_abs_diff"] for check in exported["parity"]["widths"]
    ]

    test = data / "test.jsonl"
    on_device = cli("evaluate", artifact, "--data", test, *json_form).record
    with_torch = cli("evaluate", bundle, "--data", test, *json_form).record
    names = ["w=0.25", "w=0.5", "full", "routed", "random"]
    assert [row["name"] for row in on_device["rows"]] == names
    assert [row["name"] for row in with_torch["rows"][:5]] == names
    # The policies that the training chose on dev: they escalate, which only torch's evaluation does so far.
    assert [row["name"] for row in with_torch["rows"][5:]] == [one["name"] for one in trained["policies"]]
    assert on_device["texts"] == with_torch["texts"] == 40
    for ours, theirs in zip(on_device["rows"][:3], with_torch["rows"][:3], strict=True):
        assert ours["mean_macs"] == pytest.approx(theirs["mean_macs"])
        assert ours["accuracy"] == pytest.approx(theirs["accuracy"], abs=0.05)
        assert theirs["mean_ms"] is None

    rows = [json.loads(line) for line in test.read_text().splitlines()]
    answers = cli("run", artifact, "--input", test, *json_form).lines
    routed = on_device["rows"][3]
    assert [answer["text"] for answer in answers] == [row["text"] for row in rows]
    right = sum(answer["label"] == row["label"] for answer, row in zip(answers, rows, strict=True))
    assert right / len(rows) == pytest.approx(routed["accuracy"])
    counts = Counter(answer["width"] for answer in answers)
    assert [counts[width] / len(rows) for width in WIDTHS] == [row["share"] for row in on_device["rows"][:3]]
    assert all(answer["scores"][answer["label"]] == max(answer["scores"].values()) for answer in answers)

    for width, row in zip(WIDTHS, on_device["rows"], strict=False):
        fixed = cli("run", artifact, "--input", test, "--width", width, *json_form).lines
        assert {answer["reason"] for answer in fixed} == {"explicit"}
        right = sum(answer["label"] == one["label"] for answer, one in zip(fixed, rows, strict=True))
        assert right / len(rows) == pytest.approx(row["accuracy"])

    inspected = cli("inspect", artifact, *json_form).record
    assert inspected["labels"] == ["blue", "green", "red"]
    assert inspected["widths"] == WIDTHS
    assert inspected["files"]["trunk.onnx"] == (artifact / "trunk.onnx").stat().st_size
    assert sum(inspected["files"].values()) == sum(file.stat().st_size for file in artifact.iterdir())
    of_bundle = cli("inspect", bundle, *json_form).record
    assert [part["macs"] for part in of_bundle["parts"]] == [part["macs"] for part in inspected["parts"]]
    assert of_bundle["provenance"]["dev"] == trained["dev"]

    quick = ("--min-samples", "2", "--min-seconds", "0", "--lengths", "8,16")
    profiled = cli("profile", artifact, "--data", test, *quick, "--output", tmp_path / "p.json", *json_form).record
    assert json.loads((tmp_path / "p.json").read_text()) == profiled
    assert [row["share"] for row in profiled["mix"]["shares"]] == [row["share"] for row in on_device["rows"][:3]]
    assert {row["tokens"] for row in profiled["stages"]} == {8, 16}
    macs = {(row["stage"], row["width"]): row["macs"] for row in profiled["stages"] if row["tokens"] == 16}
    assert macs["total", 1.0] == macs["trunk", None] + macs["tail", 1.0]


def test_tables_hold_the_figures_of_the_json(cli: Cli, bundle: Path, artifact: Path, data: Path) -> None:
    """Every table is within 80 columns, and its figures are those of the record."""
    test = data / "test.jsonl"
    cases = {
        "inspect bundle": cli("inspect", bundle),
        "inspect artifact": cli("inspect", artifact),
        "verify": cli("verify", artifact),
        "evaluate": cli("evaluate", bundle, "--data", test),
        "plan": cli("export", bundle, "--target", "rpi4", "--dry-run"),
        "profile": cli("profile", artifact, "--min-samples", "2", "--min-seconds", "0", "--lengths", "8"),
        "devices": cli("devices", "list"),
        "device": cli("devices", "show", "rpi4"),
        "run": cli("run", artifact, "a red car", "the blue " * 40),
    }
    for name, outcome in cases.items():
        assert outcome.code == 0, outcome.err
        assert max(map(len, outcome.out.splitlines())) <= 80, name
        assert "…" not in outcome.out or name == "run", name
    record = cli("evaluate", bundle, "--data", test, "--format", "json").record
    for row in record["rows"]:
        (line,) = [line for line in cases["evaluate"].out.splitlines() if line.startswith(f"│ {row['name']} ")]
        assert f"{row['accuracy']:.2%}".rstrip("%") in line
        assert f"{row['mean_macs'] / 1e6:,.1f}" in line
    assert "passed" in cases["verify"].out


def test_pairs(cli: Cli, pair_artifact: Path, tmp_path: Path) -> None:
    answer = cli("run", pair_artifact, "a car", "--pair", "the red house", "--format", "json").lines
    assert (answer[0]["text"], answer[0]["text_pair"]) == ("a car", "the red house")
    cli("run", pair_artifact, "a car").failed(1, "TEXT 1", "pairs are expected")
    cli("run", pair_artifact, "a car", "a tree", "--pair", "b").failed(2, "2 TEXT and 1 --pair")
    cli("run", pair_artifact, stdin=b"a car\n").failed(2, "takes pairs", "--input")
    rows = b'{"text": "a car", "text_pair": "the red house"}\n'
    from_stdin = cli("run", pair_artifact, "--input", "-", "--format", "json", stdin=rows).lines
    assert from_stdin[0]["scores"] == answer[0]["scores"]
    cli("run", pair_artifact, "--input", "-", stdin=b'{"text": "a car"}\n').failed(1, "row 1", "pairs are expected")
    columns = ("--text-column", "premise", "--pair-column", "hypothesis")
    rows = b'{"premise": "a car", "hypothesis": "the red house"}\n'
    renamed = cli("run", pair_artifact, "--input", "-", *columns, "--format", "json", stdin=rows).lines
    assert renamed[0]["scores"] == answer[0]["scores"]


def test_recipe_sharcs_is_slicing_as_published(cli: Cli, source: Path, data: Path, tmp_path: Path) -> None:
    sharcs = ("--recipe", "sharcs", "--label-window", "1", "--epochs", "2", "--widths", "0.5,1", "--threads", "1")
    outcome = cli("train", "--model", source, "--data", data, "-o", tmp_path / "b", *sharcs, "--format", "json")
    assert (outcome.record["width_dims"], outcome.record["entry_norm"]) == ("all", "every")
    assert outcome.record["narrow_dropout"] is True
    assert f"next: sharcs-edge export {tmp_path / 'b'} " in outcome.err
