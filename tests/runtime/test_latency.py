"""`latency.json`: read back as written, refused where it is wrong, written by `profile --save`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from sharcs_edge_runtime import profile
from sharcs_edge_runtime.artifact import Artifact
from sharcs_edge_runtime.errors import ArtifactError, DocumentError
from sharcs_edge_runtime.latency import LATENCY_NAME, LatencyTable, Watts

GOLDEN = Path(__file__).parent.parent / "golden" / "latency_v1.json"
OPTIONS = ["--lengths", "8,12", "--min-samples", "3", "--min-seconds", "0"]


@pytest.fixture(scope="module")
def record(_built_artifact: Path) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(profile, "COLD_STARTS", 1)
        return profile.profile(_built_artifact, settings=profile.Settings((8, 12), min_samples=3, min_seconds=0))


@pytest.fixture
def saved(tiny_artifact: Path, record: dict[str, Any]) -> Path:
    profile.save(tiny_artifact, record, watts=3.5)
    return tiny_artifact


def change(folder: Path, **changes: Any) -> None:
    file = folder / LATENCY_NAME
    file.write_text(json.dumps({**json.loads(file.read_bytes()), **changes}))


def test_a_canonical_file_is_read_and_written_byte_for_byte() -> None:
    data = GOLDEN.read_bytes()
    table = LatencyTable.parse(data)
    assert table.to_json() == data
    assert [graph.name for graph in table.graphs] == ["trunk", "tail_w025", "tail_w100"]
    assert table.watts == Watts(6.4, "given to profile --save")


def test_a_table_holds_what_was_measured(saved: Path, record: dict[str, Any]) -> None:
    table = LatencyTable.load(Artifact.open(saved))
    assert table is not None
    assert table.lengths == (8, 12)
    assert table.verdict == record["verdict"]["state"]
    assert table.watts == Watts(3.5, "given to profile --save")
    assert [graph.name for graph in table.graphs] == ["trunk", "tail_w025", "tail_w050", "tail_w100"]
    means = {(row["stage"], row["width"], row["tokens"]): row["ms"]["mean"] for row in record["stages"]}
    assert table.graphs[0].mean_ms == (means["trunk", None, 8], means["trunk", None, 12])
    assert table.graphs[2].mean_ms == (means["tail", 0.5, 8], means["tail", 0.5, 12])
    assert table.tokenise_ms[1] == means["tokenise", None, 12]


def test_saving_again_keeps_the_watts_unless_new_ones_are_given(saved: Path, record: dict[str, Any]) -> None:
    profile.save(saved, record)
    again = LatencyTable.load(Artifact.open(saved))
    assert again is not None and again.watts == Watts(3.5, "given to profile --save")
    (saved / LATENCY_NAME).write_text("damaged")
    profile.save(saved, record)
    fresh = LatencyTable.load(Artifact.open(saved))
    assert fresh is not None and fresh.watts is None


def test_the_device_saves_by_itself(
    tiny_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(profile, "COLD_STARTS", 1)
    budget = tmp_path / "budget.toml"
    budget.write_text("max_width = 0.5\nwatts = 2.5\n")
    assert profile.main([str(tiny_artifact), *OPTIONS, "--save", "--budget", str(budget)]) == 0
    printed = capsys.readouterr()
    assert "saved " in printed.err
    measured = json.loads(printed.out)
    assert measured["budget"] == {"max_width": 0.5, "watts": 2.5, "rules": 0}
    assert [row["share"] for row in measured["mix"]["shares"]][2] == 0.0
    table = LatencyTable.load(Artifact.open(tiny_artifact))
    assert table is not None and table.watts == Watts(2.5, "given to profile --save")


def test_an_artifact_without_one(tiny_artifact: Path) -> None:
    assert LatencyTable.load(Artifact.open(tiny_artifact)) is None


def test_every_problem_is_told_with_its_path(saved: Path) -> None:
    change(saved, threads=0, verdict="fine", lengths=[8, 8], tokenise_ms=[1.0], watts={"value": -1, "source": ""}, a=1)
    with pytest.raises(DocumentError) as caught:
        LatencyTable.load(Artifact.open(saved))
    places = [problem.rpartition(" @ ")[2] for problem in caught.value.problems]
    assert places == [
        "$", "$.threads", "$.verdict", "$.watts.value", "$.watts.source", "$.lengths[1]", "$.tokenise_ms",
    ]  # fmt: skip
    assert "run `sharcs-edge profile --save` again" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 2}, r"schema_version is 2, and sharcs-edge-runtime .* reads 1: update"),
        ({"manifest_sha256": "0" * 64}, "was made for another artifact: for the manifest 000000000000"),
        ({"graphs": [{"name": "trunk", "mean_ms": [1, 1], "p95_ms": [1, 1]}]}, r"expected the graphs trunk, tail_w025"),
        ({"graphs": [{"name": "trunk", "mean_ms": [1], "p95_ms": [1, 1]}]}, r"got 1 @ \$\.graphs\[0\]\.mean_ms"),
        ({"device": []}, r"expected an object, got an array @ \$\.device"),
    ],
)
def test_what_does_not_fit_is_refused(saved: Path, changes: dict[str, Any], message: str) -> None:
    change(saved, **changes)
    with pytest.raises(ArtifactError, match=message):
        LatencyTable.load(Artifact.open(saved))


def test_a_table_that_could_not_be_read_is_not_written(saved: Path) -> None:
    artifact = Artifact.open(saved)
    before = (saved / LATENCY_NAME).read_bytes()
    table = LatencyTable.parse(before)
    for wrong in (
        dataclasses.replace(table, threads=0),
        dataclasses.replace(table, tokenise_ms=(float("nan"), 1.0)),
        dataclasses.replace(table, manifest_sha256="0" * 64),
    ):
        with pytest.raises(ArtifactError):
            wrong.write(artifact)
    assert (saved / LATENCY_NAME).read_bytes() == before


def test_a_damaged_table_stops_only_who_needs_it(saved: Path) -> None:
    from sharcs_edge_runtime import Budget, Session

    (saved / LATENCY_NAME).write_text("{")
    session = Session.load(saved)
    assert session.predict("turn on the light").budget_met is None
    with pytest.raises(DocumentError, match=r"latency\.json: 1 problem: it is not UTF-8 JSON"):
        session.predict("turn on the light", budget=Budget(deadline_ms=5))
