"""What a training gave, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from sharcs_edge.render._table import FigureTable, mega_macs, percent, score_cell, score_heading
from sharcs_edge_runtime.tasks import metrics_with


def render_training(record: Mapping[str, Any]) -> RenderableType:
    """Dev scores, share and compute per width, routed and at random; ``record`` is a bundle's training record."""
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

    metrics = metrics_with(dev.get("metric", "accuracy"))  # older records know of accuracy alone

    def add(name: str, scores: Sequence[float], share: float | None, macs: float) -> None:
        cells = map(score_cell, metrics, scores)
        table.add(name, *cells, percent(share), mega_macs(macs), percent(macs / full_macs))

    table = FigureTable("dev", *map(score_heading, metrics), "share %", "MACs M", "MACs %")
    scores = zip(*(dev[metric.name] for metric in metrics), strict=True)
    for width, found, share, macs in zip(record["widths"], scores, dev["shares"], dev["mean_macs"], strict=True):
        add("full" if width == 1 else f"w={width:.3g}", found, share, macs)
    table.add_section()
    add("routed", [dev[f"routed_{metric.name}"] for metric in metrics], None, dev["routed_macs"])
    random_macs = sum(share * macs for share, macs in zip(dev["shares"], dev["mean_macs"], strict=True))
    add("random", [dev[f"random_{metric.name}"] for metric in metrics], None, random_macs)
    policies = record.get("policies", ())  # older records have none
    if policies:
        table.add_section()
    for policy in policies:
        add(policy["name"], [policy["scores"][metric.name] for metric in metrics], None, policy["macs"])
    return table
