"""operating_points.json: canonical bytes, every problem with its path, and bound to one artifact."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharcs_edge_runtime.artifact import Artifact
from sharcs_edge_runtime.errors import ArtifactError, DocumentError
from sharcs_edge_runtime.operating_points import OPERATING_POINTS_NAME, Method, OperatingPoint, OperatingPoints
from tests.runtime.conftest import ArtifactBuilder, full_point, point, write_points

GOLDEN = (Path(__file__).parents[1] / "golden" / "operating_points_v1.json").read_bytes()
CURE = "run `sharcs-edge calibrate` again, or delete the file to route without it"


def problems(document: Any) -> tuple[str, ...]:
    with pytest.raises(DocumentError) as caught:
        OperatingPoints.parse(json.dumps(document).encode())
    assert str(caught.value).startswith(OPERATING_POINTS_NAME)
    return caught.value.problems


@pytest.fixture
def document() -> dict[str, Any]:
    result: dict[str, Any] = json.loads(GOLDEN)
    return result


def test_the_golden_file_round_trips_byte_for_byte() -> None:
    assert OperatingPoints.parse(GOLDEN).to_json() == GOLDEN


def test_integers_are_accepted_where_numbers_are_and_written_as_floats() -> None:
    points = OperatingPoints.parse(GOLDEN)
    first = dataclasses.replace(points.points[0], macs=int(points.points[0].macs), bias=(0, 0, 0))
    again = dataclasses.replace(points, points=(first, *points.points[1:])).to_json()
    assert again == GOLDEN


def test_the_default_is_the_cheapest_certified_point() -> None:
    points = OperatingPoints.parse(GOLDEN)
    assert [one.certified for one in points.points] == [False, True, True]
    assert points.default == 1
    assert points.full is points.points[2]


@pytest.mark.parametrize(
    ("max_drop", "expected"),
    [(None, (0, 1, 2)), (0.01, (1, 2)), (0.05, (1, 2)), (0.009, (2,)), (0.0, (2,))],
)
def test_a_promise_covers_no_smaller_drop(max_drop: float | None, expected: tuple[int, ...]) -> None:
    assert OperatingPoints.parse(GOLDEN).within(max_drop) == expected


def test_all_problems_come_at_once(document: dict[str, Any]) -> None:
    document["foo"] = 1
    document["points"][0]["bar"] = None
    del document["points"][1]["macs"]
    document["against"] = "truth"
    document["max_drop"] = "1 %"
    assert set(problems(document)) == {
        "unknown field foo @ $",
        "unknown field bar @ $.points[0]",
        "missing field macs @ $.points[1]",
        'expected "labels" or "full", got "truth" @ $.against',
        'expected a number, got "1 %" @ $.max_drop',
    }


def test_every_field_is_required(document: dict[str, Any]) -> None:
    for place, path in ((document, "$"), (document["points"][0], "$.points[0]"), (document["method"], "$.method")):
        for key in list(place):
            value = place.pop(key)
            assert f"missing field {key} @ {path}" in problems(document)
            place[key] = value


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"tested": 1001}, "expected at most samples (1000), got 1001 @ $.tested"),
        ({"samples": 0, "tested": 0}, "expected an integer >= 1, got 0 @ $.samples"),
        ({"confidence": 1}, "no test is certain: expected a number below 1, got 1.0 @ $.confidence"),
        ({"confidence": 0}, "expected a number in (0, 1], got 0 @ $.confidence"),
        ({"manifest_sha256": "A" * 64}, "a SHA-256 of 64 lower-case hex digits"),
        ({"value_scale": 0}, "expected a number in (0, 1e+18], got 0 @ $.value_scale"),
        ({"points": []}, "expected an array that is not empty @ $.points"),
    ],
)
def test_rules_of_the_file(change: dict[str, Any], expected: str, document: dict[str, Any]) -> None:
    assert any(expected in problem for problem in problems({**document, **change}))


@pytest.mark.parametrize(
    ("index", "change", "expected"),
    [
        (1, {"bias": [0.0, 0.0]}, "expected 3 numbers for 3 widths, got 2 @ $.points[1].bias"),
        (1, {"thresholds": [0.5]}, "expected 2 numbers for 3 widths, got 1 @ $.points[1].thresholds"),
        (1, {"thresholds": [0.5, -0.1]}, "expected a number in [0, 2], got -0.1 @ $.points[1].thresholds[1]"),
        (0, {"bias": [0, 0, 1e7]}, "expected a number in [-1e+06, 1e+06], got 10000000.0 @ $.points[0].bias[2]"),
        (0, {"shares": [0.5, 0.4, 0.0]}, "expected shares that add up to 1, got 0.9 @ $.points[0].shares"),
        (0, {"starts": [0.5, 0.5, 0.5]}, "expected shares that add up to 1, got 1.5 @ $.points[0].starts"),
        (1, {"macs": 1.0}, "points must ascend in macs, 1 follows 90 @ $.points[1].macs"),
        (1, {"certified": 1}, "expected true or false, got 1 @ $.points[1].certified"),
        (2, {"certified": False}, "the last point is the full width: expected true, got false @ $.points[2].certified"),
        (2, {"drop": 0.1}, "the last point is the full width: expected a drop of 0.0, got 0.1 @ $.points[2].drop"),
        (
            2,
            {"shares": [0.0, 0.5, 0.5]},
            "the last point runs the widest width for every text: expected 1.0, got 0.5 @ $.points[2].shares[2]",
        ),
    ],
)
def test_rules_of_points(index: int, change: dict[str, Any], expected: str, document: dict[str, Any]) -> None:
    document["points"][index].update(change)
    assert expected in problems(document)


def test_a_newer_version_is_refused_for_that_alone(document: dict[str, Any]) -> None:
    (problem,) = problems({**document, "schema_version": 2, "new": 1})
    assert problem.startswith("schema_version is 2, and sharcs-edge-runtime ")
    assert problem.endswith("@ $.schema_version")


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"{", b'{"points": 1, "points": 2}', b'{"max_drop": NaN}', GOLDEN[:-20]]
)
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(DocumentError, match=r"it is not UTF-8 JSON .*run `sharcs-edge calibrate` again"):
        OperatingPoints.parse(data)


def test_an_artifact_without_the_file_has_no_points(tiny_artifact: Path) -> None:
    assert OperatingPoints.load(Artifact.open(tiny_artifact)) is None


def test_written_points_are_read_again(tiny_artifact: Path) -> None:
    before = {file.name for file in tiny_artifact.iterdir()}
    written = write_points(tiny_artifact, point([0.5, 0.0, 0.0], [0.9, 0.0]))
    assert OperatingPoints.load(Artifact.open(tiny_artifact)) == written
    assert {file.name for file in tiny_artifact.iterdir()} == before | {OPERATING_POINTS_NAME}


def test_points_of_another_artifact_are_refused(tiny_artifact: Path, make_artifact: ArtifactBuilder) -> None:
    other = make_artifact(seed=3)
    write_points(other)
    (tiny_artifact / OPERATING_POINTS_NAME).write_bytes((other / OPERATING_POINTS_NAME).read_bytes())
    with pytest.raises(ArtifactError, match=rf"was made for another artifact: .*{CURE}"):
        OperatingPoints.load(Artifact.open(tiny_artifact))


def test_points_that_do_not_suit_the_task_or_the_widths_are_neither_written_nor_read(
    tiny_artifact: Path, make_artifact: ArtifactBuilder
) -> None:
    with pytest.raises(DocumentError, match=r"expected null for classification, got 1\.5 @ \$\.value_scale"):
        write_points(tiny_artifact, value_scale=1.5)
    number = make_artifact(task="regression", labels=("grade",))
    with pytest.raises(DocumentError, match=r"expected a number for regression, got null @ \$\.value_scale"):
        write_points(number, value_scale=None)
    with pytest.raises(DocumentError, match=r"the artifact has 3 widths, these points are for 2 @ \$\.points"):
        write_points(tiny_artifact, points=(full_point(2),))
    assert not (tiny_artifact / OPERATING_POINTS_NAME).exists()


def test_what_cannot_be_read_is_not_written(tiny_artifact: Path) -> None:
    good = write_points(tiny_artifact)
    before = (tiny_artifact / OPERATING_POINTS_NAME).read_bytes()
    for change in ({"max_drop": float("nan")}, {"max_drop": 2.0}, {"points": ()}, {"metric": ""}):
        with pytest.raises(DocumentError):
            dataclasses.replace(good, **change).write(Artifact.open(tiny_artifact))
    assert (tiny_artifact / OPERATING_POINTS_NAME).read_bytes() == before


def test_a_file_that_cannot_be_opened_is_one_sentence(tiny_artifact: Path) -> None:
    (tiny_artifact / OPERATING_POINTS_NAME).mkdir()
    with pytest.raises(ArtifactError, match=r"cannot read .*operating_points\.json: "):
        OperatingPoints.load(Artifact.open(tiny_artifact))


unit = st.floats(0, 1)


@st.composite
def fronts(draw: st.DrawFn) -> OperatingPoints:
    widths = draw(st.integers(1, 4))

    def shares() -> tuple[float, ...]:
        counts = draw(st.lists(st.integers(0, 100), min_size=widths, max_size=widths).filter(any))
        return tuple(count / sum(counts) for count in counts)

    def drawn(macs: float) -> OperatingPoint:
        return OperatingPoint(
            bias=tuple(draw(st.lists(st.floats(-1e6, 1e6), min_size=widths, max_size=widths))),
            thresholds=tuple(draw(st.lists(st.floats(0, 2), min_size=widths - 1, max_size=widths - 1))),
            shares=shares(),
            starts=shares(),
            macs=macs,
            mean_ms=draw(st.none() | st.floats(0, 1e6)),
            score=draw(st.none() | unit),
            drop=draw(st.floats(-1, 1)),
            drop_bound=draw(st.floats(-1, 1)),
            p_value=draw(unit),
            certified=draw(st.booleans()),
        )

    macs = sorted(draw(st.lists(st.floats(0, 1e12), max_size=4)))
    return OperatingPoints(
        schema_version=1,
        manifest_sha256=draw(st.text("0123456789abcdef", min_size=64, max_size=64)),
        created="2026-11-22T12:00:00+00:00",
        tools=draw(st.dictionaries(st.sampled_from("abcd"), st.just("1.0"))),
        against=draw(st.sampled_from(("labels", "full"))),
        samples=(samples := draw(st.integers(1, 10**6))),
        tested=draw(st.integers(0, samples)),
        metric="accuracy",
        max_drop=draw(unit),
        confidence=draw(st.floats(0, 1, exclude_min=True, exclude_max=True)),
        method=Method("fixed_sequence", "binomial"),
        value_scale=draw(st.none() | st.floats(1e-6, 1e6)),
        points=(*map(drawn, macs), full_point(widths, macs=1e12)),
    )


@settings(max_examples=40)
@given(fronts())
def test_round_trip(points: OperatingPoints) -> None:
    data = points.to_json()
    again = OperatingPoints.parse(data)
    assert again == points
    assert again.to_json() == data
    assert again.points[again.default].certified


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def everywhere(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) inside a document."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    return [place for key in keys for place in ((value, key), *everywhere(value[key]))]


@settings(max_examples=100)
@given(st.data())
def test_any_json_is_read_or_refused(data: st.DataObject) -> None:
    document = copy.deepcopy(json.loads(GOLDEN))
    container, key = data.draw(st.sampled_from(everywhere(document)))
    container[key] = data.draw(json_values)
    try:
        points = OperatingPoints.parse(json.dumps(document).encode())
    except DocumentError as error:
        assert error.problems and all(" @ $" in problem for problem in error.problems)
    else:
        assert OperatingPoints.parse(points.to_json()) == points
