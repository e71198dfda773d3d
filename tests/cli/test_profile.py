"""`profile` as a user has it: the report, Markdown, and a later run against an earlier one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import html5lib
import pytest

from sharcs_edge.profile.records import parse_record
from sharcs_edge_runtime import profile as profiler
from sharcs_edge_runtime._timing import summarise
from tests.cli.conftest import Cli

QUICK = ("--min-samples", "5", "--min-seconds", "0", "--lengths", "8,16")


@pytest.fixture(autouse=True)
def _one_cold_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiler, "COLD_STARTS", 1)


@pytest.fixture(scope="module")
def earlier(artifact: Path, data: Path) -> dict[str, Any]:
    """A record of the profiler itself."""
    texts = tuple(json.loads(line)["text"] for line in (data / "test.jsonl").read_text().splitlines())
    settings = profiler.Settings((8, 16), min_samples=5, min_seconds=0)
    return profiler.profile(artifact, profiler.Texts(texts, "test.jsonl"), settings)


@pytest.fixture
def base(earlier: dict[str, Any], tmp_path: Path) -> Callable[..., Path]:
    """The earlier record as a file, with all its samples scaled or with other changes."""

    def write(scale: float = 1.0, **changes: Any) -> Path:
        record = json.loads(json.dumps(earlier))
        for owner in (*record["stages"], record["mix"], record["cold_start"]):
            for name, value in owner.items():
                if isinstance(value, dict) and "samples" in value:
                    owner[name] = summarise([sample * scale for sample in value["samples"]])
        for name, change in changes.items():
            record[name].update(change)
        file = tmp_path / "base.json"
        file.write_text(json.dumps(record), encoding="utf-8")
        return file

    return write


def test_what_the_profiler_writes_is_a_record(earlier: dict[str, Any]) -> None:
    assert parse_record(json.loads(json.dumps(earlier)), "record") == earlier


def test_a_report_and_the_record_of_one_run(cli: Cli, artifact: Path, tmp_path: Path) -> None:
    report, output = tmp_path / "report.html", tmp_path / "record.json"
    outcome = cli("profile", artifact, *QUICK, "--report", report, "--output", output, "--format", "markdown")
    assert outcome.code == 0, outcome.err
    assert f"the report: {report}" in outcome.err
    record = json.loads(output.read_text(encoding="utf-8"))
    page = report.read_text(encoding="utf-8")
    text = " ".join(html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(page).itertext())
    speedup = f"{record['mix']['speedup']:.2f}"
    assert artifact.name in text and speedup in text and record["verdict"]["state"] in text
    assert outcome.out.startswith(f"### {artifact.name} on ") and f"speed-up of the mean {speedup}x" in outcome.out


def test_a_run_that_is_much_slower_than_before_fails(
    cli: Cli, artifact: Path, data: Path, base: Callable[..., Path], tmp_path: Path
) -> None:
    options = ("--data", data / "test.jsonl", "--min-samples", "5", "--min-seconds", "0")
    report = tmp_path / "report.html"
    outcome = cli("profile", artifact, *options, "--compare", base(1e-3), "--report", report)
    outcome.failed(3, "figures are worse by more than 10 %", "most of all")
    assert "regression" in outcome.out
    assert "Against a previous run" in report.read_text(encoding="utf-8")
    outcome = cli("profile", artifact, *options, "--compare", base(1e3), "--fail-over", "0.5", "--format", "json")
    assert outcome.code == 0, outcome.err
    comparison = outcome.record["comparison"]
    assert comparison["passed"] and comparison["fail_over"] == 0.5
    assert [change["judgement"] for change in comparison["changes"] if change["group"] == "mix"] == ["better"] * 4
    assert outcome.record["settings"]["lengths"] == [8, 16]  # those of the base


def test_a_base_of_another_kind_is_refused_before_anything_is_measured(
    cli: Cli, artifact: Path, base: Callable[..., Path], tmp_path: Path
) -> None:
    output = tmp_path / "record.json"
    for changes, part in (
        ({"device": {"model": "Raspberry Pi 4"}}, "model: Raspberry Pi 4 in the base"),
        ({"artifact": {"widths": [1.0]}}, "widths: 1 in the base"),
        ({"settings": {"threads": 4}}, "threads: 4 in the base, 1 now"),
    ):
        outcome = cli("profile", artifact, "--output", output, "--compare", base(**changes))
        outcome.failed(2, "cannot be compared", part)
        assert "stages at" not in outcome.err
    cli("profile", artifact, *QUICK, "--compare", base(settings={"lengths": [8]})).failed(2, "lengths: 8 in the base")
    assert not output.exists()


def test_options_that_cannot_be(cli: Cli, artifact: Path, base: Callable[..., Path], tmp_path: Path) -> None:
    cli("profile", artifact, "--compare", tmp_path / "none.json").failed(1, "cannot read", "none.json")
    (tmp_path / "other.json").write_text('{"kind": "evaluation"}')
    cli("profile", artifact, "--compare", tmp_path / "other.json").failed(1, "other.json is no profile record")
    cli("profile", artifact, "--compare", base(), "--fail-over", "ten").failed(2, "--fail-over is 'ten'", "10%")
    cli("profile", artifact, "--compare", base(), "--fail-over", "-1%").failed(2, "--fail-over is '-1%'")
    missing = tmp_path / "missing" / "report.html"
    cli("profile", artifact, "--report", missing).failed(2, f"cannot write {missing}", "create it first")
    cli("profile", artifact, "--max-celsius", "-1").failed(2, "max_celsius is -1")
