"""Label values of a data set, checked row by row, and the task that they ask for."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Final, cast

from sharcs_edge.errors import DataError

if TYPE_CHECKING:
    from sharcs_edge_runtime.manifest import TaskName
    from sharcs_edge_runtime.tasks import Label

LABEL_SEPARATOR: Final = "|"
"""Between the labels of one text where a format has no lists."""

_SHOWN_CHARACTERS = 40
_SHOWN_LABELS = 8
_LARGEST: Final = 1e30  # squares of it are far from the end of float64, and it is far from the end of float32
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.ASCII | re.IGNORECASE)


class LabelReader:
    """Turns the label values of one split into labels of one task.

    Without a task it finds out: lists ask for multi-label, numbers of which one has a fraction for regression, all else
    for classification. :meth:`settle` then says which one it is.

    Args:
        task: the task; None to find out.
        names: the labels that may occur; None allows any.
    """

    def __init__(self, task: TaskName | None = None, names: Collection[str] | None = None) -> None:
        self.task = task
        self._names = names
        self._cure = "" if task else "; if that is not the task, give --task"
        self._in_lists: bool | None = None if task else True
        self._whole_float: str | None = None  # where one stood while the task was open
        self._known: dict[str, str] = {}  # one string per name, however many rows have it

    def read(self, value: object, column: str, where: str) -> Label:
        """The label of one row. While the task is open, a number is returned as text.

        Raises:
            DataError: the value is no label, or none of the task; the message names ``where``.
        """
        task = self.task or self._ask(value, column, where)
        if task == "regression":
            return self._number(value, column, where)
        if task == "multi_label":
            return self._set(value, column, where)
        return self._name(value, column, where, allow_float=task is None)

    def settle(self, name: str) -> TaskName:
        """The task, when all rows are read.

        Raises:
            DataError: the values leave it open; the message names ``name``.
        """
        if self.task is None and self._whole_float is not None:
            raise DataError(
                f"{self._whole_float}: a label is a decimal number, but no label of {name} has a fraction: give --task "
                "regression, or write classes as strings or integers"
            )
        self.task = self.task or "classification"
        return self.task

    def _ask(self, value: object, column: str, where: str) -> TaskName | None:
        """Decides on the task if this value can; a number without a fraction leaves it open."""
        if isinstance(value, list | tuple):
            if self._known:
                raise DataError(f"{where}: {column!r} is {show(value)}; the rows before hold single labels, not lists")
            self.task = "multi_label"
        elif isinstance(value, float) or (isinstance(value, str) and _NUMBER.fullmatch(value.strip())):
            number = float(value)
            if not number.is_integer():  # nor are NaN and infinity, which are then refused as numbers
                self.task = "regression"
            elif isinstance(value, float):
                self._whole_float = self._whole_float or where
        elif isinstance(value, str | bool) and str(value).strip():
            if self._whole_float:
                raise DataError(f"{where}: {column!r} is {show(value)}; the rows before hold numbers")
            self.task = "classification"
        return self.task

    def _name(self, value: object, column: str, where: str, allow_float: bool = False) -> str:
        if value is None or (isinstance(value, str) and not value.strip()):
            raise DataError(f"{where}: {column!r} is empty; every row needs a label")
        if isinstance(value, float) and not allow_float:
            raise DataError(
                f"{where}: {column!r} is {show(value)}; numbers with a fraction ask for regression; "
                f"for classes use strings or integers{self._cure}"
            )
        if not isinstance(value, str | int | float):
            raise DataError(f"{where}: {column!r} is {show(value)}; expected a string, an integer or a boolean")
        label = encodable(str(value), column, where)
        if self._names is not None and label not in self._names:
            shown = ", ".join(map(repr, list(self._names)[:_SHOWN_LABELS]))
            more = ", ..." if len(self._names) > _SHOWN_LABELS else ""
            raise DataError(
                f"{where}: the label {label!r} is not among the {len(self._names)} known ones: {shown}{more}"
            )
        return self._known.setdefault(label, label)

    def _set(self, value: object, column: str, where: str) -> tuple[str, ...]:
        """Labels in a list, or in a string with ``|`` between them; in all rows alike."""
        in_list = isinstance(value, list | tuple)
        if not in_list and (self._in_lists or not isinstance(value, str)):
            expected = "a list" if self._in_lists else f"a list, or a string with {LABEL_SEPARATOR!r} between labels"
            raise DataError(f"{where}: {column!r} is {show(value)}; expected {expected}; an empty one for no label")
        if in_list and self._in_lists is False:
            raise DataError(f"{where}: {column!r} is {show(value)}; the rows before hold strings, not lists")
        self._in_lists = in_list
        if in_list:
            parts = list(cast("list[object]", value))
        else:
            text = cast("str", value)
            parts = [part.strip() for part in text.split(LABEL_SEPARATOR)] if text.strip() else []
        labels = tuple(self._name(part, column, where) for part in parts)
        if len(set(labels)) < len(labels):
            raise DataError(f"{where}: {column!r} is {show(value)}; it names a label twice")
        return labels

    def _number(self, value: object, column: str, where: str) -> float:
        if value is None or value == "":
            raise DataError(f"{where}: {column!r} is empty; every row needs a number")
        text = str(value).strip()
        if isinstance(value, bool) or not isinstance(value, str | int | float) or not _NUMBER.fullmatch(text):
            raise DataError(f"{where}: {column!r} is {show(value)}; regression needs a number{self._cure}")
        number = float(text)
        if not abs(number) <= _LARGEST:
            raise DataError(
                f"{where}: {column!r} is {show(value)}; regression needs a number up to {_LARGEST:g}{self._cure}"
            )
        return number


def encodable(value: str, column: str, where: str) -> str:
    """``value``; raises DataError if UTF-8 cannot hold it."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where}: {column!r} holds half of a surrogate pair (\\u{ord(value[error.start]):04x}); remove it"
        ) from None
    return value


def show(value: object) -> str:
    """A value and its type, for a message."""
    if value is None:
        return "null"
    text = repr(value)
    shown = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
    return f"{shown} ({type(value).__name__})"
