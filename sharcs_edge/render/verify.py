"""A verification report for a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from sharcs_edge.render._table import FigureTable, percent
from sharcs_edge_runtime.verify import VerifyReport


def render_verify(report: VerifyReport) -> RenderableType:
    """Every width against torch, then the routes, then the verdict with the tolerance that it rests on."""
    tolerance = report.tolerance
    widths = FigureTable("graph", "rows run", "max |diff|", "mean |diff|", "within %", "same answer %", text_columns=2)
    for check in report.widths:
        widths.add(
            check.graph,
            check.layout,
            f"{check.max_abs_diff:.1e}",
            f"{check.mean_abs_diff:.1e}",
            percent(check.logit_agreement),
            percent(check.label_agreement),
        )
    routes = FigureTable("routes", "against", "max |diff|", "same route %", text_columns=2)
    for route in report.routes:
        routes.add(route.layout, route.reference, f"{route.max_router_diff:.1e}", percent(route.agreement))
    asked = (
        f"logits within {tolerance.logits:.1e} and the same answer for {tolerance.label_agreement:.2%}, "
        f"same route for {tolerance.route_agreement:.2%}"
    )
    verdict = ("passed", "bold green") if report.passed else ("FAILED", "bold red")
    return Group(
        widths,
        routes,
        Text(
            f"{report.rows} golden rows, {report.engine}; "
            f"the same tokens for {report.tokenization_agreement:.2%} of the texts"
        ),
        Text.assemble(verdict, f" (asked for: {asked})"),
    )
