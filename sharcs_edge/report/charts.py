"""The charts of a profile record. Their figures stand in tables beside them, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from sharcs_edge.profile.compare import Change, change_of
from sharcs_edge.profile.frontier import FrontPoint
from sharcs_edge.profile.records import Record
from sharcs_edge.profile.words import milliseconds, place_name, width_name
from sharcs_edge.report.axes import LINE, WIDTH, Frame, Scale, drawing, hint, label, spread, ticks
from sharcs_edge.report.markup import Markup, element

_BINS: Final = 28
_DRIFT_RANGE: Final = (0.5, 2.0)  # of the median


def latency_chart(record: Record) -> Markup:
    """Median time of a prediction over the tokens of its input, one line per width, with whiskers up to p95."""
    widths = record["artifact"]["widths"]
    totals = {(row["width"], row["tokens"]): row["ms"] for row in record["stages"] if row["stage"] == "total"}
    lengths = sorted({tokens for _, tokens in totals})
    y_ticks = ticks(0.0, max(ms["p95"] for ms in totals.values()))
    frame = Frame.of((0.0, lengths[-1] * 1.02), (0.0, y_ticks[-1]), margins=(20.0, 106.0, 46.0, 40.0))
    parts = frame.axes("tokens per input", "ms: p50, whisker to p95", [0, *lengths], y_ticks)
    for place, width in enumerate(widths):
        parts.append(frame.path([(tokens, totals[width, tokens]["p50"]) for tokens in lengths], f"w{place}"))
        for tokens in lengths:
            ms = totals[width, tokens]
            x, top, middle = frame.x(tokens), frame.y(ms["p95"]), frame.y(ms["p50"])
            said = hint(
                f"{width_name(width)}, {tokens} tokens: p50 {milliseconds(ms['p50'])}, p95 {milliseconds(ms['p95'])} ms"
            )
            parts.append(element("line", x1=x, x2=x, y1=top, y2=middle, class_=f"whisker w{place}"))
            parts.append(element("circle", said, cx=x, cy=middle, r=3.5, class_=f"dot w{place}"))
    ends = [frame.y(totals[width, lengths[-1]]["p50"]) + 4 for width in widths]
    for width, y in zip(widths, spread(ends, LINE, 24.0, frame.y.start), strict=True):
        parts.append(label(width_name(width), frame.x.end + 9, y))
    return drawing(frame.height, "Median milliseconds by tokens per input, one line per width", parts)


def stage_chart(record: Record, tokens: int) -> Markup:
    """Where the mean time goes at one length: tokenizing, trunk and tail, one bar per width."""
    means = {(row["stage"], row["width"]): row["ms"]["mean"] for row in record["stages"] if row["tokens"] == tokens}
    widths = record["artifact"]["widths"]
    scale = Scale(0.0, max(means["total", width] for width in widths), 102.0, WIDTH - 66.0)
    parts = _legend(
        [("tokenising", "s-tokenise"), ("trunk with router", "s-trunk"), ("tail of the width", f"w{len(widths) - 1}")]
    )
    for place, width in enumerate(widths):
        y = 26.0 + place * 34.0
        parts.append(label(width_name(width), 95.0, y + 16, "end"))
        left = 0.0
        for stage, key, class_ in (
            ("tokenising", ("tokenise", None), "s-tokenise"),
            ("trunk", ("trunk", None), "s-trunk"),
            ("tail", ("tail", width), f"w{place}"),
        ):
            said = hint(f"{stage}: {milliseconds(means[key])} ms")
            start, end = scale(left), scale(left + means[key])
            parts.append(element("rect", said, x=start, y=y, width=end - start, height=22.0, class_=f"bar {class_}"))
            left += means[key]
        parts.append(label(f"{milliseconds(means['total', width])} ms", scale(left) + 6, y + 16))
    return drawing(34.0 * len(widths) + 30, f"Mean milliseconds of each stage at {tokens} tokens, by width", parts)


def share_chart(shares: Sequence[Record]) -> Markup:
    """Which width answered, as one bar."""
    parts, left, scale = [], 0.0, Scale(0.0, 1.0, 1.0, WIDTH - 1.0)
    for place, row in enumerate(shares):
        start, end = scale(left), scale(left + row["share"])
        said = hint(f"{width_name(row['width'])}: {row['share']:.1%}")
        parts.append(element("rect", said, x=start, y=2.0, width=end - start, height=28.0, class_=f"bar w{place}"))
        if end - start > 46:
            parts.append(label(f"{row['share']:.0%}", (start + end) / 2, 21.0, "middle", f"on on-w{place}"))
        left += row["share"]
    keys = _width_keys([row["width"] for row in shares])
    parts += _legend(keys, 50.0)
    return drawing(43.0 + LINE * _legend_lines(keys), "Share of the texts that each width answered", parts)


def histogram(mix: Record, widths: Sequence[float]) -> Markup:
    """How long the texts took: routed, stacked by the width that answered, and the outline at full width."""
    edges = _edges(mix)
    routed, full = np.asarray(mix["routed"]["samples"]), np.asarray(mix["full"]["samples"])
    answered = np.asarray(mix.get("answered_by", [widths[-1]] * len(routed)))
    bars = [100 * np.histogram(routed[answered == width], edges)[0] / len(routed) for width in widths]
    outline = 100 * np.histogram(full, edges)[0] / len(full)
    y_ticks = ticks(0.0, float(max(np.sum(bars, axis=0).max(), outline.max())), 4)
    keys = [*_width_keys(widths), ("full width", "l-full")]
    legend = LINE * _legend_lines(keys)
    frame = Frame.of((0.0, edges[-1]), (0.0, y_ticks[-1]), 215.0 + legend, (27.0 + legend, 14.0, 46.0, 40.0))
    parts = frame.axes("ms per text", "", _inner(edges[-1]), y_ticks)
    base = np.zeros(_BINS)
    for place, counts in enumerate(bars):
        for left, right, low, high in zip(edges, edges[1:], base, base + counts, strict=False):
            if high > low:
                x, y = frame.x(left), frame.y(high)
                box = {"x": x, "y": y, "width": frame.x(right) - x - 0.6, "height": frame.y(low) - y}
                parts.append(element("rect", class_=f"bar w{place}", **box))
        base += counts
    steps = [
        point for left, right, y in zip(edges, edges[1:], outline, strict=False) for point in ((left, y), (right, y))
    ]
    parts.append(frame.path(steps, "full"))
    parts.append(label("% of the texts", 2.0, 11.0, "start", "title"))
    parts += _legend(keys, 26.0)
    return drawing(frame.height, "Histogram of the milliseconds per text, routed and at full width", parts)


def distribution(mix: Record) -> Markup:
    """The share of the texts that were done within a time."""
    end = _edges(mix)[-1]
    frame = Frame.of((0.0, end), (0.0, 100.0), 230.0, (42.0, 14.0, 46.0, 40.0))
    parts = frame.axes("ms per text", "", _inner(end), [0, 25, 50, 75, 95])
    for way in ("full", "routed"):
        times = np.sort(np.asarray(mix[way]["samples"]))
        kept = times[times <= end]
        heights = 100 * np.arange(1, len(kept) + 1) / len(times)
        chosen = np.unique(np.linspace(0, len(kept) - 1, min(len(kept), 200)).astype(int))
        parts.append(frame.path(zip(kept[chosen], heights[chosen], strict=True), way))
        for name, share in (("p50", 50.0), ("p95", 95.0)):
            if mix[way][name] <= end:
                said = hint(f"{way} {name}: {milliseconds(mix[way][name])} ms")
                parts.append(
                    element("circle", said, cx=frame.x(mix[way][name]), cy=frame.y(share), r=3.5, class_=f"dot {way}")
                )
    parts.append(label("% of the texts done by then", 2.0, 11.0, "start", "title"))
    parts += _legend([("routed", "l-routed"), ("full width", "l-full")], 26.0)
    return drawing(frame.height, "Cumulative distribution of the milliseconds per text", parts)


def frontier_chart(front: Sequence[FrontPoint], metric: str, scale: float) -> Markup:
    """Quality over estimated mean time; filled points are certified, the one in use is ringed."""
    qualities = [scale * point.quality for point in front]
    x_ticks = ticks(0.0, max(point.ms for point in front))
    y_ticks = ticks(min(qualities), max(qualities))
    frame = Frame.of((0.0, x_ticks[-1]), (y_ticks[0], y_ticks[-1]), 276.0, (46.0, 14.0, 46.0, 46.0))
    parts = frame.axes("estimated mean ms per text", "", x_ticks, y_ticks)
    ordered = sorted(zip((point.ms for point in front), qualities, front, strict=True), key=lambda item: item[:2])
    parts.append(frame.path([(ms, quality) for ms, quality, _ in ordered], "front"))
    for ms, quality, point in ordered:
        x, y = frame.x(ms), frame.y(quality)
        state = "certified" if point.certified else "not certified"
        used = f", used for {point.used:.0%} of the texts" if point.used else ""
        said = hint(f"point {point.index}: {quality:.2f} at about {milliseconds(ms)} ms, {state}{used}")
        parts.append(
            element("circle", said, cx=x, cy=y, r=4.0, class_="dot certified" if point.certified else "dot open")
        )
        if point.used:
            parts.append(element("circle", cx=x, cy=y, r=9.0, class_="ring"))
            place = (x + 10, "start") if x < WIDTH - 125 else (frame.x.end, "end")  # below: the front rises
            parts.append(label(f"point {point.index} in use", place[0], y + 24, place[1], "strong"))
    parts.append(label(f"{metric}{', %' if scale == 100.0 else ''}", 2.0, 11.0, "start", "title"))
    parts += _legend([("certified", "certified"), ("not certified", "open"), ("in use", "ring")], 28.0)
    return drawing(frame.height, f"{metric} over estimated mean milliseconds, one mark per operating point", parts)


def drift_chart(record: Record) -> Markup:
    """Every prediction at full width in order of time, relative to the median: a level band is a quiet run."""
    full = max(record["artifact"]["widths"])
    rows = [row for row in record["stages"] if row["stage"] == "total" and row["width"] == full]
    low, high = _DRIFT_RANGE
    frame = Frame.of((0.0, float(len(rows))), (low, high), 190.0, (20.0, 14.0, 46.0, 46.0))
    parts = frame.axes("", "time / median", [], [0.5, 1.0, 1.5, 2.0])
    for place, row in enumerate(rows):
        samples = np.asarray(row["ms"]["samples"]) / row["ms"]["p50"]
        for index, value in enumerate(np.clip(samples, low, high)):
            x = place + 0.06 + 0.88 * (index + 0.5) / len(samples)
            parts.append(element("circle", cx=frame.x(x), cy=frame.y(float(value)), r=1.6, class_="speck"))
        parts.append(label(f"{row['tokens']} tokens", frame.x(place + 0.5), frame.y.start + LINE + 4, "middle"))
    parts.append(label("order of time within each length", frame.x.end, frame.y.start + 7 + 2 * LINE, "end", "title"))
    return drawing(frame.height, "Samples at full width in order of time, relative to their median", parts)


def change_chart(change: Change, limit: float, most: float) -> Markup:
    """A change and its range on one line, with 0 and the limit."""
    scale = Scale(-most, most, 4.0, 116.0)

    def place(value: float) -> float:
        return scale(min(max(value, -most), most))

    line = {"y1": 10.0, "y2": 10.0}
    parts = [
        element("line", x1=scale(0.0), x2=scale(0.0), y1=1.0, y2=19.0, class_="axis"),
        element("line", x1=place(limit), x2=place(limit), y1=1.0, y2=19.0, class_="limit"),
        element("line", x1=place(change.low), x2=place(change.high), class_=f"range {change.judgement}", **line),
        element("circle", cx=place(change.change), cy=10.0, r=3.5, class_=f"dot {change.judgement}"),
    ]
    return element("svg", *parts, viewBox="0 0 120 20", role="img", aria_label=change_of(change), class_="inline")


def fleet_chart(records: Sequence[Record]) -> Markup:
    """Mean time per text on each machine: routed, and all at full width."""
    mixes = [record["mix"] for record in records]
    scale = Scale(0.0, max(mix[way]["mean"] for mix in mixes for way in ("routed", "full")), 8.0, WIDTH - 70.0)
    parts = _legend([("routed", "routed"), ("full width", "full")])
    for place, (record, mix) in enumerate(zip(records, mixes, strict=True)):
        y = 34.0 + place * 56.0
        parts.append(label(place_name(record), 8.0, y + 4, "start", "strong"))
        for turn, way in enumerate(("routed", "full")):
            top, end = y + 10 + 17 * turn, scale(mix[way]["mean"])
            parts.append(element("rect", x=8.0, y=top, width=end - 8, height=14.0, class_=f"bar {way}"))
            parts.append(label(f"{milliseconds(mix[way]['mean'])} ms", end + 5, top + 11))
    return drawing(
        56.0 * len(mixes) + 40, "Mean milliseconds per text on each machine, routed and at full width", parts
    )


def _edges(mix: Record) -> Any:
    """Bins up to the slowest in a hundred; what is slower would flatten the rest."""
    last = max(mix["routed"]["p99"], mix["full"]["p99"])
    return np.linspace(0.0, last * 1.02, _BINS + 1)


def _inner(end: float) -> list[float]:
    return [tick for tick in ticks(0.0, float(end)) if tick <= end]


def _legend(entries: Sequence[tuple[str, str]], y: float = 12.0) -> list[Markup]:
    """Swatches with names, from left to right; `y`: the baseline of the first line."""
    places = _legend_places([name for name, _ in entries])
    keys = zip(entries, places, strict=True)
    return [part for (name, class_), (x, line) in keys for part in _key(name, class_, x, y + line * LINE)]


def _legend_lines(entries: Sequence[tuple[str, str]]) -> int:
    return _legend_places([name for name, _ in entries])[-1][1] + 1


def _legend_places(names: Sequence[str]) -> list[tuple[float, int]]:
    """Where each entry begins: its x, and its line."""
    places, x, line = [], 2.0, 0
    for name in names:
        width = 26 + 7.6 * len(name)
        if x > 2 and x + width > WIDTH:
            x, line = 2.0, line + 1
        places.append((x, line))
        x += width
    return places


def _key(name: str, class_: str, x: float, y: float) -> tuple[Markup, Markup]:
    """`l-` is a line, "ring", "certified" and "open" are marks, the rest are areas."""
    text = label(name, x + 18, y)
    if class_.startswith("l-"):
        return element("line", x1=x, x2=x + 14, y1=y - 4, y2=y - 4, class_=f"line {class_[2:]}"), text
    if class_ in ("certified", "open"):
        return element("circle", cx=x + 6, cy=y - 4, r=4.0, class_=f"dot {class_}"), text
    if class_ == "ring":
        return element("circle", cx=x + 6, cy=y - 4, r=6.0, class_="ring"), text
    return element("rect", x=x, y=y - 10, width=12.0, height=12.0, class_=f"bar {class_}"), text


def _width_keys(widths: Sequence[float]) -> list[tuple[str, str]]:
    """Entries of a legend: ``width 0.25``, then plain numbers."""
    return [(f"{width:.3g}" if place else width_name(width), f"w{place}") for place, width in enumerate(widths)]
