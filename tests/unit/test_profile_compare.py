"""Two profile records against each other: what counts as a regression, what as noise, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharcs_edge.errors import CheckFailed, DataError, UsageError
from sharcs_edge.profile.compare import compare, find_base, name_of
from sharcs_edge.profile.records import parse_record, read_record, read_records
from sharcs_edge_runtime._timing import summarise
from tests.unit.profile_records import figures, make_record, rescale


def slower(record: dict[str, Any], factor: float, **wanted: Any) -> None:
    """Every sample of the stages that have these fields."""
    for row in record["stages"]:
        if all(row[key] == value for key, value in wanted.items()):
            row["ms"] = rescale(row["ms"], factor)


def judged(base: dict[str, Any], new: dict[str, Any], limit: float = 0.1) -> dict[str, str]:
    return {name_of(change): change.judgement for change in compare(base, new, limit).changes}


def test_another_run_of_the_same_is_the_same() -> None:
    comparison = compare(make_record(seed=0), make_record(seed=50))
    assert {change.judgement for change in comparison.changes} == {"same"}
    assert comparison.sentence == f"none of {len(comparison.changes)} figures is clearly worse by more than 10 %"
    assert (comparison.notes, comparison.doubts) == ((), ())
    comparison.raise_if_failed()


def test_every_kind_of_figure_is_compared() -> None:
    names = set(judged(make_record(), make_record()))
    assert {
        "tokenise p50 at 16 tokens",
        "tail p50 of width 0.25 at 64 tokens",
        "total p50 of width 1 at 16 tokens",
    } < names
    assert {"routed mean", "routed p95", "full mean", "import p50", "load p50", "first run p50", "private"} < names


def test_a_slower_tail_is_the_regression_that_fails() -> None:
    new = make_record(seed=50)
    slower(new, 1.3, stage="tail", width=1.0, tokens=16)
    comparison = compare(make_record(), new)
    (change,) = comparison.regressions
    assert (change.group, change.figure, change.width, change.tokens) == ("stages", "tail p50", 1.0, 16)
    assert 0.25 < change.low < change.change < change.high < 0.35
    words = r"1 of 20 figures is worse by more than 10 %, most of all tail p50 of width 1 at 16 tokens: \+29\.7 %"
    with pytest.raises(CheckFailed, match=words):
        comparison.raise_if_failed()
    assert compare(make_record(), new, 0.5).regressions == ()
    assert comparison.to_dict()["passed"] is False
    assert json.loads(json.dumps(comparison.to_dict(), allow_nan=False))["changes"][0]["group"] == "stages"


def test_a_change_within_the_noise_neither_passes_for_better_nor_fails() -> None:
    base, new = make_record(), make_record()
    for record, median in ((base, 10.0), (new, 12.0)):
        slowly = [median * (1 + 0.1 * (index // 8 - 2)) for index in range(40)]  # drifts by 40 % within the run
        record["stages"][-1]["ms"] = summarise(slowly)
    assert judged(base, new)["total p50 of width 1 at 64 tokens"] == "unclear"
    assert judged(new, base)["total p50 of width 1 at 64 tokens"] == "same"
    comparison = compare(base, new)
    assert comparison.regressions == ()
    assert comparison.sentence.endswith("(1 may be, within their noise)")


def test_a_stage_of_microseconds_cannot_fail_alone() -> None:
    new = make_record()
    slower(new, 2.0, stage="tokenise")
    assert judged(make_record(), new)["tokenise p50 at 16 tokens"] == "worse"
    slower(new, 20.0, stage="tokenise")
    assert judged(make_record(), new)["tokenise p50 at 16 tokens"] == "regression"


def test_the_mix_is_compared_text_by_text() -> None:
    """The texts' lengths differ by a factor of 25, which is no noise where both runs had the same texts."""
    new = make_record(seed=50)
    new["mix"]["routed"] = rescale(new["mix"]["routed"], 1.2)
    new["mix"]["full"] = summarise(new["mix"]["full"]["samples"] * 2)  # four passes against two
    found = {name_of(change): change for change in compare(make_record(), new).changes}
    assert found["routed mean"].judgement == found["routed p95"].judgement == "regression"
    assert found["routed mean"].high - found["routed mean"].low < 0.05
    assert found["full mean"].judgement == "same"


@pytest.mark.parametrize(
    ("edit", "note"),
    [
        (lambda record: record["texts"].update(sha256="ef" * 32), "the texts differ or are unknown"),
        (lambda record: record["texts"].pop("sha256"), "the texts differ or are unknown"),
        (lambda record: record["budget"].update(mean_ms=3.0), "the budgets differ"),
        (lambda record: record.update(mix=None), "no routed mix"),
    ],
)
def test_a_mix_of_something_else_is_not_compared(edit: Any, note: str) -> None:
    comparison = compare(make_record(), make_record(edit))
    assert note in comparison.notes[-1] and "not compared" in comparison.notes[-1]
    assert all(change.group != "mix" for change in comparison.changes)


def test_what_else_differs_is_noted() -> None:
    new = make_record()
    new["artifact"].update(manifest_sha256="12" * 32, family="4567")
    new["runtime"]["engine"] = "onnxruntime 1.32.0"
    new["state"]["before"]["clocks"][0]["governor"] = "performance"
    assert compare(make_record(), new).notes == (
        "another bundle: intents (abababab) -> intents (12121212)",
        "engine: onnxruntime 1.31.1 -> onnxruntime 1.32.0",
        "governor: ondemand -> performance",
    )


