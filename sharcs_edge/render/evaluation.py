"""An evaluation of a bundle or an artifact for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from sharcs_edge.render._table import FigureTable, mega_macs, percent, score_cell, score_heading
from sharcs_edge_runtime.tasks import METRICS

if TYPE_CHECKING:
    from sharcs_edge.evaluate import BundleEvaluation
    from sharcs_edge_runtime.evaluate import EvaluationRecord


def render_evaluation(
    record: EvaluationRecord | BundleEvaluation, answered: str, budget_met: float | None = None, truncated: int = 0
) -> RenderableType:
    """One line per width, then routed and random; times only where they were measured.

    ``answered``: ``60 images``. ``budget_met``: share of the routed ones, if there was a limit on time or drop.
    ``truncated``: texts that were longer than the longest input.
    """
    full_macs = max(row.mean_macs for row in record.rows if row.width is not None)  # escalation may cost more
    timed = any(row.mean_ms is not None for row in record.rows)
    metrics = METRICS[record.task]
    wide = timed and len(metrics) > 1  # a terminal of 80 columns has no room for all then; JSON has
    macs = ("MACs %",) if wide else ("MACs M", "MACs %")
    times = ("mean ms", "p95 ms") if wide else ("mean ms", "p50 ms", "p95 ms") if timed else ()
    table = FigureTable("", *map(score_heading, metrics), "share %", *macs, *times)
    for row in record.rows:
        if row.name == "routed":
            table.add_section()
        figures = {
            "MACs M": mega_macs(row.mean_macs),
            "MACs %": percent(row.mean_macs / full_macs),
            "mean ms": _milliseconds(row.mean_ms),
            "p50 ms": _milliseconds(row.p50_ms),
            "p95 ms": _milliseconds(row.p95_ms),
        }
        scores = (score_cell(metric, row.scores[metric.name]) for metric in metrics)
        table.add(row.name, *scores, percent(row.share), *(figures[name] for name in (*macs, *times)))
    facts = f"{answered} of {record.mean_tokens:.1f} tokens on average; routed "
    if record.agreement.same is None:
        close = f"is {record.agreement.difference:.4g} from the full width's value on average"
    else:
        answer = "labels" if record.task == "multi_label" else "label"
        close = f"gives the {answer} of the full width for {record.agreement.same:.2%}"
    met = "" if budget_met is None else f"; {budget_met:.2%} within the budget"
    cut = f"; {truncated:,} were longer than the longest input and cut" if truncated else ""
    return Group(table, Text(facts + close + met + cut))


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
