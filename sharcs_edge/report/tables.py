"""Tables and lists of facts in HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sharcs_edge.profile import words
from sharcs_edge.profile.compare import Change, Comparison, change_of, name_of
from sharcs_edge.profile.frontier import FrontPoint, quality_name
from sharcs_edge.profile.records import Record
from sharcs_edge.profile.words import milliseconds, width_name
from sharcs_edge.report.charts import change_chart
from sharcs_edge.report.markup import Child, Markup, element, join

_STATISTICS = ("mean", "p50", "p90", "p95", "p99")


def facts(pairs: Iterable[tuple[str, str]]) -> Markup:
    """A list of names and facts."""
    return element("dl", *(join(element("dt", name), element("dd", fact)) for name, fact in pairs), class_="facts")


def table(
    caption: str, head: Sequence[str], rows: Iterable[Sequence[Child]], classes: Sequence[str | None] | None = None
) -> Markup:
    """Rows of cells, the first of each its heading; scrolls sideways where it is too wide. `classes`: of the rows."""
    heads = [element("th", name, scope="col") for name in head]
    rows = [(element("th", first, scope="row"), *(element("td", cell) for cell in rest)) for first, *rest in rows]
    body = [
        element("tr", *cells, class_=class_) for cells, class_ in zip(rows, classes or [None] * len(rows), strict=True)
    ]
    grid = element(
        "table", element("caption", caption), element("thead", element("tr", *heads)), element("tbody", *body)
    )
    return element("div", grid, class_="scroll", role="region", aria_label=caption, tabindex="0")


def latency_table(record: Record) -> Markup:
    """Median and 95th percentile of a prediction, widths x lengths."""
    totals = {(row["width"], row["tokens"]): row["ms"] for row in record["stages"] if row["stage"] == "total"}
    lengths = sorted({tokens for _, tokens in totals})
    rows = [
        [
            width_name(width),
            *(f"{milliseconds(ms['p50'])} / {milliseconds(ms['p95'])}" for ms in (totals[width, n] for n in lengths)),
        ]
        for width in record["artifact"]["widths"]
    ]
    return table("ms per prediction, p50 / p95", ["", *(f"{tokens} tokens" for tokens in lengths)], rows)


def stage_table(record: Record) -> Markup:
    """Every stage that was measured."""
    rows, classes, last = [], [], None
    for row in record["stages"]:
        ms, tokens = row["ms"], row["tokens"]
        name = row["stage"] if row["width"] is None else f"{row['stage']}, {width_name(row['width'])}"
        times = [milliseconds(ms[figure]) for figure in ("min", *_STATISTICS)]
        rows.append([name, str(tokens), *times, f"{ms['cv']:.0%}", str(ms["n"])])
        kinds = ["group"] * (last not in (None, tokens)) + ["whole"] * (row["stage"] == "total")
        classes.append(" ".join(kinds) or None)
        last = tokens
    return table("ms per run of each stage", ["", "tokens", "min", *_STATISTICS, "CV", "n"], rows, classes)


def mix_table(mix: Record) -> Markup:
    """Share and times per width, and of all texts routed and at full width."""
    rows: list[list[str]] = []
    for row in mix["shares"]:
        ms = row.get("routed") or {"mean": row["routed_ms"]}
        times = [milliseconds(ms.get(name)) for name in _STATISTICS]
        rows.append([width_name(row["width"]), f"{row['share']:.1%}", *times, milliseconds(row["full_ms"])])
    for name, shown in (("routed", "all, routed"), ("full", "all, full width")):
        mean = milliseconds(mix["full"]["mean"])
        rows.append([shown, "", *(milliseconds(mix[name][figure]) for figure in _STATISTICS), mean])
    classes = [None] * len(mix["shares"]) + ["group whole", "whole"]
    head = ["answered by", "share", *_STATISTICS, "same texts, full width"]
    return table("ms per text", head, rows, classes)


def front_table(record: Record, front: Sequence[FrontPoint]) -> Markup:
    """The operating points that calibration certified, and those in use."""
    points, widths = record["operating_points"]["points"], record["artifact"]["widths"]
    metric, scale = quality_name(record)
    digits = 2 if scale > 1 else 4
    shown = [point for point in front if point.certified or point.used]
    rows = [
        [
            f"{point.index}{', in use' if point.used else ''}",
            f"{scale * point.quality:.{digits}f}",
            milliseconds(point.ms),
            *(f"{100 * share:.0f}" for share in points[point.index]["shares"]),
        ]
        for point in shown
    ]
    title = "certified points and those in use; last: % of the answers by width"
    head = ["point", f"{metric} %" if scale > 1 else metric, "est. ms", *(f"{width:.3g}" for width in widths)]
    return table(title, head, rows, ["whole" if point.used else None for point in shown])


def memory_table(memory: Record) -> Markup:
    """Memory of a fresh process after each step."""
    rows = [
        [name.replace("_", " "), *(_megabytes(step[kind]) for kind in ("pss_mb", "private_mb"))]
        for name, step in memory.items()
    ]
    return table("memory after each step, MB", ["", "PSS", "private"], rows)


def start_table(cold: Record) -> Markup:
    """Times of fresh processes."""
    disk = cold.get("disk_load_ms")
    rows = [
        ["import", *_range(cold["import_ms"])],
        ["load, from the file cache", *_range(cold["load_ms"])],
        ["load, from the disk", "unavailable" if disk is None or isinstance(disk, str) else f"{disk:.0f}", ""],
        ["first prediction", *_range(cold["first_run_ms"])],
        ["warm prediction", *_range(cold["warm_run_ms"])],
    ]
    return table(f"{cold['load_ms']['n']} fresh processes, ms", ["", "p50", "range"], rows)


def comparison_table(comparison: Comparison, changes: Sequence[Change]) -> Markup:
    """Some of the changes: figures in both runs, and the change with its range."""
    most = min(max([2 * comparison.fail_over, *(abs(change.change) * 1.2 for change in comparison.changes)]), 1.0)
    rows = [
        [
            name_of(change),
            change_of(change),
            change_chart(change, comparison.fail_over, most),
            element("span", change.judgement, class_=change.judgement),
            *(f"{milliseconds(value)} {change.unit}" for value in (change.base, change.new)),
        ]
        for change in changes
    ]
    classes = [
        "group" if place and change.group != changes[place - 1].group else None for place, change in enumerate(changes)
    ]
    return table(
        "solid line: no change; dotted: the limit", ["", "change (range)", "", "", "base", "now"], rows, classes
    )


def fleet_table(records: Sequence[Record]) -> Markup:
    """One row per machine."""
    rows = []
    for record in records:
        verdict = record["verdict"]["state"]
        mark = element("span", verdict, class_=verdict)
        rows.append([words.place_name(record), mark, *words.fleet_figures(record)])
    head = ["", "verdict", "routed mean", "p95", "full mean", "p95", "speed-up", "load", "private MB"]
    return table("ms per text, load in ms", head, rows)


def _range(figures: Record) -> tuple[str, str]:
    values = figures["samples"]
    return milliseconds(figures["p50"]), f"{milliseconds(min(values))} to {milliseconds(max(values))}"


def _megabytes(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.1f}"
