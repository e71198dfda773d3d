"""Labels of the three tasks: read back as written, the task found out, and every bad row named."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sharcs_edge.data import TextDataset, load_data, read_examples
from sharcs_edge.data.labels import LabelReader
from sharcs_edge.errors import DataError

names = st.text(st.characters(codec="utf-8", exclude_characters="|"), min_size=1, max_size=8)
plain_names = names.map(str.strip).filter(bool)
label_sets = st.lists(st.lists(plain_names, unique=True, max_size=4), min_size=1, max_size=8)
numbers = st.lists(st.floats(-1e30, 1e30) | st.integers(-(10**9), 10**9), min_size=1, max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
anything: st.SearchStrategy[object] = scalars | st.lists(scalars, max_size=3)
roundtrip = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write_jsonl(path: Path, labels: list[Any]) -> Path:
    rows = [{"text": f"text {number}", "label": label} for number, label in enumerate(labels)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_csv(path: Path, labels: list[str]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["text", "label"], *([f"text {n}", label] for n, label in enumerate(labels))])
    return path


def labels_of(path: Path, **options: Any) -> list[Any]:
    return [example.label for example in read_examples(path, **options)]


def loaded(path: Path, **options: Any) -> TextDataset:
    return load_data(path, dev_fraction=0.3, **options)


def all_labels(data: TextDataset) -> list[Any]:
    """In the order of the rows."""
    rows = [*zip(data.train.texts, data.train.labels, strict=True), *zip(data.dev.texts, data.dev.labels, strict=True)]
    return [label for _, label in sorted(rows, key=lambda row: int(row[0].removeprefix("text ")))]


@roundtrip
@given(label_sets)
def test_label_sets_round_trip(tmp_path: Path, sets: list[list[str]]) -> None:
    expected = [tuple(one) for one in sets]
    assert labels_of(write_jsonl(tmp_path / "d.jsonl", sets), task="multi_label") == expected
    joined = write_csv(tmp_path / "d.csv", [" | ".join(one) for one in sets])
    assert labels_of(joined, task="multi_label") == expected
    table = pyarrow.table({"text": ["a"] * len(sets), "label": pyarrow.array(sets, pyarrow.list_(pyarrow.string()))})
    pyarrow.parquet.write_table(table, tmp_path / "d.parquet")
    assert labels_of(tmp_path / "d.parquet", task="multi_label") == expected


@roundtrip
@given(numbers)
def test_numbers_round_trip(tmp_path: Path, values: list[float]) -> None:
    for path in (write_jsonl(tmp_path / "d.jsonl", values), write_csv(tmp_path / "d.csv", [*map(repr, values)])):
        assert labels_of(path, task="regression") == values


@settings(max_examples=200, deadline=None)
@given(st.lists(anything, max_size=8), st.sampled_from([None, "classification", "multi_label", "regression"]))
def test_any_value_is_a_label_of_the_task_or_one_clear_error(values: list[object], task: Any) -> None:
    reader = LabelReader(task)
    try:
        labels = [reader.read(value, "label", "d.jsonl, line 3") for value in values]
        found = reader.settle("d.jsonl")
    except DataError as error:
        assert str(error).startswith("d.jsonl, line 3: ")
        assert "\n" not in str(error)
        return
    kinds = {"classification": str, "multi_label": tuple, "regression": float}
    assert task in (None, found)
    for label in labels:
        # Numbers read before the first fraction are still text.
        assert isinstance(label, kinds[found]) or (found == "regression" and float(str(label)) == float(str(label)))


INFERRED: dict[str, tuple[list[Any], str]] = {
    "names": (["good", "bad"], "classification"),
    "integers": ([0, 1, 1], "classification"),
    "booleans": ([True, False], "classification"),
    "integers and names": ([1, 2, "other"], "classification"),
    "integers as text": (["1", "2.0"], "classification"),
    "fractions and names": (["v", "1.5", "2.5"], "classification"),
    "lists": ([["a", "b"], [], [1]], "multi_label"),
    "fractions": ([3.8, 0, 5], "regression"),
    "the first fraction late": ([5, 5, 0, 3.8], "regression"),
    "floats without a fraction before": ([5.0, 1.0, 3.8], "regression"),
    "fractions as text": (["5", " .25", "1e-3"], "regression"),
}


@pytest.mark.parametrize("case", INFERRED)
def test_the_task_is_found_out(case: str, tmp_path: Path) -> None:
    values, task = INFERRED[case]
    path = write_jsonl(tmp_path / "all.jsonl", values * 4)
    data = loaded(path)
    assert data.task == task
    convert: dict[str, Callable[[Any], Any]] = {
        "classification": str,
        "multi_label": lambda value: tuple(map(str, value)),
        "regression": float,
    }
    assert all_labels(data) == [convert[task](value) for value in values] * 4
    given_: Any = task
    assert all_labels(loaded(path, task=given_)) == all_labels(data)


def test_what_was_found_out_is_said(tmp_path: Path) -> None:
    cases: dict[str, list[Any]] = {
        "classification, 2 labels": ["a", "b"] * 5,
        "multi-label, 3 labels, 2 per text on average": [["a", "b"], ["c", "a"]] * 5,
        "regression, numbers from -1 to 2.5": [-1, 2.5] * 5,
    }
    for words, labels in cases.items():
        data = loaded(write_jsonl(tmp_path / "all.jsonl", labels))
        assert words == data.task_summary


def test_numbers_without_a_fraction_are_classes_until_told(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "all.csv", ["1", "2", "3"] * 5)
    assert loaded(path).label_names == ("1", "2", "3")
    data = loaded(path, task="regression")
    assert (data.task, data.label_names, all_labels(data)) == ("regression", ("label",), [1.0, 2.0, 3.0] * 5)
    path = write_jsonl(tmp_path / "all.jsonl", [1.0, 2.0] * 5)
    with pytest.raises(DataError, match=r"line 1: a label is a decimal number, but no label of .* give --task regres"):
        loaded(path)
    assert loaded(path, task="regression").task == "regression"


BAD_ROWS: dict[str, tuple[str | None, list[Any], str]] = {
    "a name among lists": (None, [["a"], "b"], "line 2: 'label' is 'b' (str); expected a list; an empty one for no"),
    "a list among names": (None, ["a", ["b"]], "line 2: 'label' is ['b'] (list); expected a string, an integer or a"),
    "a list among numbers": (None, [1, ["b"]], "line 2: 'label' is ['b'] (list); the rows before hold single labels"),
    "a name among numbers": (None, [2.5, "b"], "line 2: 'label' is 'b' (str); regression needs a number; if that is"),
    "a name among floats": (None, [2.0, "b"], "line 2: 'label' is 'b' (str); the rows before hold numbers"),
    "a number among names": (None, ["a", 2.5], "line 2: 'label' is 2.5 (float); numbers with a fraction ask for"),
    "NaN": (None, [2.5, float("nan")], "line 2: 'label' is nan (float); regression needs a number up to 1e+30"),
    "NaN as text": (None, ["2.5", "NaN"], "line 2: 'label' is 'NaN' (str); regression needs a number up to 1e+30"),
    "infinity": ("regression", [1, float("-inf")], "line 2: 'label' is -inf (float); regression needs a number up to"),
    "a huge integer": ("regression", [1, 10**400], "line 2: 'label' is 1000000000000000000000000000000000000000..."),
    "a truth value": ("regression", [1, True], "line 2: 'label' is True (bool); regression needs a number"),
    "no number": ("regression", [1, None], "line 2: 'label' is empty; every row needs a number"),
    "no list": ("multi_label", [["a"], None], "line 2: 'label' is null; expected a list; an empty one for no label"),
    "a list after strings": ("multi_label", ["a|b", ["a"]], "line 2: 'label' is ['a'] (list); the rows before hold"),
    "an empty name": ("multi_label", ["a|b", "a||b"], "line 2: 'label' is empty; every row needs a label"),
    "a name twice": ("multi_label", ["a", "b|b"], "line 2: 'label' is 'b|b' (str); it names a label twice"),
    "a list in a list": ("multi_label", [["a"], [["b"]]], "line 2: 'label' is ['b'] (list); expected a string, an"),
    "a float in a list": ("multi_label", [["a"], [0.5]], "line 2: 'label' is 0.5 (float); numbers with a fraction"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_bad_label_is_named(case: str, tmp_path: Path) -> None:
    task, labels, complaint = BAD_ROWS[case]
    path = write_jsonl(tmp_path / "all.jsonl", labels)
    given_: Any = task
    with pytest.raises(DataError) as caught:
        loaded(path, task=given_)
    assert str(caught.value).startswith(f"{path}, {complaint}")


def test_nothing_to_learn_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no row has a label; there is nothing to predict"):
        loaded(write_jsonl(tmp_path / "all.jsonl", [[], [], [], []]))
    with pytest.raises(DataError, match=r"every label is 2\.5; there is nothing to predict"):
        loaded(write_jsonl(tmp_path / "all.jsonl", [2.5] * 9))


def test_dev_must_hold_labels_of_train(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", [["a", "b"], ["c"], []])
    write_jsonl(tmp_path / "dev.jsonl", [["c", "a"], [], ["d", "a"]])
    with pytest.raises(DataError, match=r"dev\.jsonl, line 3: the label 'd' is not among the 3 known ones: 'a', 'b', "):
        load_data(tmp_path)
    write_jsonl(tmp_path / "dev.jsonl", [0.5])
    with pytest.raises(DataError, match=r"dev\.jsonl, line 1: 'label' is 0\.5 \(float\); expected a list"):
        load_data(tmp_path)
    write_jsonl(tmp_path / "dev.jsonl", [[]])
    assert load_data(tmp_path).label_names == ("a", "b", "c")


def test_fingerprints_tell_tasks_and_labels_apart(tmp_path: Path) -> None:
    every: list[tuple[list[Any], Any]] = [
        (["1", "2"], "classification"),
        ([1, 2], "regression"),
        ([1, 3], "regression"),
        (["1", "2"], "multi_label"),
        ([["1", "2"], []], "multi_label"),
        ([["2", "1"], []], "multi_label"),
    ]
    found = {loaded(write_jsonl(tmp_path / "all.jsonl", labels * 4), task=task).fingerprint for labels, task in every}
    assert len(found) == len(every)


def test_rows_without_classes_are_held_out_at_random(tmp_path: Path) -> None:
    """Stratifying by number, or by set of labels, would leave nearly every row in a stratum of its own."""
    data = load_data(write_jsonl(tmp_path / "all.jsonl", [number / 7 for number in range(100)]))
    assert (len(data.train), len(data.dev)) == (90, 10)
    assert data.notes[0].endswith("held out, drawn at random (seed 0)")
