"""A plan for a terminal: what the budget buys, the front it was chosen from, and the front as a plot."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Column, Table
from rich.text import Text

from sharcs_edge.plan.run import LIMITS, Plan
from sharcs_edge.render._table import FigureTable, percent, score_cell, score_heading
from sharcs_edge_runtime.manifest import format_widths

_UNITS = {"mean_ms": " ms", "deadline_ms": " ms", "energy_mj": " mJ", "watts": " W", "max_drop": ""}
_HEIGHT = 12
_LEAST_WIDTH = 20


def render_plan(plan: Plan) -> RenderableType:
    """Facts, the front with the chosen place, the plot, and what a deadline leaves."""
    facts = Table.grid("", Column(overflow="fold"), padding=(0, 2))
    for name, fact in _facts(plan):
        facts.add_row(name, Text(fact))
    parts: list[RenderableType] = [facts, _front(plan), FrontPlot(plan)]
    return Group(*parts, _deadline(plan)) if plan.paths else Group(*parts)


def quality_figure(plan: Plan, value: float) -> str:
    """``88.30 %``, or ``0.8612`` of a metric that is no share."""
    if plan.metric is not None and not plan.metric.is_share:
        return score_cell(plan.metric, value)
    return f"{percent(value)} %"


def _facts(plan: Plan) -> Iterator[tuple[str, str]]:
    timing, mix = plan.timing, plan.mix
    asked = (f"{name} {value:g}{_UNITS[name]}" for name in LIMITS if (value := getattr(plan.budget, name)) is not None)
    yield "artifact", plan.artifact
    yield "budget", ", ".join(asked) or "none: the cheapest certified point"
    yield "device", f"{timing.device}, {timing.threads} thread{'s' if timing.threads > 1 else ''}"
    yield "times", f"{timing.kind.upper()} from {timing.source}"
    if timing.assumption is not None:
        yield "assumed", timing.assumption
    yield "inputs", f"{plan.tokens.mean:.1f} tokens on average ({plan.tokens.source})"
    yield "", ""
    yield (
        plan.quality_title,
        f"{quality_figure(plan, mix.quality)}, full width {quality_figure(plan, plan.full.quality)}",
    )
    yield "promise", _promise(plan)
    speedup = plan.full.mean_ms / mix.mean_ms
    yield (
        "mean time",
        f"{mix.mean_ms:.2f} ms ({timing.kind}), full width {plan.full.mean_ms:.2f} ms: {speedup:.2f}x faster",
    )
    if plan.energy_mj is not None:
        yield "energy", f"{plan.energy_mj:.1f} mJ per input (estimated: mean time x {_watts(plan)})"
    shares = zip(plan.widths, mix.shares, mix.runs, strict=True)
    yield "answers", ", ".join(f"{share:.1%} at width {width:.3g}" for width, share, _ in shares)
    yield "points", " and ".join(f"{share:.0%} at point {point}" for point, share in mix.points.items())


def _promise(plan: Plan) -> str:
    file = plan.calibration
    against = "by the labels" if file.against == "labels" else "from the full width's answers"
    if plan.mix.certified:
        return f"at most {file.max_drop:.2%} lost {against}, with {file.confidence:.0%} confidence"
    return f"none: not every point here is certified; --max-drop {file.max_drop:g} keeps to those that are"


def _watts(plan: Plan) -> str:
    if plan.budget.watts is not None:
        return f"{plan.budget.watts:g} W as given"
    return f"{plan.timing.watts:g} W, {plan.timing.watts_source}"


def _front(plan: Plan) -> Table:
    heading = f"{plan.quality_title.split()[0]} %" if plan.metric is None else score_heading(plan.metric)
    widths = [f"{width:.3g} %" for width in plan.widths]
    table = FigureTable("point", "certified", "used %", heading, "mean ms", *widths, text_columns=2)
    table.caption = "the last columns: share of the inputs that each width answers"
    for point in plan.front:
        used = plan.mix.points.get(point.point)
        quality = percent(point.quality) if plan.metric is None else score_cell(plan.metric, point.quality)
        table.add(
            "full" if point is plan.full else str(point.point),
            "yes" if point.certified else "",
            "" if used is None else f"{100 * used:.0f}",
            quality,
            f"{point.mean_ms:.2f}",
            *(f"{100 * share:.0f}" for share in point.shares),
        )
    return table


def _deadline(plan: Plan) -> RenderableType:
    limit = plan.budget.deadline_ms
    table = FigureTable("widths that run", f"ms at {plan.tokens.mean:.1f} tokens", "in time up to tokens")
    for path in plan.paths:
        table.add(format_widths(path.widths), f"{path.ms:.2f}", str(path.most_tokens) if path.most_tokens else "none")
    longest = plan.paths[-1].most_tokens
    if longest >= plan.longest_input:
        return Group(table, Text(f"every input is in time for {limit:g} ms"))
    return Group(
        table,
        Text(
            f"inputs of more than {longest} tokens may get a narrower answer than planned, so as to be in time for "
            f"{limit:g} ms: calibration did not measure how good those are"
        ),
    )


class FrontPlot:
    """Quality over mean time, one mark per point, in characters."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """As wide as the terminal; plain ASCII where its encoding has nothing else."""
        plan = self._plan
        marks = "Oo*-|+." if options.ascii_only else "●○★─│└·"
        labels = [quality_figure(plan, value) for value in (self._top, self._bottom)]
        margin = max(map(len, labels))
        width = max(options.max_width - margin - 3, _LEAST_WIDTH)
        grid = [[" "] * width for _ in range(_HEIGHT)]
        for point in self._path(width * 2):
            self._put(grid, *point, marks[6])
        for planned in plan.front:
            self._put(grid, planned.mean_ms, planned.quality, marks[0] if planned.certified else marks[1])
        self._put(grid, plan.mix.mean_ms, plan.mix.quality, marks[2])
        for row, cells in enumerate(grid):
            label = labels[0] if row == 0 else labels[1] if row == _HEIGHT - 1 else ""
            yield Text(f"{label:>{margin}} {marks[4]}{''.join(cells)}", no_wrap=True)
        yield Text(f"{'':>{margin}} {marks[5]}{marks[3] * width}", no_wrap=True)
        last = f"{self._right:.3g} ms"
        yield Text(f"{'':>{margin}}  {'0':<{width - len(last)}}{last}", no_wrap=True)
        legend = f"{marks[0]} certified  {marks[1]} not certified  {marks[2]} this budget; mean time {plan.timing.kind}"
        yield Text(f"{'':>{margin}}  {legend}")

    @property
    def _right(self) -> float:
        return max(point.mean_ms for point in self._plan.front)

    @property
    def _top(self) -> float:
        return max(point.quality for point in self._plan.front)

    @property
    def _bottom(self) -> float:
        return min(point.quality for point in self._plan.front)

    def _put(self, grid: list[list[str]], ms: float, quality: float, mark: str) -> None:
        span = self._top - self._bottom
        height = (quality - self._bottom) / span if span else 1.0
        column = round(ms / self._right * (len(grid[0]) - 1))
        grid[round((1.0 - height) * (_HEIGHT - 1))][column] = mark

    def _path(self, steps: int) -> Iterator[tuple[float, float]]:
        """Along the mixtures of neighbouring points."""
        front = self._plan.front
        for left, right in pairwise(front):
            for step in range(steps):
                share = step / steps
                yield (
                    left.mean_ms + share * (right.mean_ms - left.mean_ms),
                    left.quality + share * (right.quality - left.quality),
                )
