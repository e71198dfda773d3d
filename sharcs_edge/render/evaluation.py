"""An evaluation of a bundle or an artifact for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from sharcs_edge.render._table import FigureTable, mega_macs, percent

if TYPE_CHECKING:
    from sharcs_edge.evaluate import BundleEvaluation
    from sharcs_edge_runtime.evaluate import EvaluationRecord


def render_evaluation(record: EvaluationRecord | BundleEvaluation) -> RenderableType:
    """One line per width, then routed and random; times only where they were measured."""
    full_macs = max(row.mean_macs for row in record.rows)
    timed = any(row.mean_ms is not None for row in record.rows)
    times = ("mean ms", "p50 ms", "p95 ms") if timed else ()
    table = FigureTable("", "accuracy %", "share %", "MACs M", "MACs %", *times)
    for row in record.rows:
        if row.name == "routed":
            table.add_section()
        cells = [
            percent(row.accuracy),
            percent(row.share),
            mega_macs(row.mean_macs),
            percent(row.mean_macs / full_macs),
        ]
        if timed:
            cells += ["" if value is None else f"{value:.2f}" for value in (row.mean_ms, row.p50_ms, row.p95_ms)]
        table.add(row.name, *cells)
    facts = f"{record.texts:,} texts of {record.mean_tokens:.1f} tokens on average; routed gives the label of "
    return Group(table, Text(f"{facts}the full width for {record.agreement:.2%}"))
