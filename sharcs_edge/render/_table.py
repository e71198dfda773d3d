"""What the tables share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from sharcs_edge_runtime.tasks import Metric


class FigureTable(Table):
    """Columns of text, ``text_columns`` of them, then columns of figures; what a cell holds is never markup."""

    def __init__(self, *columns: str, text_columns: int = 1) -> None:
        super().__init__()
        for index, name in enumerate(columns):
            self.add_column(name, justify="left" if index < text_columns else "right", overflow="fold")

    def add(self, *cells: str) -> None:
        """Appends a row."""
        self.add_row(*map(Text, cells))


def score_heading(metric: Metric) -> str:
    """``accuracy %``, for the column of a metric."""
    return f"{metric.title} %" if metric.is_share else metric.title


def score_cell(metric: Metric, value: float) -> str:
    """``89.34`` under a heading that says %, else ``0.8934``."""
    return percent(value) if metric.is_share else f"{value:.4f}"


def percent(share: float | None) -> str:
    """``0.8934`` -> ``89.34``, for a column that says %."""
    return "" if share is None else f"{share * 100:.2f}"


def file_size(size: int) -> str:
    """``287 B``, ``6.5 kB``, ``92.5 MB``, by powers of 1,000."""
    if size < 1000:
        return f"{size} B"
    return f"{size / 1e3:.1f} kB" if size < 1e6 else f"{size / 1e6:,.1f} MB"


def mega_macs(macs: float) -> str:
    """Multiply-accumulates -> ``12.3`` millions."""
    return f"{macs / 1e6:,.1f}"
