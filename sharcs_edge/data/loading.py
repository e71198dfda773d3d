"""A whole data set from a folder, a file, `demo` or a `datasets` name: splits found, checked, held out and drawn."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from sharcs_edge.assets import DEMO, demo_data_folder
from sharcs_edge.data.formats import EXTENSIONS, Row, extension_of, read_rows
from sharcs_edge.data.hub import hub_splits
from sharcs_edge.data.records import Columns, Split, TextDataset, sort_labels
from sharcs_edge.data.rows import REGRESSION_HINT, examples_of
from sharcs_edge.errors import DataError, UsageError

# What a split's file may be called, the usual name first; a `datasets` source names its splits in the same way.
SPLIT_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "train": ("train",),
    "dev": ("dev", "validation"),
    "test": ("test",),
}
# The name of a part, for messages, and its rows.
Part = tuple[str, Iterator[Row]]

_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?(:[\w.-]+)?", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(\d+\.\d*|\.\d+|\d+)([eE][+-]?\d+)?", re.ASCII)


def load_data(
    source: str | Path,
    columns: Columns | None = None,
    *,
    max_train_samples: int | None = None,
    dev_fraction: float = 0.1,
    seed: int = 0,
) -> TextDataset:
    """Read labelled text for training.

    Args:
        source: a folder that holds `train`, `dev` (or `validation`) and `test` files; one file; `demo`; or a `datasets`
            name, `name` or `name:configuration`. A path wins over a `datasets` name.
        columns: what to read.
        max_train_samples: draw this many training rows at random, without regard to their labels; all labels of the
            whole train split remain labels of the data set.
        dev_fraction: where the source has no dev split, hold out this share of every label's training rows, drawn at
            random, before `max_train_samples` is applied.
        seed: of both draws; the rows stay in the source's order.

    Raises:
        UsageError: `max_train_samples` or `dev_fraction` is out of range.
        DataError: the source is not there or not usable; the message names the file and the line.
        MissingDependencyError: a Parquet file or a `datasets` name without the extra `train`.
    """
    columns = columns or Columns()
    if columns.label is None:
        raise UsageError("training needs a label column")
    if max_train_samples is not None and max_train_samples < 1:
        raise UsageError(f"max_train_samples is {max_train_samples}; expected 1 or more")
    if not 0.0 < dev_fraction < 1.0:
        raise UsageError(f"dev_fraction is {dev_fraction:g}; expected a share between 0 and 1")
    parts = _find_parts(str(source), columns)
    train_name, train_rows = parts["train"]
    train = Split.of(examples_of(train_rows, columns, train_name))
    label_names = _label_names(train, train_name)
    dev, test = (_read_part(parts.get(title), columns, label_names, train) for title in ("dev", "test"))
    notes = []
    if dev is None:
        whole = len(train)
        train, dev = _hold_out(train, dev_fraction, seed, train_name)
        notes.append(f"dev: {len(dev):,} of {whole:,} rows of {train_name} held out, stratified by label (seed {seed})")
    if max_train_samples is not None and max_train_samples < len(train):
        notes.append(f"train: {max_train_samples:,} of {len(train):,} rows drawn at random (seed {seed})")
        train = train.take(sorted(random.Random(f"train {seed}").sample(range(len(train)), max_train_samples)))
    return TextDataset(train, dev, test, label_names, tuple(notes))


def _find_parts(source: str, columns: Columns) -> dict[str, Part]:
    """The parts of a source by title; `train` is always there."""
    path = demo_data_folder() if source == DEMO else Path(source)
    try:
        is_folder, is_there = path.is_dir(), path.exists()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    if is_folder:
        return _assign(source, _parts_of_folder(path, columns), f"files such as train.jsonl ({EXTENSIONS})")
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


def _label_names(train: Split, name: str) -> tuple[str, ...]:
    labels = sort_labels(train.labels)
    if len(labels) == 1:
        raise DataError(f"{name}: every label is {labels[0]!r}; a classifier needs two classes or more")
    if all(_DECIMAL.fullmatch(label) for label in labels) and any(not float(label).is_integer() for label in labels):
        raise DataError(f"{name}: the labels are numbers such as {labels[0]}; {REGRESSION_HINT}")
    return labels


def _read_part(part: Part | None, columns: Columns, label_names: tuple[str, ...], train: Split) -> Split | None:
    if part is None:
        return None
    name, rows = part
    split = Split.of(examples_of(rows, columns, name, label_names))
    if (split.pairs is None) != (train.pairs is None):
        this, other = ("single texts", "pairs") if split.pairs is None else ("pairs", "single texts")
        raise DataError(f"{name}: holds {this}, but the train split holds {other}; every split must be alike")
    return split


def _hold_out(train: Split, fraction: float, seed: int, name: str) -> tuple[Split, Split]:
    """Split off a dev split: `fraction` of every label's rows, rounded; each label keeps at least one training row."""
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, label in enumerate(train.labels):
        rows_of[label].append(row)
    draw = random.Random(f"dev {seed}")
    held: set[int] = set()
    for label in sorted(rows_of):
        rows = rows_of[label]
        held.update(draw.sample(rows, min(round(len(rows) * fraction), len(rows) - 1)))
    if not held:
        raise DataError(
            f"{name}: {len(train)} rows are too few to hold out a dev split of {fraction:.0%}; give a folder with a "
            "train and a dev file"
        )
    kept = [row for row in range(len(train)) if row not in held]
    return train.take(kept), train.take(sorted(held))
