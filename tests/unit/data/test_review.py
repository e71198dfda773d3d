"""What `doubts` says about a data set, and that it is silent where there is nothing to say."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from sharcs_edge.data import TextDataset, doubts, load_data

FINE = [(f"text {number}", "up" if number % 2 else "down") for number in range(2000)]


def loaded(folder: Path, rows: list[tuple[str, str]], **options: Any) -> TextDataset:
    file = folder / "data.csv"
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows([("text", "label"), *rows])
    data = load_data(file, **options)
    assert isinstance(data, TextDataset)
    return data


def test_nothing_is_said_of_clean_rows(tmp_path: Path) -> None:
    assert list(doubts(loaded(tmp_path, FINE))) == []


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([(f"a {n}", ("a|b", "a|c", "b|c", "a|b|c")[n % 4]) for n in range(40)], "made of 3 with '|' between them"),
        ([(f"a {n}", ("a, b", "a, c", "b, c", "a, b, c")[n % 4]) for n in range(40)], "write '|' between them"),
        ([(f"a {n}", "Up ") for n in range(40)], "'Up ' and 'up' differ in case or spaces alone"),
        ([("a", "rare")], "labels with fewer than 5 training rows: 1 of 3 ('rare' has 1)"),
        ([(f"a {n}", "up") for n in range(9000)], "% of the dev rows are 'up'"),
        ([("text 1", "down"), ("text 3", "down")], "texts of train stand there with different labels"),
        (FINE, "dev rows are in train, too"),
    ],
    ids=["bars", "commas", "alike", "rare", "usual", "torn", "leak"],
)
def test_each_doubt_is_said(tmp_path: Path, rows: list[tuple[str, str]], said: str) -> None:
    found = list(doubts(loaded(tmp_path, rows if "between" in said else FINE + rows)))
    assert any(said in doubt for doubt in found)
    assert sum("between" in doubt for doubt in found) == ("between" in said)


def test_a_small_dev_split_is_named_with_what_a_row_weighs(tmp_path: Path) -> None:
    said = list(doubts(loaded(tmp_path, FINE[:200])))
    assert said == ["dev has 20 rows, each of them 5 points of a score: too few to compare widths or epochs by"]


def test_names_that_share_no_parts_are_no_lists(tmp_path: Path) -> None:
    rows = [(text, {"up": "up, fast", "down": "down"}[label]) for text, label in FINE]
    assert list(doubts(loaded(tmp_path, rows))) == []


def test_labels_of_several_per_text_and_numbers_are_judged_as_such(tmp_path: Path) -> None:
    several = [(text, "up|fast") for text, _ in FINE] + [("one", "slow")]
    assert [doubt[:45] for doubt in doubts(loaded(tmp_path, several, task="multi_label"))] == [
        "labels with fewer than 5 training rows: 1 of "
    ]
    numbers = [(text, str(number / 10)) for number, (text, _) in enumerate(FINE)]
    assert list(doubts(loaded(tmp_path, numbers))) == []
