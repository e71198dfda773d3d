"""The frame of a chart: linear scales, round ticks, grid and labels, in SVG that is readable at 340 px and on paper."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sharcs_edge.report.markup import Markup, element

WIDTH: Final = 420.0
LINE: Final = 15.0  # height of a line of text


@dataclass(frozen=True)
class Scale:
    """Maps `low`..`high` of the data to `start`..`end` in pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Pixels."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


@dataclass(frozen=True)
class Frame:
    """The area between both axes."""

    x: Scale
    y: Scale
    height: float

    @classmethod
    def of(
        cls,
        x: tuple[float, float],
        y: tuple[float, float],
        height: float = 250.0,
        margins: tuple[float, float, float, float] = (14.0, 14.0, 40.0, 46.0),
    ) -> Frame:
        """`x`, `y`: what the axes span; `margins`: top, right, bottom, left."""
        top, right, bottom, left = margins
        return cls(Scale(*x, left, WIDTH - right), Scale(*y, height - bottom, top), height)

    def axes(self, x_title: str, y_title: str, x_ticks: Sequence[float], y_ticks: Sequence[float]) -> list[Markup]:
        """Grid lines, tick labels and titles; the y title stands above its axis, so that it needs no turned text."""
        left, right, floor = self.x.start, self.x.end, self.y.start
        parts = []
        for value in y_ticks:
            y = self.y(value)
            parts.append(element("line", x1=left, x2=right, y1=y, y2=y, class_="grid"))
            parts.append(label(tick_text(value, y_ticks), left - 6, y + 4, "end"))
        for value in x_ticks:
            x = self.x(value)
            parts.append(element("line", x1=x, x2=x, y1=floor, y2=floor + 4, class_="axis"))
            parts.append(label(tick_text(value, x_ticks), x, floor + 4 + LINE, "middle"))
        parts.append(element("line", x1=left, x2=right, y1=floor, y2=floor, class_="axis"))
        parts.append(label(x_title, right, floor + 7 + 2 * LINE, "end", "title"))
        parts.append(label(y_title, 2.0, 11.0, "start", "title"))
        return parts

    def path(self, points: Iterable[tuple[float, float]], class_: str) -> Markup:
        """A line through data points."""
        places = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
        return element("polyline", points=places, class_=f"line {class_}")


def drawing(height: float, title: str, children: Iterable[Markup]) -> Markup:
    """An SVG of the charts' common width, with what a screen reader says of it."""
    return element("svg", *children, viewBox=f"0 0 {WIDTH:g} {height:g}", role="img", aria_label=title, class_="chart")


def label(text: str, x: float, y: float, anchor: str = "start", class_: str | None = None) -> Markup:
    """Text with its baseline at `y`."""
    return element("text", text, x=x, y=y, text_anchor=anchor, class_=class_)


def hint(text: str) -> Markup:
    """What a pointer that rests on an element sees."""
    return element("title", text)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from `low` or just below it to `high` or just above it."""
    step = _round_step((high - low) / about if high > low else 1.0)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, max(last, first + 1) + 1)]


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor * power >= rough * 0.999)


def tick_text(value: float, among: Sequence[float]) -> str:
    """With as many decimals as the longest of the ticks needs."""
    decimals = max(len(f"{tick:.6g}".partition(".")[2]) for tick in among)
    return f"{value:,.{decimals}f}"


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places for labels near the wanted ones, in their order, `gap` apart, within `low`..`high` where there is room."""
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    places = [0.0] * len(wanted)
    last = low - gap
    for index in order:
        last = places[index] = max(wanted[index], last + gap)
    limit = high
    for index in reversed(order):
        limit = places[index] = min(places[index], limit)
        limit -= gap
    return places
