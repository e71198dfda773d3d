"""Profile records of several devices, side by side for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from sharcs_edge.profile import words
from sharcs_edge.profile.compare import Comparison
from sharcs_edge.profile.records import Record
from sharcs_edge.render._table import FigureTable
from sharcs_edge.render.profile import render_comparison

_COLUMNS = ("device", "machine", "verdict", "routed", "p95", "full", "p95", "faster", "load", "MB")


def render_fleet(records: Sequence[Record], comparisons: Sequence[Comparison | None]) -> RenderableType:
    """One row per device: its verdict, what a text takes on it routed and at full width, its start; then the reasons of
    the verdicts, and what changed on each against its base."""
    table = FigureTable(*_COLUMNS, text_columns=3)
    for record in records:
        names = words.place_name(record), words.device_name(record), record["verdict"]["state"]
        table.add(*names, *words.fleet_figures(record))
    parts: list[RenderableType] = [table, Text("ms per text, mean and p95; load in ms; private memory in MB")]
    for record, comparison in zip(records, comparisons, strict=True):
        parts += [Text(f"{words.place_name(record)}: {reason}") for reason in record["verdict"]["reasons"]]
        if comparison is not None:
            parts += [Text(f"\n{words.place_name(record)}", style="bold"), render_comparison(comparison)]
    return Group(*parts)
