"""A whole data set from a folder, a file, `demo` or a `datasets` name: splits found, checked, held out and drawn."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from sharcs_edge.assets import DEMO, demo_data_folder
from sharcs_edge.data.draws import check_draws, draw_rows, hold_out
from sharcs_edge.data.formats import EXTENSIONS, Row, extension_of, read_rows
from sharcs_edge.data.hub import hub_splits
from sharcs_edge.data.labels import LabelReader
from sharcs_edge.data.records import Columns, Split, TextDataset, sort_labels
from sharcs_edge.data.rows import examples_of
from sharcs_edge.data.streams import refuse_stream
from sharcs_edge.errors import DataError, UsageError

if TYPE_CHECKING:
    from sharcs_edge_runtime.manifest import TaskName

# What a split's file may be called, the usual name first; a `datasets` source names its splits in the same way.
SPLIT_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "train": ("train",),
    "dev": ("dev", "validation"),
    "test": ("test",),
}
# The name of a part, for messages, and its rows.
Part = tuple[str, Iterator[Row]]

_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?(:[\w.-]+)?", re.ASCII)


def load_data(
    source: str | Path,
    columns: Columns | None = None,
    *,
    task: TaskName | None = None,
    max_train_samples: int | None = None,
    dev_fraction: float = 0.1,
    seed: int = 0,
) -> TextDataset:
    """Read labelled text for training.

    Args:
        source: a folder that holds `train`, `dev` (or `validation`) and `test` files; one file; `demo`; or a `datasets`
            name, `name` or `name:configuration`. A path wins over a `datasets` name.
        columns: what to read.
        task: what the labels are; None finds out: lists ask for multi-label, numbers of which one has a fraction for
            regression, all else for classification.
        max_train_samples: draw this many training rows at random, without regard to their labels; all labels of the
            whole train split remain labels of the data set.
        dev_fraction: where the source has no dev split, hold out this share of every class's training rows, or of all
            rows where there are no classes, drawn at random, before `max_train_samples` is applied.
        seed: of both draws; the rows stay in the source's order.

    Raises:
        UsageError: the source is a stream, or `max_train_samples` or `dev_fraction` is out of range.
        DataError: the source is not there or not usable; the message names the file and the line.
        MissingDependencyError: a Parquet file or a `datasets` name without the extra `train`.
    """
    refuse_stream(source)
    columns = columns or Columns()
    if columns.label is None:
        raise UsageError("training needs a label column")
    check_draws(max_train_samples, dev_fraction)
    parts = _find_parts(str(source), columns)
    train_name = parts["train"][0]
    train, task = _read_train(parts["train"], columns, task)
    label_names = (columns.label,) if task == "regression" else _label_names(train, train_name)
    dev, test = (_read_part(parts.get(title), columns, task, label_names, train) for title in ("dev", "test"))
    notes = []
    if dev is None:
        classes = [str(label) for label in train.labels] if task == "classification" else [""] * len(train)
        kept, held = hold_out(classes, dev_fraction, seed, train_name, "rows")
        how = "stratified by label" if task == "classification" else "drawn at random"
        notes.append(f"dev: {len(held):,} of {len(train):,} rows of {train_name} held out, {how} (seed {seed})")
        train, dev = train.take(kept), train.take(held)
    if max_train_samples is not None and max_train_samples < len(train):
        notes.append(f"train: {max_train_samples:,} of {len(train):,} rows drawn at random (seed {seed})")
        train = train.take(draw_rows(max_train_samples, len(train), seed))
    if task == "regression" and len(set(train.labels)) == 1:
        raise DataError(f"{train_name}: every label is {train.labels[0]}; there is nothing to predict")
    return TextDataset(train, dev, test, label_names, tuple(notes), task)


def _find_parts(source: str, columns: Columns) -> dict[str, Part]:
    """The parts of a source by title; `train` is always there."""
    path = demo_data_folder() if source == DEMO else Path(source)
    try:
        is_folder, is_there = path.is_dir(), path.exists()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    if is_folder:
        return _assign(source, _parts_of_folder(path, columns), f"files such as train.jsonl ({EXTENSIONS}), or images")
    if is_there:
        return {"train": (str(path), read_rows(path, columns))}
    if extension_of(path) is not None or not _HUB_NAME.fullmatch(source):
        raise DataError(
            f"{source}: no such file or folder; expected a folder with train, dev and test files, one file "
            f"({EXTENSIONS}), {DEMO!r}, or the name of a data set on the Hugging Face hub"
        )
    parts = [(split, (f"{source} ({split})", rows)) for split, rows in hub_splits(source, columns).items()]
    return _assign(source, parts, "splits named train, validation (or dev) and test")


def _parts_of_folder(folder: Path, columns: Columns) -> list[tuple[str, Part]]:
    try:
        files = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"cannot read {folder}: {error.strerror}") from error
    parts = []
    for file in files:
        extension = extension_of(file)
        stem = file.name if extension is None else file.name[: -len(extension)]
        parts.append((stem, (str(file), read_rows(file, columns))))
    return parts


def _assign(source: str, candidates: Sequence[tuple[str, Part]], expected: str) -> dict[str, Part]:
    """Give every title its part by the candidates' names; what has another name is left alone."""
    parts = {}
    for title, names in SPLIT_NAMES.items():
        found = [part for name, part in candidates if name in names]
        if len(found) > 1:
            raise DataError(f"{source}: {found[0][0]} and {found[1][0]} could both be the {title} split; keep one")
        if found:
            parts[title] = found[0]
    if "train" not in parts:
        there = ", ".join(Path(name).name for _, (name, _) in candidates) or "nothing"
        raise DataError(f"{source}: no train split; found {there}; expected {expected}")
    return parts


def _read_train(part: Part, columns: Columns, task: TaskName | None) -> tuple[Split, TaskName]:
    name, rows = part
    reader = LabelReader(task)
    train = Split.of(examples_of(rows, columns, name, reader))
    settled = reader.settle(name)
    if settled == "regression":  # numbers read before the first fraction are still text
        train = replace(train, labels=tuple(float(cast("str | float", label)) for label in train.labels))
    return train, settled


def _label_names(train: Split, name: str) -> tuple[str, ...]:
    if isinstance(train.labels[0], tuple):
        labels = sort_labels(chain.from_iterable(cast("tuple[tuple[str, ...], ...]", train.labels)))
        if not labels:
            raise DataError(f"{name}: no row has a label; there is nothing to predict")
        return labels
    labels = sort_labels(cast("tuple[str, ...]", train.labels))
    if len(labels) == 1:
        raise DataError(f"{name}: every label is {labels[0]!r}; a classifier needs two classes or more")
    return labels


def _read_part(
    part: Part | None, columns: Columns, task: TaskName, label_names: tuple[str, ...], train: Split
) -> Split | None:
    if part is None:
        return None
    name, rows = part
    split = Split.of(examples_of(rows, columns, name, LabelReader(task, label_names)))
    if (split.pairs is None) != (train.pairs is None):
        this, other = ("single texts", "pairs") if split.pairs is None else ("pairs", "single texts")
        raise DataError(f"{name}: holds {this}, but the train split holds {other}; every split must be alike")
    return split
