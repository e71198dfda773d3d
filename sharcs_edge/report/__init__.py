"""Profile records as one HTML file that needs nothing else: no network, no script."""

from sharcs_edge.report.page import render_report, write_report

__all__ = ["render_report", "write_report"]
