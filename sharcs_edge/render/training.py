"""What a training gave, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from sharcs_edge.render._table import FigureTable, mega_macs, percent


def render_training(record: Mapping[str, Any]) -> RenderableType:
    """Dev accuracy, share and compute per width, routed and at random; ``record`` is a bundle's training record."""
    samples = record["samples"]
    return Group(
        render_dev_quality(record),
        Text(
            f"recipe {record['recipe']}, {samples['train']:,} training and {samples['dev']:,} dev samples, "
            f"best epoch {record['best_epoch']} of {record['epochs']}"
        ),
    )


def render_dev_quality(record: Mapping[str, Any]) -> RenderableType:
    """The table of :func:`render_training` alone."""
    dev = record["dev"]
    full_macs = dev["mean_macs"][-1]

    def add(name: str, accuracy: float, share: float | None, macs: float) -> None:
        table.add(name, percent(accuracy), percent(share), mega_macs(macs), percent(macs / full_macs))

    table = FigureTable("dev", "accuracy %", "share %", "MACs M", "MACs %")
    for width, accuracy, share, macs in zip(
        record["widths"], dev["accuracy"], dev["shares"], dev["mean_macs"], strict=True
    ):
        add("full" if width == 1 else f"w={width:g}", accuracy, share, macs)
    table.add_section()
    add("routed", dev["routed_accuracy"], None, dev["routed_macs"])
    random_macs = sum(share * macs for share, macs in zip(dev["shares"], dev["mean_macs"], strict=True))
    add("random", dev["random_accuracy"], None, random_macs)
    return table
