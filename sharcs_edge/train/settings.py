"""Settings by name, for those that have no option of their own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from types import NoneType
from typing import Any, get_args, get_type_hints

from sharcs_edge.config import SharcsConfig, parse_widths
from sharcs_edge.errors import UsageError
from sharcs_edge.train.options import TrainOptions

_BOOLEANS = {"true": True, "false": False}


def changed(plan: SharcsConfig, options: TrainOptions, assignments: Iterable[str]) -> tuple[SharcsConfig, TrainOptions]:
    """Both with some fields changed. ``assignments``: ``name=value``, such as ``trunk_layers=0`` or ``widths=1/12,1``.

    Raises:
        UsageError: neither has the field, or the value does not suit it.
    """
    plan_types, option_types = get_type_hints(SharcsConfig), get_type_hints(TrainOptions)
    plan_changes: dict[str, Any] = {}
    option_changes: dict[str, Any] = {}
    for assignment in assignments:
        name, _, value = assignment.partition("=")
        if name in plan_types:
            plan_changes[name] = _parsed(assignment, value, plan_types[name])
        elif name in option_types:
            option_changes[name] = _parsed(assignment, value, option_types[name])
        else:
            names = sorted(field.name for kind in (SharcsConfig, TrainOptions) for field in fields(kind))
            raise UsageError(f"{assignment!r}: no setting {name!r}; expected one of {', '.join(names)}")
    return replace(plan, **plan_changes), replace(options, **option_changes)


def _parsed(assignment: str, text: str, kind: Any) -> object:
    """A choice's own value is left to its class, which names those that it takes."""
    kinds = [one for one in get_args(kind) if one is not NoneType] if NoneType in get_args(kind) else [kind]
    if NoneType in get_args(kind) and text.lower() == "none":
        return None
    try:
        if kind == tuple[float, ...]:
            return parse_widths(text)
        if kind is bool:
            return _BOOLEANS[text.lower()]
        return kinds[0](text) if kinds[0] in (int, float) else text
    except (ValueError, KeyError):
        expected = "true or false" if kind is bool else "a whole number" if kinds[0] is int else "a number"
        raise UsageError(f"{assignment!r}: expected {expected}") from None
