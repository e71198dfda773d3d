"""Strict JSON reading: every problem of a document at once, each with its JSON path.

A reader is a function `(value, path, problems) -> parsed value`. On a violation it appends ``<what> @ <path>`` to
`problems` and returns `INVALID`, so that reading goes on and one run reports everything.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

Reader = Callable[[Any, str, "list[str]"], Any]


class _Invalid:
    def __repr__(self) -> str:
        return "INVALID"


INVALID: Final = _Invalid()


def decode(data: bytes) -> Any:
    """Decode UTF-8 JSON; duplicate keys, NaN and Infinity are refused. Raises ValueError with one clear sentence."""
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"the key {show(key)} occurs twice in one object")
        result[key] = value
    return result


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def show(value: Any) -> str:
    """A short, printable form of a JSON value for a message."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    try:
        text = json.dumps(value)
    except (TypeError, ValueError):  # ValueError: an integer over Python's digit limit
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."


def fail(problems: list[str], what: str, path: str) -> _Invalid:
    """Record a violation and return `INVALID`."""
    problems.append(f"{what} @ {path}")
    return INVALID


def text(*, empty: bool = False) -> Reader:
    """A string that UTF-8 can hold; not empty unless `empty`."""

    def read(value: Any, path: str, problems: list[str]) -> Any:
        if not isinstance(value, str):
            return fail(problems, f"expected a string, got {show(value)}", path)
        if not value and not empty:
            return fail(problems, "expected a string that is not empty", path)
        if any("\ud800" <= character <= "\udfff" for character in value):
            return fail(problems, "the string holds a lone surrogate", path)
        return value

    return read


def pattern(regex: str, description: str) -> Reader:
    """A string that `regex` matches as a whole; `description` completes "expected ..."."""
    compiled = re.compile(regex)

    def read(value: Any, path: str, problems: list[str]) -> Any:
        if isinstance(value, str) and compiled.fullmatch(value):
            return value
        return fail(problems, f"expected {description}, got {show(value)}", path)

    return read


def integer(minimum: int, maximum: int = 2**63 - 1) -> Reader:
    """An integer (never a bool or a float) in `minimum..maximum`."""

    def read(value: Any, path: str, problems: list[str]) -> Any:
        if not isinstance(value, int) or isinstance(value, bool):
            return fail(problems, f"expected an integer, got {show(value)}", path)
        if not minimum <= value <= maximum:
            limit = f">= {minimum}" if value < minimum else f"<= {maximum}"
            return fail(problems, f"expected an integer {limit}, got {show(value)}", path)
        return value

    return read


def number(minimum: float, maximum: float, *, above_minimum: bool = False) -> Reader:
    """A finite number in `minimum..maximum` as float (JSON does not tell 1 from 1.0); `above_minimum` excludes it."""

    def read(value: Any, path: str, problems: list[str]) -> Any:
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            return fail(problems, f"expected a number, got {show(value)}", path)
        if value < minimum or value > maximum or not math.isfinite(value) or (above_minimum and value == minimum):
            bracket = "(" if above_minimum else "["
            return fail(problems, f"expected a number in {bracket}{minimum:g}, {maximum:g}], got {show(value)}", path)
        return float(value)

    return read


def boolean(value: Any, path: str, problems: list[str]) -> Any:
    """True or false."""
    return value if isinstance(value, bool) else fail(problems, f"expected true or false, got {show(value)}", path)


def one_of(*allowed: str | int) -> Reader:
    """One of a few constants of one exact type."""

    def read(value: Any, path: str, problems: list[str]) -> Any:
        for candidate in allowed:
            if type(value) is type(candidate) and value == candidate:
                return value
        expected = " or ".join(show(candidate) for candidate in allowed)
        return fail(problems, f"expected {expected}, got {show(value)}", path)

    return read


def optional(reader: Reader) -> Reader:
    """null, or what `reader` accepts."""

    def read(value: Any, path: str, problems: list[str]) -> Any:
        return None if value is None else reader(value, path, problems)

    return read


def array(item: Reader, *, empty: bool = False) -> Reader:
    """An array of items, as a tuple; INVALID if any item is."""

    def read(value: Any, path: str, problems: list[str]) -> Any:
        if not isinstance(value, list):
            return fail(problems, f"expected an array, got {show(value)}", path)
        if not value and not empty:
            return fail(problems, "expected an array that is not empty", path)
        items = tuple(item(element, f"{path}[{index}]", problems) for index, element in enumerate(value))
        return INVALID if any(element is INVALID for element in items) else items

    return read


def mapping(item: Reader) -> Reader:
    """An object with free keys and values of one kind."""

    def read(value: Any, path: str, problems: list[str]) -> Any:
        if not isinstance(value, dict):
            return fail(problems, f"expected an object, got {show(value)}", path)
        key_reader = text()
        result: dict[str, Any] = {}
        good = True
        for key, element in value.items():
            good &= key_reader(key, f"{path} (a key)", problems) is not INVALID
            result[key] = item(element, child(path, key), problems)
            good &= result[key] is not INVALID
        return result if good else INVALID

    return read


def fields(value: Any, path: str, problems: list[str], readers: Mapping[str, Reader]) -> dict[str, Any] | None:
    """Read an object with exactly the keys of `readers`; a violated field is INVALID in the result.

    Returns None if `value` is no object at all.
    """
    if not isinstance(value, dict):
        fail(problems, f"expected an object, got {show(value)}", path)
        return None
    _refuse_unknown(value, path, problems, readers)
    result: dict[str, Any] = {}
    for key, reader in readers.items():
        if key in value:
            result[key] = reader(value[key], child(path, key), problems)
        else:
            result[key] = fail(problems, f"missing field {key}", path)
    return result


def _refuse_unknown(value: Mapping[str, Any], path: str, problems: list[str], known: Collection[str]) -> None:
    for key in value:
        if key not in known:
            name = key if key.isidentifier() and len(key) <= 60 else show(key)
            fail(problems, f"unknown field {name}", path)


def child(path: str, key: str) -> str:
    """The JSON path of a member."""
    return f"{path}.{key}" if key.isidentifier() and key.isascii() else f"{path}[{show(key)}]"


def record(build: Callable[..., Any], readers: Mapping[str, Reader]) -> Reader:
    """An object with exactly these fields, turned into `build(**fields)`."""

    def read(value: Any, path: str, problems: list[str]) -> Any:
        values = fields(value, path, problems, readers)
        if values is None or any(element is INVALID for element in values.values()):
            return INVALID
        return build(**values)

    return read
