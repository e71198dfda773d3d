"""Rows of a data set that the Hugging Face `datasets` library loads by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sharcs_edge.data.formats import Row
from sharcs_edge.data.records import Columns
from sharcs_edge.errors import DataError, MissingDependencyError


def hub_splits(name: str, columns: Columns) -> dict[str, Iterator[Row]]:
    """The rows of every split, by the split's own name.

    Args:
        name: `name`, or `name:configuration` for a data set that has several, such as `nyu-mll/glue:sst2`.
        columns: what to read. Where the label column is a `ClassLabel`, or a list of them, its names are the labels; a
            split without any known label (hidden test labels, all -1) is left out.

    Raises:
        DataError: there is no such data set, or it cannot be reached or read.
        MissingDependencyError: `datasets` is not installed.
    """
    try:
        import datasets
    except ImportError:
        raise MissingDependencyError(
            f'{name}: no such file or folder; loading it as a `datasets` name needs: pip install "sharcs-edge[train]"'
        ) from None
    path, _, configuration = name.partition(":")
    try:
        loaded = datasets.load_dataset(path, configuration or None)
    except Exception as error:  # the library and its network stack have no common base; every one is the same to a user
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(
            f"{name}: neither a file or folder here nor a data set that `datasets` can load: {reason}"
        ) from error
    splits = {}
    for split, rows in loaded.items():
        columns.require(rows.column_names, f"{name} ({split})")
        feature = rows.features[columns.label] if columns.label else None
        names, names_in_list = (getattr(kind, "names", None) for kind in (feature, getattr(feature, "feature", None)))
        if names is None or rows.unique(columns.label) != [-1]:
            splits[str(split)] = _rows(f"{name} ({split})", rows, columns, names or names_in_list)
    return splits


def _rows(where: str, rows: Any, columns: Columns, label_names: list[str] | None) -> Iterator[Row]:
    wanted = [column for column in rows.column_names if column in columns.wanted]
    for number, values in enumerate(rows.select_columns(wanted), start=1):
        yield f"{where}, row {number}", _named(values, columns.label, label_names)


def _named(values: Mapping[str, object], column: str | None, label_names: list[str] | None) -> Mapping[str, object]:
    """Replace `ClassLabel` numbers by their names; a number without a name (-1) becomes a missing label."""
    if column is None or label_names is None:
        return values
    value = values[column]

    def named(number: object) -> str | None:
        return label_names[number] if isinstance(number, int) and 0 <= number < len(label_names) else None

    return {**values, column: [named(number) for number in value] if isinstance(value, list) else named(value)}
