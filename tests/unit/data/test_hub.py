"""Data sets that the `datasets` library loads: its real code path, over Parquet files in the layout it writes."""

from __future__ import annotations

from pathlib import Path

import datasets
import pytest

from sharcs_edge.data import Columns, Split, load_data
from sharcs_edge.data.hub import hub_splits
from sharcs_edge.data.labels import LabelReader
from sharcs_edge.data.rows import examples_of
from sharcs_edge.errors import DataError

GLUE = Columns("sentence", None, "label")


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as a hub repository of a classification set looks: labels by number, hidden (-1) in the test split."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    features = datasets.Features(
        {
            "idx": datasets.Value("int32"),
            "sentence": datasets.Value("string"),
            "label": datasets.ClassLabel(2, ["no", "yes"]),
        }
    )
    folder = tmp_path / "published"
    for split, labels in (("train", [1, 0, 1]), ("validation", [0, -1]), ("test", [-1, -1])):
        columns = {
            "idx": range(len(labels)),
            "sentence": [f"{split} {row}" for row in range(len(labels))],
            "label": labels,
        }
        datasets.Dataset.from_dict(columns, features).to_parquet(folder / f"{split}-00000-of-00001.parquet")
    return folder


def test_class_labels_are_read_by_name_and_hidden_ones_left_out(published: Path) -> None:
    splits = hub_splits(str(published), GLUE)
    assert set(splits) == {"train", "validation"}
    train = Split.of(examples_of(splits["train"], GLUE, "train"))
    assert train == Split(("train 0", "train 1", "train 2"), None, ("yes", "no", "yes"))
    with pytest.raises(DataError, match=r" \(validation\), row 2: 'label' is empty; every row needs a label"):
        list(examples_of(splits["validation"], GLUE, "validation"))


def test_lists_of_class_labels_are_read_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    names = datasets.List(datasets.ClassLabel(names=["joy", "anger", "fear"]))
    features = datasets.Features({"text": datasets.Value("string"), "label": names})
    columns = {"text": ["a", "b", "c"], "label": [[2, 0], [], [1]]}
    datasets.Dataset.from_dict(columns, features).to_parquet(tmp_path / "set" / "train-00000-of-00001.parquet")
    rows = hub_splits(str(tmp_path / "set"), Columns())["train"]
    train = Split.of(examples_of(rows, Columns(), "train", LabelReader()))
    assert train.labels == (("fear", "joy"), (), ("anger",))


def test_a_missing_column_is_named(published: Path) -> None:
    with pytest.raises(
        DataError, match=r"\): no column 'text'; found 'idx', 'sentence', 'label'; name yours with --text"
    ):
        hub_splits(str(published), Columns())


@pytest.mark.parametrize("name", ["absent-data-set", "someone/absent-data-set:part"])
def test_a_name_that_cannot_be_loaded_gives_one_clear_error(name: str) -> None:
    with pytest.raises(
        DataError, match=f"^{name}: neither a file or folder here nor a data set that `datasets` can load: "
    ):
        load_data(name)
