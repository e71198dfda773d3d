"""The front of a plan as a picture: quality and the widths' shares over mean time."""

from __future__ import annotations

from io import BytesIO
from itertools import accumulate

from matplotlib import colormaps, style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sharcs_edge.plan.run import Plan
from sharcs_edge.render.plan import quality_figure

_LINE, _CHOSEN, _PLAIN = "#0b3c8c", "#c8401b", "#555555"
_DPI = 150


def draw_frontier(plan: Plan) -> bytes:
    """A PNG."""
    with style.context("default"):  # light, whatever the user's own style is
        figure = Figure(figsize=(8.5, 7), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.3))
        _quality(above, plan)
        _shares(below, plan)
        factor = plan.timing.error_factor
        error = f": up to {factor:g} times more or less" if factor > 1 else ""
        below.set_xlabel(f"mean time per input, ms ({plan.timing.kind}{error})")
        below.set_xlim(0, 1.05 * max(point.mean_ms for point in plan.front))
        above.set_title(f"{plan.artifact} on {plan.timing.device}, {plan.tokens.mean:.0f} tokens on average")
        stream = BytesIO()
        figure.savefig(stream, format="png", dpi=_DPI)
    return stream.getvalue()


def _quality(axes: Axes, plan: Plan) -> None:
    scale = 100.0 if plan.metric is None or plan.metric.is_share else 1.0
    front, mix, full = plan.front, plan.mix, plan.full
    axes.plot([p.mean_ms for p in front], [scale * p.quality for p in front], color=_LINE, linewidth=1.4, zorder=2)
    for certified, face, label in ((True, _LINE, "certified point"), (False, "white", "point, not certified")):
        chosen = [p for p in front if p.certified is certified]
        if chosen:
            xs, ys = [p.mean_ms for p in chosen], [scale * p.quality for p in chosen]
            axes.scatter(xs, ys, s=42, facecolor=face, edgecolor=_LINE, linewidth=1.4, zorder=3, label=label)
    axes.axhline(scale * full.quality, color=_PLAIN, linewidth=0.9, label="full width")
    if plan.metric is None or plan.metric.name == "accuracy":  # a drop is of another kind than the other metrics
        promise = scale * (full.quality - plan.calibration.max_drop)
        lost = f"full width less {plan.calibration.max_drop:.2%}, the most that certified points lose"
        axes.axhline(promise, color=_PLAIN, linewidth=0.9, linestyle=(0, (4, 4)), label=lost)
    here = f"this budget: {mix.mean_ms:.3g} ms, {quality_figure(plan, mix.quality)}"
    axes.scatter([mix.mean_ms], [scale * mix.quality], s=190, marker="*", color=_CHOSEN, zorder=4, label=here)
    axes.axvline(mix.mean_ms, color=_CHOSEN, linewidth=0.9, alpha=0.6, zorder=1)
    unit = ", %" if scale == 100.0 else ""
    axes.set_ylabel(f"{plan.quality_title}{unit}")
    axes.grid(alpha=0.25)
    axes.legend(loc="lower right", fontsize=9, framealpha=0.9)


def _shares(axes: Axes, plan: Plan) -> None:
    """Which width answers, stacked, narrow to wide from below."""
    front = sorted(plan.front, key=lambda point: point.mean_ms)
    times = [point.mean_ms for point in front]
    tops: list[list[float]] = [[100 * top for top in accumulate(point.shares)] for point in front]
    colours = colormaps["Blues"]
    for index, width in enumerate(plan.widths):
        low = [row[index - 1] if index else 0.0 for row in tops]
        shade = colours(0.25 + 0.6 * index / max(len(plan.widths) - 1, 1))
        axes.fill_between(
            times, low, [row[index] for row in tops], color=shade, linewidth=0, label=f"width {width:.3g}"
        )
    axes.axvline(plan.mix.mean_ms, color=_CHOSEN, linewidth=0.9, alpha=0.6)
    axes.set_ylim(0, 100)
    axes.set_ylabel("answers, %")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=9, frameon=False)
