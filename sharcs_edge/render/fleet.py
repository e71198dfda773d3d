"""Profile records of several devices, side by side for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.text import Text

from sharcs_edge.profile import words
from sharcs_edge.profile.compare import Comparison
from sharcs_edge.profile.records import Record
from sharcs_edge.render._table import FigureTable
from sharcs_edge.render.profile import render_comparison

_COLUMNS = ("device", "verdict", "routed", "p95", "full", "p95", "faster", "load", "MB")


def render_fleet(records: Sequence[Record], comparisons: Sequence[Comparison | None]) -> RenderableType:
    """One row per device: its verdict, what a text takes on it routed and at full width, its start; then what each
    machine is, the reasons of its verdict, and what changed on it against its base."""
    table = FigureTable(*_COLUMNS, text_columns=2)
    table.box = box.SIMPLE_HEAD  # nine columns have to fit into 80 characters
    for column in table.columns[1:]:
        column.no_wrap = True
    for record in records:
        table.add(words.place_name(record), record["verdict"]["state"], *words.fleet_figures(record))
    parts: list[RenderableType] = [table, Text("ms per text, mean and p95; load in ms; private memory in MB")]
    for record, comparison in zip(records, comparisons, strict=True):
        parts.append(
            Text("; ".join([f"{words.place_name(record)}: {words.device_name(record)}", *record["verdict"]["reasons"]]))
        )
        if comparison is not None:
            parts += [Text(f"\n{words.place_name(record)}", style="bold"), render_comparison(comparison)]
    return Group(*parts)
