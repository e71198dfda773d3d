"""From raw rows to examples: every value is checked, and every complaint names the file and the line."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from sharcs_edge.assets import DEMO, demo_data_folder
from sharcs_edge.data.formats import Row, read_jsonl_stream, read_rows
from sharcs_edge.data.records import DEFAULT_PAIR_COLUMN, Columns, Example
from sharcs_edge.errors import DataError

STDIN = "-"
_SHOWN_CHARACTERS = 40
_SHOWN_LABELS = 8


def read_examples(
    source: str | Path,
    columns: Columns | None = None,
    *,
    label_names: Collection[str] | None = None,
) -> Iterator[Example]:
    """The rows of one file, lazily; nothing is opened before the first row is asked for.

    Args:
        source: a file; `-` for JSON lines from standard input, each yielded as soon as it is complete; `demo` for the
            test split of the shipped intents.
        columns: what to read; `Columns(label=None)` for text without labels.
        label_names: the labels that may occur; None allows any.

    Raises:
        DataError: the file cannot be read, is empty, or a row is not usable; the message names the line.
    """
    columns = columns or Columns()
    if str(source) == STDIN:
        rows = read_jsonl_stream(sys.stdin.buffer, "standard input", columns)
        return examples_of(rows, columns, "standard input", label_names)
    path = demo_data_folder() / "test.jsonl.gz" if str(source) == DEMO else Path(source)
    return examples_of(read_rows(path, columns), columns, str(path), label_names)


def examples_of(
    rows: Iterable[Row], columns: Columns, name: str, label_names: Collection[str] | None = None
) -> Iterator[Example]:
    """Check the values of `rows` and yield them as examples.

    Raises:
        DataError: no rows at all; a text that is no string, is blank or cannot be encoded; a label that is missing, is
            a float, or is not in `label_names`; pairs in some rows only.
    """
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
            label=None if columns.label is None else _label(values, columns.label, where, label_names),
        )
    if with_pairs is None:
        raise DataError(f"{name}: no rows; expected at least one")


def _text(values: Mapping[str, object], column: str, where: str) -> str:
    value = values[column]
    if not isinstance(value, str):
        raise DataError(f"{where}: {column!r} is {_show(value)}; expected a text")
    if not value.strip():
        raise DataError(f"{where}: {column!r} is empty; remove the row or fill it in")
    return _encodable(value, column, where)


def _label(values: Mapping[str, object], column: str, where: str, label_names: Collection[str] | None) -> str:
    value = values[column]
    if value is None or (isinstance(value, str) and not value.strip()):
        raise DataError(f"{where}: {column!r} is empty; every row needs a label")
    if isinstance(value, float):
        raise DataError(f"{where}: {column!r} is {_show(value)}; {REGRESSION_HINT}")
    if not isinstance(value, str | int):
        raise DataError(f"{where}: {column!r} is {_show(value)}; expected a string, an integer or a boolean")
    label = _encodable(str(value), column, where)
    if label_names is not None and label not in label_names:
        shown = ", ".join(map(repr, list(label_names)[:_SHOWN_LABELS]))
        more = ", ..." if len(label_names) > _SHOWN_LABELS else ""
        raise DataError(f"{where}: the label {label!r} is not among the {len(label_names)} known ones: {shown}{more}")
    return label


REGRESSION_HINT = (
    "numbers with a fraction ask for regression, which is not supported yet; for classes use strings or integers"
)


def _encodable(value: str, column: str, where: str) -> str:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where}: {column!r} holds half of a surrogate pair (\\u{ord(value[error.start]):04x}); remove it"
        ) from None
    return value


def _show(value: object) -> str:
    if value is None:
        return "null"
    text = repr(value)
    shown = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
    return f"{shown} ({type(value).__name__})"
