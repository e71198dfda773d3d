"""Whole data sets: splits found, checked, held out and drawn; the demo; fingerprints."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharcs_edge.data import Example, Split, TextDataset, load_data, read_examples, sort_labels
from sharcs_edge.errors import DataError, UsageError
from sharcs_edge_runtime.tasks import encode_labels

JsonRow = dict[str, object]
GOOD: list[JsonRow] = [{"text": "it rains", "label": "weather"}, {"text": "play jazz", "label": "music"}]


def write_jsonl(path: Path, values: list[JsonRow]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in values), encoding="utf-8")
    return path


def folder_of(tmp_path: Path, **splits: list[JsonRow]) -> Path:
    for name, values in splits.items():
        write_jsonl(tmp_path / f"{name}.jsonl", values)
    return tmp_path


def test_the_demo_is_the_whole_of_snips() -> None:
    data = load_data("demo")
    assert (len(data.train), len(data.dev), len(data.test or ())) == (13_084, 700, 700)
    assert data.label_names == (
        "AddToPlaylist",
        "BookRestaurant",
        "GetWeather",
        "PlayMusic",
        "RateBook",
        "SearchCreativeWork",
        "SearchScreeningEvent",
    )
    assert data.notes == ()
    assert list(read_examples("demo")) == list(data.test or ())


def test_labels_become_strings_and_sort_by_number(tmp_path: Path) -> None:
    values: list[JsonRow] = [{"text": "t", "label": label} for label in (10, 9, -1, True, "b", "a", "02")]
    data = load_data(write_jsonl(tmp_path / "train.jsonl", values * 10))
    assert data.label_names == ("-1", "02", "9", "10", "True", "a", "b")
    assert data.task == "classification"
    assert set(encode_labels(data.task, data.train.labels, data.label_names).tolist()) == set(range(7))


@given(st.lists(st.text(max_size=5) | st.integers().map(str)))
def test_label_order_does_not_depend_on_row_order(labels: list[str]) -> None:
    assert sort_labels(labels) == sort_labels(reversed(labels))
    assert sorted(sort_labels(labels)) == sorted(set(labels))


def test_a_folder_with_validation_instead_of_dev(tmp_path: Path) -> None:
    data = load_data(folder_of(tmp_path, train=GOOD, validation=GOOD[:1]))
    assert (len(data.train), len(data.dev), data.test, data.notes) == (2, 1, None, ())
    assert data.text_inputs == 1


def test_label_only_in_dev_or_test_is_named(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, train=GOOD, dev=[*GOOD, {"text": "turn it up", "label": "volume"}], test=GOOD)
    complaint = r"dev\.jsonl, line 3: the label 'volume' is not among the 2 known ones: 'music', 'weather'$"
    with pytest.raises(DataError, match=complaint):
        load_data(folder)
    (tmp_path / "dev.jsonl").replace(tmp_path / "test.jsonl")
    write_jsonl(tmp_path / "dev.jsonl", [*GOOD])
    with pytest.raises(DataError, match=r"test\.jsonl, line 3: the label 'volume'"):
        load_data(folder)


def test_one_class_only(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "train.jsonl", [{"text": "a", "label": 1}] * 5)
    with pytest.raises(DataError, match=r"train\.jsonl: every label is '1'; a classifier needs two classes or more"):
        load_data(path)


def test_scores_written_as_text_are_no_classes(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("text,label\na,5\nb,3.8\nc,0.25\n")
    data = load_data(path, dev_fraction=0.4)
    assert (data.task, data.label_names) == ("regression", ("label",))
    assert sorted([*data.train.labels, *data.dev.labels]) == [0.25, 3.8, 5.0]


def test_pairs_in_train_only(tmp_path: Path) -> None:
    pairs: list[JsonRow] = [{**row, "text_pair": "b"} for row in GOOD]
    with pytest.raises(DataError, match=r"dev\.jsonl: holds single texts, but the train split holds pairs"):
        load_data(folder_of(tmp_path, train=pairs, dev=GOOD))


def test_folders_without_a_clear_train_split(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r": no train split; found nothing; expected files such as train\.jsonl"):
        load_data(tmp_path)
    folder_of(tmp_path, dev=GOOD, test=GOOD)
    with pytest.raises(DataError, match=r": no train split; found dev\.jsonl, test\.jsonl; expected files such as"):
        load_data(tmp_path)
    folder_of(tmp_path, train=GOOD, validation=GOOD)
    with pytest.raises(DataError, match=r"dev\.jsonl and .*validation\.jsonl could both be the dev split; keep one"):
        load_data(tmp_path)


def numbered(count: int, labels: str = "aaab") -> list[JsonRow]:
    return [{"text": f"text {row}", "label": labels[row % len(labels)]} for row in range(count)]


def test_a_dev_split_is_held_out_of_a_single_file(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "all.jsonl", numbered(400))
    data = load_data(path, dev_fraction=0.1, seed=3)
    assert Counter(data.dev.labels) == {"a": 30, "b": 10}
    assert data.notes == (f"dev: 40 of 400 rows of {path} held out, stratified by label (seed 3)",)
    assert not set(data.train.texts) & set(data.dev.texts)
    assert len(data.train) + len(data.dev) == 400
    order = [int(text.removeprefix("text ")) for text in data.train.texts]
    assert order == sorted(order)
    assert load_data(path, seed=3) == data
    assert load_data(path, seed=4).dev != data.dev


def test_a_rare_label_stays_in_train(tmp_path: Path) -> None:
    rare: JsonRow = {"text": "once", "label": "rare"}
    data = load_data(write_jsonl(tmp_path / "all.jsonl", [*numbered(40), rare]), dev_fraction=0.9)
    assert "rare" in data.train.labels
    assert set(data.dev.labels) == {"a", "b"}


def test_too_few_rows_for_a_dev_split(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match="2 rows are too few to hold out a dev split of 10%; give a folder with a train"
    ):
        load_data(write_jsonl(tmp_path / "all.jsonl", [*GOOD]))


def test_drawing_training_samples_keeps_all_labels(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, train=numbered(100, "abcdefghij"), dev=numbered(20, "abcdefghij"))
    data = load_data(folder, max_train_samples=5, seed=1)
    assert len(data.train) == 5
    assert data.label_names == tuple("abcdefghij")
    assert data.notes == ("train: 5 of 100 rows drawn at random (seed 1)",)
    assert load_data(folder, max_train_samples=5, seed=2).train != data.train
    assert load_data(folder, max_train_samples=500).notes == ()


@pytest.mark.parametrize("options", [{"max_train_samples": 0}, {"dev_fraction": 0.0}, {"dev_fraction": 1.0}])
def test_options_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        load_data("demo", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("source", ["./absent", "absent.csv", "/", "no such name", "x" * 5000])
def test_a_source_that_is_neither_path_nor_name(source: str) -> None:
    with pytest.raises(DataError, match=r"no such file or folder; expected a folder|no train split|File name too long"):
        load_data(source)


def test_fingerprint_follows_the_content() -> None:
    def data(train: Split, names: tuple[str, ...] = ("x", "y"), note: str = "") -> TextDataset:
        return TextDataset(train, Split(("d",), None, ("x",)), None, names, (note,))

    base = data(Split(("a", "b"), None, ("x", "y")))
    assert base.fingerprint == data(Split(("a", "b"), None, ("x", "y")), note="another").fingerprint
    others = [
        data(Split(("ab", ""), None, ("x", "y"))),
        data(Split(("a", "b"), None, ("y", "x"))),
        data(Split(("b", "a"), None, ("y", "x"))),
        data(Split(("a", "b"), ("", ""), ("x", "y"))),
        data(Split(("a", "b"), None, ("x", "y")), ("y", "x")),
    ]
    assert len({base.fingerprint, *(other.fingerprint for other in others)}) == 1 + len(others)
    assert base.fingerprint == "8edbcdee43a5ffe814d491c908ab5ba26df565b80ed8273ed855b66d0a69476e"


def test_splits_refuse_mixed_rows() -> None:
    with pytest.raises(ValueError, match="all with a pair or all without"):
        Split.of([Example("a", "b", "x"), Example("c", None, "x")])
    with pytest.raises(ValueError, match="labelled"):
        Split.of([Example("a")])


SHARED_DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
SIZES = {
    "ag_news": (9_001, 1_000, 7_600, 4, 1),
    "banking77": (9_003, 1_000, 3_080, 77, 1),
    "clinc150": (15_000, 3_000, 4_500, 150, 1),
    "cola": (8_551, 1_043, 0, 2, 1),
    "mrpc": (3_667, 408, 1_725, 2, 2),
    "qqp": (10_000, 3_000, 7_000, 2, 2),
    "rte": (2_490, 277, 0, 2, 2),
    "snli": (9_842, 3_000, 6_824, 3, 2),
    "sst2": (67_349, 872, 1_821, 2, 1),
    "stsb": (5_749, 1_500, 1_379, 1, 2),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_public_data_sets_load_whole(name: str) -> None:
    """(train, dev, test rows, labels, texts per row) of sets that may not be shipped."""
    folder = SHARED_DATA / name
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    data = load_data(folder)
    sizes = len(data.train), len(data.dev), len(data.test or ()), len(data.label_names), data.text_inputs
    assert sizes == SIZES[name]
    assert data.task == ("regression" if name == "stsb" else "classification")


@pytest.mark.slow
def test_the_shipped_intents_are_the_public_ones() -> None:
    if not (SHARED_DATA / "snips").is_dir():
        pytest.skip(f"no {SHARED_DATA / 'snips'}")
    assert load_data(SHARED_DATA / "snips") == load_data("demo")
