"""Export plans and reports for a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from sharcs_edge.export import ExportPlan, ExportReport
from sharcs_edge.export.card import CARD_FILE
from sharcs_edge.render._table import FigureTable, file_size, percent
from sharcs_edge.render.verify import render_verify


def render_plan(plan: ExportPlan) -> RenderableType:
    """The graphs that an export would write."""
    table = FigureTable("graph", "file", "about", text_columns=2)
    for graph, size in zip(plan.graphs, plan.graph_bytes, strict=True):
        table.add(graph.name, graph.file, file_size(size))
    options = ", ".join(f"{name} {str(value).lower()}" for name, value in plan.preset.options.items())
    recipe = plan.preset.recipe + (f" ({options})" if options else "")
    kept = plan.vocabulary
    words = "" if kept is None else f", {len(kept.kept):,} of {kept.source_size:,} tokens"
    return Group(
        Text(
            f"{plan.bundle.path} for {plan.device.name} ({plan.device.title}): {plan.exporter.backend}, {recipe}, "
            f"{plan.preset.layout} weights{words}"
        ),
        table,
        Text(f"about {file_size(plan.estimated_bytes)} with the tokenizer; checked on {plan.golden_rows} golden rows"),
    )


def render_export(report: ExportReport) -> RenderableType:
    """The graphs that were written, and how they agree with torch."""
    manifest = report.manifest
    table = FigureTable("graph", "file", "size", "int8 MatMuls %", text_columns=2)
    for graph in (manifest.trunk, *map(manifest.tail, manifest.widths)):
        share = graph.quantization.matmul_coverage if graph.quantization.recipe != "none" else None
        table.add(graph.name, graph.file, file_size(graph.bytes), percent(share))
    for file in manifest.files:
        if file.file != CARD_FILE:
            table.add("all", file.file, file_size(file.bytes), "")
    views = [table, render_verify(report.parity)]
    if report.float_parity is not None:
        largest = max(check.max_abs_diff for check in report.float_parity.widths)
        agreement = min(check.agreement for check in report.float_parity.routes)
        views.insert(1, Text(f"before quantization: max |diff| {largest:.1e}, same route {agreement:.2%}"))
    views.append(Text(f"{report.artifact}: {file_size(report.bytes)} for {manifest.target}, in {report.seconds:.0f} s"))
    return Group(*views)
