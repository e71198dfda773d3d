"""The profiler on a tiny real artifact: what it measures, on which inputs, and when it doubts its own figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharcs_edge_runtime import _cold_start
from sharcs_edge_runtime._profile_inputs import Texts, golden_texts, inputs_of_length, read_texts
from sharcs_edge_runtime._timing import Pace, run_rounds, summarise
from sharcs_edge_runtime._verdict import judge
from sharcs_edge_runtime.artifact import Artifact
from sharcs_edge_runtime.budget import Budget
from sharcs_edge_runtime.errors import InputError, UsageError
from sharcs_edge_runtime.fingerprint import read_thread_seconds
from sharcs_edge_runtime.operating_points import CERTAIN_BIAS
from sharcs_edge_runtime.profile import Settings, main, profile
from sharcs_edge_runtime.session import Session
from tests.runtime.conftest import point, write_points

QUICK = Settings(lengths=(8, 16), min_samples=6, min_seconds=0)
OPTIONS = ["--lengths", "8", "--min-samples", "3", "--min-seconds", "0"]


@pytest.fixture
def no_cold_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """No fresh processes, which take half of a test's time."""
    monkeypatch.setattr("sharcs_edge_runtime.profile.COLD_STARTS", 1)


@pytest.fixture(scope="module")
def record(_built_artifact: Path) -> dict[str, Any]:
    """Not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sharcs_edge_runtime.profile.COLD_STARTS", 1)
        return profile(_built_artifact, settings=QUICK)


def rows(record: dict[str, Any], **wanted: Any) -> list[dict[str, Any]]:
    return [row for row in record["stages"] if all(row[key] == value for key, value in wanted.items())]


def test_every_stage_is_measured_at_every_length_and_width(record: dict[str, Any]) -> None:
    cells = [(row["stage"], row["width"], row["tokens"]) for row in record["stages"]]
    per_length: list[tuple[str, float | None]] = [("tokenise", None), ("trunk", None)]
    per_length += [(stage, width) for width in (0.25, 0.5, 1.0) for stage in ("tail", "total")]
    assert cells == [(stage, width, tokens) for tokens in (8, 16) for stage, width in per_length]
    assert all(row["ms"]["n"] == 6 == len(row["ms"]["samples"]) for row in record["stages"])
    assert all(value > 0 for row in record["stages"] for value in row["ms"]["samples"])


def test_a_total_is_the_sum_of_its_stages_in_each_round(record: dict[str, Any]) -> None:
    parts = [rows(record, stage=stage, tokens=16)[0]["ms"]["samples"] for stage in ("tokenise", "trunk")]
    (tail,) = rows(record, stage="tail", tokens=16, width=0.5)
    (total,) = rows(record, stage="total", tokens=16, width=0.5)
    sums = np.sum([*parts, tail["ms"]["samples"]], axis=0)
    assert total["ms"]["samples"] == pytest.approx(sums, abs=1e-5)
    assert total["macs"] == rows(record, stage="trunk", tokens=16)[0]["macs"] + tail["macs"] > 0


def test_the_routed_mix_reports_the_routes_of_the_session(record: dict[str, Any], tiny_artifact: Path) -> None:
    session = Session.load(tiny_artifact)
    texts = golden_texts(session.artifact).texts
    routed = [session.predict(text) for text in texts]
    full = [session.predict(text, budget=Budget(width=1.0)) for text in texts]
    mix = record["mix"]
    widths = [answer.width for answer in routed]
    assert [row["share"] for row in mix["shares"]] == [widths.count(width) / len(texts) for width in session.widths]
    assert mix["agreement"] == np.mean([one.label == other.label for one, other in zip(routed, full, strict=True)])
    assert 0 < mix["agreement"] < 1
    # every text equally often, at least `min_samples` in all
    assert mix["routed"]["n"] == mix["full"]["n"] == len(texts)
    assert mix["speedup"] == pytest.approx(mix["full"]["mean"] / mix["routed"]["mean"], rel=1e-3)


def test_the_mix_says_which_width_answered_each_sample_and_what_that_took(record: dict[str, Any]) -> None:
    mix = record["mix"]
    by, routed = np.array(mix["answered_by"]), np.array(mix["routed"]["samples"])
    assert len(by) == len(routed)
    for row in mix["shares"]:
        own = routed[by == row["width"]]
        assert row["share"] == np.mean(by == row["width"])
        if own.size:
            assert row["routed"]["p95"] == pytest.approx(np.percentile(own, 95), abs=1e-5)
            assert row["routed"]["mean"] == row["routed_ms"] == pytest.approx(own.mean(), abs=1e-5)
            assert row["full"]["n"] == row["routed"]["n"] == own.size
        else:
            assert row["routed"] is row["full"] is row["routed_ms"] is None
    assert mix["router_overhead"] == pytest.approx(mix["decision"]["mean"] / mix["routed"]["mean"], rel=1e-2)
    assert (mix["escalated"], mix["points"], record["operating_points"]) == (0.0, {}, None)


def test_the_calibration_of_an_artifact_is_part_of_its_record(tiny_artifact: Path, no_cold_start: None) -> None:
    always = point([CERTAIN_BIAS, 0.0, 0.0], [2.0, 0.0], macs=150.0)  # starts narrow, hands every text on once
    write_points(tiny_artifact, always)
    record = profile(tiny_artifact, settings=QUICK)
    assert record["mix"]["points"] == {"0": 1.0}
    assert record["mix"]["escalated"] == 1.0
    assert set(record["mix"]["answered_by"]) == {0.5}
    found = record["operating_points"]
    assert (found["metric"], found["max_drop"], len(found["points"])) == ("accuracy", 0.01, 2)
    assert found["points"][0]["macs"] == 150.0
    assert found["points"][1]["shares"] == [0.0, 0.0, 1.0]


def test_the_golden_answers_are_checked_where_the_times_are_taken(
    record: dict[str, Any], make_artifact: Callable[..., Path], no_cold_start: None
) -> None:
    assert record["parity"] == {
        "passed": True,
        "rows": 8,
        "label_agreement": 1.0,
        "route_agreement": 1.0,
        "failures": [],
    }


def test_threads_that_computed_are_counted(record: dict[str, Any], tmp_path: Path) -> None:
    providers = [record["runtime"][f"{name}_provider"] for name in ("requested", "active")]
    assert providers == ["CPUExecutionProvider"] * 2
    if sys.platform == "linux":
        assert record["runtime"]["active_threads"] == 1
    assert read_thread_seconds(tmp_path) == "unavailable"
    for thread, text in ((7, "1500000000 20 3"), (8, "250000000 1 1")):
        folder = tmp_path / f"proc/self/task/{thread}"
        folder.mkdir(parents=True)
        (folder / "schedstat").write_text(text)
    assert read_thread_seconds(tmp_path) == {7: 1.5, 8: 0.25}
    (tmp_path / "proc/self/task/8/schedstat").write_text("")
    assert read_thread_seconds(tmp_path) == "unavailable"


def test_each_group_passes_the_thermal_gate(record: dict[str, Any]) -> None:
    groups = ["fresh processes", "stages at 8 tokens", "stages at 16 tokens", "routed mix"]
    assert [passage["group"] for passage in record["thermal"]] == groups


def test_files_that_leave_the_cache_are_read_from_the_disk(tiny_artifact: Path) -> None:
    """On a file system that has no cache to leave, such as one in memory, that is unavailable."""
    answer = _cold_start.start_afresh(tiny_artifact, 1, "light", 1)
    if _cold_start._evict(tiny_artifact):
        assert answer["disk_load_ms"] > 0
        (tiny_artifact / "manifest.json").read_bytes()
        descriptor = os.open(tiny_artifact / "manifest.json", os.O_RDONLY)
        assert os.preadv(descriptor, [bytearray(1)], 0, os.RWF_NOWAIT) == 1  # back in the cache
        os.close(descriptor)
    else:
        assert answer["disk_load_ms"] == "unavailable"
    assert _cold_start._evict(tiny_artifact / "nothing") is False


def test_the_record_says_what_was_measured_where_and_how(record: dict[str, Any], tiny_artifact: Path) -> None:
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert (record["kind"], record["schema_version"]) == ("profile", 1)
    assert record["artifact"]["name"] == tiny_artifact.name
    assert [graph["name"] for graph in record["artifact"]["graphs"]][:2] == ["trunk", "tail_w025"]
    assert record["settings"] == {
        "lengths": [8, 16],
        "threads": 1,
        "min_samples": 6,
        "min_seconds": 0,
        "max_celsius": 70.0,
        "max_wait_seconds": 180.0,
        "warm_up": 5,
    }
    assert record["texts"]["given"] == record["texts"]["used"] == 8
    assert record["texts"]["source"] == "golden texts of the artifact"
    assert record["runtime"]["thread_pool"] == "none"
    assert record["state"]["wall_seconds"] > 0
    assert record["verdict"]["state"] in ("stable", "noisy", "throttled")


def test_a_fresh_process_is_timed_and_weighed(record: dict[str, Any]) -> None:
    cold = record["cold_start"]
    assert [cold[name]["n"] for name in ("import_ms", "load_ms", "first_run_ms", "warm_run_ms")] == [1, 1, 1, 1]
    assert list(cold["memory"]) == ["interpreter", "imported", "loaded", "after_runs"]
    if sys.platform == "linux":
        private = [step["private_mb"] for step in cold["memory"].values()]
        assert 0 < private[0] < private[1] <= private[-1]


def test_without_a_fresh_process_the_rest_is_still_measured(
    tiny_artifact: Path, no_cold_start: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    record = profile(tiny_artifact, settings=QUICK)
    assert list(record["cold_start"]) == ["unavailable"]
    assert "/nonexistent/python" in record["cold_start"]["unavailable"]
    assert record["stages"]


def test_an_artifact_that_disappears_is_the_reason_that_is_reported(tmp_path: Path) -> None:
    answer = _cold_start.start_afresh(tmp_path / "gone", 1, "text", 1)
    assert "gone does not exist" in answer["unavailable"]


def test_pairs_and_a_single_width(make_artifact: Callable[..., Path], no_cold_start: None) -> None:
    artifact = make_artifact(text_inputs=2, widths=(1.0,))
    record = profile(artifact, settings=Settings(lengths=(9,), min_samples=3, min_seconds=0))
    assert [(row["stage"], row["width"]) for row in record["stages"]] == [
        ("tokenise", None),
        ("trunk", None),
        ("tail", 1.0),
        ("total", 1.0),
    ]
    assert record["mix"]["shares"][0]["share"] == 1.0
    assert record["mix"]["agreement"] == 1.0
    assert record["mix"]["break_even_share"] is None


@pytest.mark.parametrize("text_inputs", [1, 2])
@pytest.mark.parametrize("tokens", [4, 7, 16])
def test_inputs_have_exactly_the_wanted_length_and_hold_the_users_words(
    make_artifact: Callable[..., Path], text_inputs: int, tokens: int
) -> None:
    artifact = Artifact.open(make_artifact(text_inputs=text_inputs))
    session = Session(artifact)
    texts = golden_texts(artifact).texts
    inputs = inputs_of_length(artifact, texts, tokens)
    assert len(inputs) == len(texts)
    words = {word for text in texts for part in ([text] if isinstance(text, str) else text) for word in part.split()}
    for source in inputs:
        assert source.tokens.input_ids.shape == (1, tokens)
        assert source.tokens.attention_mask.all()
        parts = [source.text] if isinstance(source.text, str) else list(source.text)
        assert {word for part in parts for word in part.split()} <= words
        own = session.encode([source.text]).input_ids[0]
        assert len(own) >= tokens
        if text_inputs == 1:  # cut at the end, the closing special token kept
            np.testing.assert_array_equal(source.tokens.input_ids[0, :-1], own[: tokens - 1])
    assert len({source.tokens.input_ids.tobytes() for source in inputs}) > 1


def test_one_short_text_fills_any_length(tiny_artifact: Path) -> None:
    (source,) = inputs_of_length(Artifact.open(tiny_artifact), ["light"], 16)
    assert source.text == " ".join(["light"] * 14)


def test_many_texts_are_represented_by_eight(tiny_artifact: Path) -> None:
    texts = [f"turn on the light {'a ' * (index % 5)}" for index in range(1000)]
    assert len(inputs_of_length(Artifact.open(tiny_artifact), texts, 8)) == 8


def test_texts_that_the_tokenizer_drops_are_refused(tiny_artifact: Path) -> None:
    with pytest.raises(InputError, match="give no input of 8 tokens"):
        inputs_of_length(Artifact.open(tiny_artifact), ["\u200d"], 8)


def test_default_lengths_stop_at_what_the_artifact_takes(
    make_artifact: Callable[..., Path], no_cold_start: None
) -> None:
    settings = Settings(min_samples=2, min_seconds=0)
    assert profile(make_artifact(max_length=40), settings=settings)["settings"]["lengths"] == [16, 32]
    assert profile(make_artifact(max_length=10), settings=settings)["settings"]["lengths"] == [10]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lengths": ()}, "lengths are"),
        ({"lengths": (32, 16)}, "ascending order"),
        ({"lengths": (16, 16)}, "different numbers"),
        ({"min_samples": 1}, "min_samples is 1"),
        ({"min_seconds": float("nan")}, "min_seconds is nan"),
        ({"min_seconds": -1.0}, "min_seconds is -1"),
        ({"max_celsius": -1.0}, "max_celsius is -1"),
        ({"max_wait_seconds": float("inf")}, "max_wait_seconds is inf"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Settings(**settings)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ((17,), "takes 1 to 16 tokens"),
        ((0, 8), "length 0 is not possible"),
        ((2,), "no room beside the special tokens"),
    ],
)
def test_lengths_that_the_artifact_cannot_have_are_refused(
    tiny_artifact: Path, lengths: tuple[int, ...], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        profile(tiny_artifact, settings=Settings(lengths=lengths))


def test_a_text_that_cannot_be_read_is_named_before_anything_is_measured(tiny_artifact: Path) -> None:
    with pytest.raises(InputError, match="text 1"):
        profile(tiny_artifact, Texts(("turn on the light", "  "), "test"), QUICK)
    with pytest.raises(InputError, match="no texts"):
        profile(tiny_artifact, Texts((), "test"), QUICK)


def test_variants_alternate_and_the_warm_up_does_not_count() -> None:
    order: list[int] = []

    def run_round(number: int) -> dict[str, float]:
        order.append(number)
        return {"a": float(number), "b": -float(number)}

    samples = run_rounds(run_round, Pace(warm_up=3, min_samples=4, min_seconds=0))
    assert order == [0, 1, 2, 3, 4, 5, 6]
    assert samples == {"a": [3.0, 4.0, 5.0, 6.0], "b": [-3.0, -4.0, -5.0, -6.0]}


def test_both_the_samples_and_the_seconds_must_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    clock: Iterator[float] = iter(range(100))
    monkeypatch.setattr("sharcs_edge_runtime._timing.perf_counter", lambda: next(clock))
    assert len(run_rounds(lambda number: {"a": 1.0}, Pace(warm_up=0, min_samples=2, min_seconds=7))["a"]) > 2


@given(st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=50))
def test_a_summary_keeps_the_samples_and_its_figures_in_order(samples: list[float]) -> None:
    summary = summarise(samples)
    assert summary["n"] == len(samples) == len(summary["samples"])
    figures = [summary[name] for name in ("min", "p50", "p90", "p95", "p99")]
    assert figures == sorted(figures)
    assert summary["samples"] == pytest.approx(samples, abs=1e-6)
    assert summary["cv"] == pytest.approx(np.std(samples) / np.mean(samples), abs=1e-6)


STATE: dict[str, Any] = {
    "throttled": {"bits": "0x0", "now": [], "since_boot": []},
    "throttle_events": 3,
    "cooling": [],
    "cpu_seconds": {"busy": 100.0, "steal": 1.0},
}
UNKNOWN = dict.fromkeys(STATE, "unavailable")
SPENT = {"wall_seconds": 10.0, "own_cpu_seconds": 9.9}


def quiet(samples: list[float] | None = None) -> list[dict[str, Any]]:
    return [{"stage": "total", "width": 0.5, "tokens": 32, "ms": summarise(samples or [1.0, 1.01] * 10)}]


def test_a_quiet_run_is_stable_also_where_the_machine_tells_nothing() -> None:
    after = {**STATE, "cpu_seconds": {"busy": 110.0, "steal": 1.0}}
    assert judge(quiet(), STATE, after, SPENT) == {"state": "stable", "reasons": []}
    assert judge(quiet(), UNKNOWN, UNKNOWN, SPENT) == {"state": "stable", "reasons": []}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"throttled": {"bits": "0x1", "now": ["under-voltage"], "since_boot": []}},
            "the firmware reports: under-voltage",
        ),
        ({"throttled": {"bits": "0x40000", "now": [], "since_boot": ["throttled"]}}, "the firmware reports: throttled"),
        ({"throttle_events": 5}, "cores were slowed for heat 2 times"),
        ({"cooling": ["cpufreq-cpu0"]}, "the cooling device cpufreq-cpu0 held the clock down"),
    ],
)
def test_what_slows_the_processor_is_throttling(change: dict[str, Any], reason: str) -> None:
    assert judge(quiet(), STATE, {**STATE, **change}, SPENT) == {"state": "throttled", "reasons": [reason]}


def test_throttling_before_the_run_does_not_accuse_it() -> None:
    before = {**STATE, "throttled": {"bits": "0x40000", "now": [], "since_boot": ["throttled"]}}
    assert judge(quiet(), before, before, SPENT)["state"] == "stable"


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        ([1.0] * 20 + [1.2] * 20, "width 0.5 at 32 tokens: the medians of both halves of the run differ by 18%"),
        ([1.0, 1.0, 1.0, 1.4] * 10, "width 0.5 at 32 tokens: p90 is 40% above p50"),
    ],
)
def test_samples_that_do_not_repeat_are_noise(samples: list[float], reason: str) -> None:
    verdict = judge(quiet(samples), UNKNOWN, UNKNOWN, SPENT)
    assert verdict["state"] == "noisy"
    assert verdict["reasons"][0].startswith(reason)


def test_company_on_the_machine_is_noise() -> None:
    after = {**STATE, "cpu_seconds": {"busy": 120.0, "steal": 2.0}}
    verdict = judge(quiet(), STATE, after, SPENT)
    assert verdict["state"] == "noisy"
    assert verdict["reasons"] == [
        "other processes kept 1.0 cores busy (limit 0.5)",
        "the hypervisor gave 10% of the time to other machines (limit 2%)",
    ]


def test_the_texts_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_text(
        '{"text": "ä", "text_pair": "b", "label": "x"}\n\n{"text": "c", "text_pair": "d"}\n', encoding="utf-8"
    )
    assert read_texts(file, 1) == Texts(("ä", "c"), "texts.jsonl")
    assert read_texts(file, 2) == Texts((("ä", "b"), ("c", "d")), "texts.jsonl")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no text"),
        (b'{"text": "a"}\nnot json', "line 2 is not JSON"),
        (b"[1]", "line 1 is no JSON object"),
        (b'{"words": "a"}', "line 1 has no text in the field text"),
        (b'{"text": "  "}', "line 1 has no text in the field text"),
        (b'{"text": 3}', "line 1 has no text in the field text"),
        (b'{"text": "\xe4"}', r"is not UTF-8 \(byte 10\)"),
    ],
)
def test_a_file_that_cannot_be_used_names_the_line(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_texts(file, 1)


def test_a_file_that_is_not_there_and_a_missing_pair(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*none\.jsonl: No such file"):
        read_texts(tmp_path / "none.jsonl", 1)
    file = tmp_path / "texts.jsonl"
    file.write_text('{"text": "a"}\n')
    with pytest.raises(InputError, match="line 1 has no text in the field text_pair"):
        read_texts(file, 2)


def test_the_command_prints_one_record_and_talks_elsewhere(tiny_artifact: Path, tmp_path: Path) -> None:
    data = tmp_path / "texts.jsonl"
    data.write_text('{"text": "turn on the light"}\n{"text": "play some music"}\n')
    command = [sys.executable, "-m", "sharcs_edge_runtime.profile", str(tiny_artifact), "--data", str(data), *OPTIONS]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.count("\n") == 1
    record = json.loads(done.stdout)
    assert record["texts"]["source"] == "texts.jsonl"
    assert record["texts"]["used"] == 2
    assert record["settings"]["lengths"] == [8]
    assert "stages at 8 tokens" in done.stderr


def test_the_record_goes_to_a_file_in_one_piece(
    tiny_artifact: Path, tmp_path: Path, no_cold_start: None, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out" / "record.json"
    assert main([str(tiny_artifact), *OPTIONS, "--output", str(output)]) == 1
    assert f"cannot write {output}" in capsys.readouterr().err
    output.parent.mkdir()
    assert main([str(tiny_artifact), *OPTIONS, "--output", str(output)]) == 0
    assert capsys.readouterr().out == output.read_text(encoding="utf-8")
    assert json.loads(output.read_text(encoding="utf-8"))["kind"] == "profile"
    assert list(output.parent.iterdir()) == [output]


def test_exit_codes(tiny_artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none"), *OPTIONS]) == 1
    assert "does not exist" in capsys.readouterr().err
    assert main([str(tiny_artifact), "--lengths", "500"]) == 2
    assert "length 500 is not possible" in capsys.readouterr().err
    assert main([str(tiny_artifact), "--threads", "0"]) == 2
    with pytest.raises(SystemExit) as caught:
        main([str(tiny_artifact), "--lengths", "a,b"])
    assert caught.value.code == 2
    assert "not a list of numbers" in capsys.readouterr().err


def test_ctrl_c_writes_nothing(
    tiny_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sharcs_edge_runtime.profile.measure_mix", interrupted)
    output = tmp_path / "record.json"
    assert main([str(tiny_artifact), *OPTIONS, "--output", str(output)]) == 130
    assert not output.exists()
    assert "nothing was written" in capsys.readouterr().err


def test_more_threads_are_requested_and_recorded(tiny_artifact: Path, no_cold_start: None) -> None:
    record = profile(tiny_artifact, settings=Settings(lengths=(8,), threads=2, min_samples=2, min_seconds=0))
    assert (record["runtime"]["requested_threads"], record["runtime"]["thread_pool"]) == (2, "own")
