"""HTML and SVG elements as text in which nothing that was not written as markup is markup."""

from __future__ import annotations

import html
from typing import Final, TypeAlias

_VOID: Final = frozenset({"br", "col", "hr", "link", "meta"})


class Markup(str):
    """Text that is markup already and goes into an element as it is."""

    __slots__ = ()


Child: TypeAlias = str | None
"""A `str` is escaped, `Markup` is not, None is left out."""


def element(name: str, /, *children: Child, **attributes: str | float | bool | None) -> Markup:
    """``element("p", "a < b", class_="note")`` -> ``<p class="note">a &lt; b</p>``.

    Attribute names lose a trailing underscore, and other underscores become hyphens. An attribute that is None or False
    is left out, True stands without a value, and a float is rounded to hundredths (of a pixel).
    """
    shown = "".join(
        _attribute(key, value) for key, value in attributes.items() if value is not None and value is not False
    )
    if name in _VOID:
        return Markup(f"<{name}{shown}>")
    return Markup(f"<{name}{shown}>{join(*children)}</{name}>")


def join(*children: Child) -> Markup:
    """The children one after the other."""
    return Markup("".join(_escaped(child) for child in children if child is not None))


def _escaped(child: str) -> str:
    return child if isinstance(child, Markup) else html.escape(child, quote=False)


def _attribute(key: str, value: str | float | bool) -> str:
    name = key.removesuffix("_").replace("_", "-")
    if value is True:
        return f" {name}"
    text = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    return f' {name}="{html.escape(text)}"'
