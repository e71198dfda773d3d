"""From raw rows to examples: every value is checked, and every complaint names the file and the line."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sharcs_edge.assets import DEMO, demo_data_folder
from sharcs_edge.data.formats import Row, read_jsonl_stream, read_rows
from sharcs_edge.data.labels import LabelReader, encodable, show
from sharcs_edge.data.records import DEFAULT_PAIR_COLUMN, Columns, Example
from sharcs_edge.errors import DataError

if TYPE_CHECKING:
    from sharcs_edge_runtime.manifest import TaskName

STDIN = "-"


def read_examples(
    source: str | Path,
    columns: Columns | None = None,
    *,
    label_names: Collection[str] | None = None,
    task: TaskName = "classification",
) -> Iterator[Example]:
    """The rows of one file, lazily; nothing is opened before the first row is asked for.

    Args:
        source: a file; `-` for JSON lines from standard input, each yielded as soon as it is complete; `demo` for the
            test split of the shipped intents.
        columns: what to read; `Columns(label=None)` for text without labels.
        label_names: the labels that may occur; None allows any.
        task: what the labels are.

    Raises:
        DataError: the file cannot be read, is empty, or a row is not usable; the message names the line.
    """
    columns = columns or Columns()
    labels = LabelReader(task, None if task == "regression" else label_names)
    if str(source) == STDIN:
        rows = read_jsonl_stream(sys.stdin.buffer, "standard input", columns)
        return examples_of(rows, columns, "standard input", labels)
    path = demo_data_folder() / "test.jsonl.gz" if str(source) == DEMO else Path(source)
    return examples_of(read_rows(path, columns), columns, str(path), labels)


def examples_of(
    rows: Iterable[Row], columns: Columns, name: str, labels: LabelReader | None = None
) -> Iterator[Example]:
    """Check the values of `rows` and yield them as examples. `labels`: any class names unless given.

    Raises:
        DataError: no rows at all; a text that is no string, is blank or cannot be encoded; a label that `labels`
            refuses; pairs in some rows only.
    """
    labels = labels or LabelReader("classification")
    pair_column = columns.pair or DEFAULT_PAIR_COLUMN
    with_pairs: bool | None = None
    for where, values in rows:
        has_pair = columns.pair is not None or values.get(pair_column) is not None
        if with_pairs is None:
            with_pairs = has_pair
        elif has_pair != with_pairs:
            raise DataError(f"{where}: {pair_column!r} must be filled in every row or in none; the rows before differ")
        yield Example(
            text=_text(values, columns.text, where),
            text_pair=_text(values, pair_column, where) if has_pair else None,
            label=None if columns.label is None else labels.read(values[columns.label], columns.label, where),
        )
    if with_pairs is None:
        raise DataError(f"{name}: no rows; expected at least one")


def _text(values: Mapping[str, object], column: str, where: str) -> str:
    value = values[column]
    if not isinstance(value, str):
        raise DataError(f"{where}: {column!r} is {show(value)}; expected a text")
    if not value.strip():
        raise DataError(f"{where}: {column!r} is empty; remove the row or fill it in")
    return encodable(value, column, where)