def test_memory_and_start_up() -> None:
    new = make_record()
    new["cold_start"]["memory"]["after_runs"]["private_mb"] = 90.0
    new["cold_start"]["load_ms"] = rescale(new["cold_start"]["load_ms"], 0.5)
    found = judged(make_record(), new)
    assert (found["private"], found["load p50"]) == ("regression", "better")
    new["cold_start"] = {"unavailable": "no child processes"}
    assert not {"private", "load p50"} & judged(make_record(), new).keys()


@pytest.mark.parametrize("factor", [1.0, 1.5])
def test_a_disturbed_run_neither_passes_nor_fails_silently(factor: float) -> None:
    base, new = make_record(), make_record()
    base["verdict"] = {"state": "throttled", "reasons": ["the firmware reports: throttled"]}
    new["verdict"] = {"state": "noisy", "reasons": ["other processes kept 1.0 cores busy (limit 0.5)"]}
    slower(new, factor)
    comparison = compare(base, new)
    assert bool(comparison.regressions) is (factor > 1)
    assert comparison.sentence.endswith("but the base was throttled and the new run was noisy: measure again")


def test_unlike_records_are_refused_with_both_sides() -> None:
    new = make_record()
    new["device"]["model"] = "Raspberry Pi 5"
    new["artifact"]["widths"] = [0.5, 1.0]
    new["settings"].update(lengths=[16], threads=4)
    with pytest.raises(UsageError) as caught:
        compare(make_record(), new)
    for part in (
        "model: Raspberry Pi 4 Model B in the base, Raspberry Pi 5 now",
        "widths: 0.25, 1 in the base, 0.5, 1 now",
        "lengths: 16, 64 in the base, 16 now",
        "threads: 1 in the base, 4 now",
    ):
        assert part in str(caught.value)


def test_a_limit_that_cannot_be() -> None:
    for limit in (-0.1, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="expected 0 or more"):
            compare(make_record(), make_record(), limit)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.3, 4.0), st.integers(0, 3))
def test_all_samples_scaled_change_by_that_factor(factor: float, seed: int) -> None:
    new = make_record(seed=seed)
    slower(new, factor)
    for change in compare(make_record(seed=seed), new).changes:
        if change.group == "stages":
            assert change.change == pytest.approx(factor - 1, abs=1e-3)
            assert change.low <= change.change <= change.high
            if change.figure == "total p50" and factor > 1.15:
                assert change.judgement == "regression"
            if factor < 0.95:
                assert change.judgement == "better"


def test_a_fleet_finds_its_bases_by_name() -> None:
    kitchen, hall = make_record(), make_record()
    kitchen["remote"], hall["remote"] = "kitchen", "hall"
    assert find_base([kitchen, hall], hall) is hall
    assert find_base([kitchen], make_record()) is kitchen
    with pytest.raises(UsageError, match="no base for cellar among kitchen, hall"):
        find_base([kitchen, hall], {"remote": "cellar"})
    with pytest.raises(UsageError, match="no base for this machine"):
        find_base([kitchen, hall], make_record())


def test_records_come_from_json_and_jsonl(tmp_path: Path) -> None:
    record, file = make_record(), tmp_path / "records.json"
    file.write_text(json.dumps(record, indent=2), encoding="utf-8")
    assert read_record(file) == record
    file.write_text(f"{json.dumps(record)}\n\n{json.dumps(record)}\n", encoding="utf-8")
    assert read_records(file) == [record, record]
    with pytest.raises(DataError, match="holds 2 profile records"):
        read_record(file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\xff", "is not UTF-8"),
        (b"not json", "line 1 is not JSON"),
        (b"[]", "is no profile record"),
        (b'{"kind": "evaluation"}', "is no profile record"),
        (b'{"kind": "profile", "schema_version": 2}', "of version 2, this program reads 1"),
    ],
)
def test_what_is_no_record_is_said(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "base.json"
    file.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_records(file)
    assert str(file) in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*none\.json: No such file"):
        read_records(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("edit", "place"),
    [
        (lambda record: record["stages"][0]["ms"].update(p50="fast"), "$.stages[0].ms.p50"),
        (lambda record: record["stages"][0]["ms"].update(samples=[]), "$.stages[0].ms.samples"),
        (lambda record: record["stages"][0]["ms"].update(p50=0.0), "$.stages[0].ms.p50"),
        (lambda record: record["artifact"].update(widths=[]), "$.artifact.widths"),
        (lambda record: record["verdict"].update(state="fine"), "$.verdict.state"),
        (lambda record: record.update(stages=record["stages"][:2]), "$.stages"),
    ],
)
def test_a_damaged_record_names_the_place(edit: Any, place: str) -> None:
    with pytest.raises(DataError, match="is no profile record") as caught:
        parse_record(make_record(edit), "base.json")
    assert f"@ {place}" in str(caught.value)


def test_a_record_may_hold_more_and_less() -> None:
    """Fields are added over time, and the oldest records lack the newer ones."""
    record = make_record(lambda record: record.update(news=1, cold_start={"unavailable": "no"}, mix=None, texts=None))
    for name in ("thermal", "parity", "operating_points", "budget"):
        del record[name]
    assert parse_record(record, "old.json") is record
    assert figures(1.0)["n"] == 40
