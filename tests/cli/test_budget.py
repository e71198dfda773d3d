"""The options that say a budget: their files and limits, and what each command makes of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sharcs_edge_runtime import profile
from tests.cli.conftest import Cli, write_rows
from tests.runtime.conftest import TEXTS, build_artifact, point, write_points

NARROW = point([1e6, 0, 0], [0, 0], macs=50.0)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_artifact(tmp_path_factory.mktemp("plain") / "artifact")


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = build_artifact(tmp_path_factory.mktemp("calibrated") / "artifact")
    write_points(folder, NARROW)
    return folder


def test_limits_reach_the_session(cli: Cli, calibrated: Path) -> None:
    (answer,) = cli("run", calibrated, "a table", "--min-width", "0.5", "--format", "json").lines
    assert (answer["width"], answer["reason"]) == (0.5, "min_width")
    (answer,) = cli("run", calibrated, "a table", "--deadline-ms", "0.000001", "--format", "json").lines
    assert (answer["budget_met"], answer["width"]) == (False, 0.25)
    (answer,) = cli("run", calibrated, "a table", "--max-drop", "0", "--format", "json").lines
    assert (answer["point"], answer["width"]) == (1, 1.0)
    (answer,) = cli(
        "run", calibrated, "a table", "--energy-mj", "9e9", "--watts", "3", "--mean-ms", "9e9", "--format", "json"
    ).lines
    assert answer["budget_met"] is True


def test_a_file_says_limits_and_options_replace_them(cli: Cli, calibrated: Path, tmp_path: Path) -> None:
    file = tmp_path / "budget.toml"
    file.write_text("max_width = 0.25\n")
    run = ("run", calibrated, "a table", "--budget", file, "--format", "json")
    assert cli(*run).lines[0]["width"] == 0.25
    assert cli(*run, "--max-width", "1", "--min-width", "1").lines[0]["width"] == 1.0
    cli(*run, "--min-width", "0.5").failed(2, f"{file} with --min-width: min_width 0.5 is above max_width 0.25")


def test_what_is_wrong_is_one_sentence(cli: Cli, plain: Path, calibrated: Path, tmp_path: Path) -> None:
    file = tmp_path / "budget.toml"
    file.write_text("mean_mss = 4\n[[when]]\nbattery_below = 20\n")
    cli("run", plain, "a table", "--budget", file).failed(
        2, "2 problems in the budget: unknown field mean_mss @ $; ", "got 20 @ $.when[0].battery_below"
    )
    cli("run", plain, "a table", "--budget", tmp_path / "gone.toml").failed(2, "cannot read the budget")
    cli("run", plain, "a table", "--mean-ms", "4").failed(2, "mean_ms needs operating points", "sharcs-edge calibrate")
    cli("run", plain, "a table", "--mean-ms", "0").failed(2, "mean_ms is 0.0; expected milliseconds above 0")
    cli("run", plain, "a table", "--memory-mb", "4").failed(2, "memory_mb is 4, and the trunk with tail_w025 takes")
    cli("run", calibrated, "a table", "--energy-mj", "4").failed(2, "energy_mj needs the watts")


def test_a_rule_that_can_never_hold_here_is_told(
    cli: Cli, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sharcs_edge_runtime.conditions.ConditionReader._battery", lambda reader: None)
    file = tmp_path / "budget.toml"
    file.write_text("[[when]]\nbattery_below = 0.2\nmax_width = 0.25\n")
    outcome = cli("run", plain, "a table", "--budget", file)
    assert outcome.code == 0
    assert "this machine does not tell its battery" in outcome.err


def test_evaluate_measures_the_budget_as_the_routed_way(cli: Cli, plain: Path, tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    write_rows(data, [{"text": text, "label": "home"} for text in TEXTS])
    record = cli("evaluate", plain, "--data", data, "--max-width", "0.25", "--format", "json").record
    rows = {row["name"]: row for row in record["rows"]}
    assert rows["routed"]["mean_macs"] == rows["w=0.25"]["mean_macs"]


def test_a_bundle_keeps_no_budget(cli: Cli, bundle: Path, tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    write_rows(data, [{"text": "a red car", "label": "red"}])
    cli("evaluate", bundle, "--data", data, "--mean-ms", "4").failed(2, "is a bundle, which keeps no budget")


def test_profile_saves_the_latency_of_this_machine(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "COLD_STARTS", 1)
    artifact = build_artifact(tmp_path / "artifact")
    quick = ("--lengths", "8", "--min-samples", "3", "--min-seconds", "0", "--format", "json")
    record = cli("profile", artifact, *quick, "--save", "--watts", "4.2", "--max-width", "0.25").record
    assert record["budget"] == {"max_width": 0.25, "watts": 4.2, "rules": 0}
    assert [row["share"] for row in record["mix"]["shares"]] == [1.0, 0.0, 0.0]
    saved = json.loads((artifact / "latency.json").read_bytes())
    assert saved["watts"] == {"value": 4.2, "source": "given to profile --save"}
    assert saved["lengths"] == [8]
    assert cli("verify", artifact).code == 0  # the manifest's hashes know nothing of it
