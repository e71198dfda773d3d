"""The comparison as a picture."""

from __future__ import annotations

from pathlib import Path
from statistics import mean, stdev

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes

from benchmarks.curves.methods import METHODS
from benchmarks.curves.tables import Results

# Colours that differ in lightness, too; what is not here is left out.
_LINES = {
    "ours": ("#0b3c8c", "-", 2.6),
    "escalation": ("#3f8fdb", "--", 1.6),
    "router": ("#7fb5e6", ":", 1.8),
    "cascade": ("#2e8b57", "-", 1.6),
    "exit-confidence": ("#c8791b", "-", 1.6),
    "exit-strengthened": ("#e0a860", "--", 1.6),
    "random-best": ("#8a8a8a", ":", 1.6),
}
_MARKS = {
    "static": ("#3f8fdb", "s"),
    "separate": ("#2e8b57", "^"),
    "exit-patience": ("#c8791b", "x"),
    "sharcs": ("#a0208c", "D"),
    "minilm-l3": ("#b02a2a", "*"),
    "plain": ("#111111", "o"),
}
_SHOWN_BELOW_FULL = 0.12  # of the score: what is worse is of no interest, and would flatten the rest


def draw(results: Results, file: Path) -> None:
    """Score against cost on test: mean over seeds, with a band of one standard deviation."""
    figure, axes = pyplot.subplots(figsize=(11, 6), layout="constrained")
    for method in results.points:
        if method in _LINES:
            _line(axes, results, method)
        elif method in _MARKS:
            _marks(axes, results, method)
    full = results.full_score
    axes.axhline(100 * full, color="#111111", linewidth=0.8)
    axes.axhline(100 * full - 1, color="#111111", linewidth=0.8, linestyle=(0, (2, 4)))
    lowest, highest = axes.get_ylim()
    axes.set_ylim(max(lowest, 100 * (full - _SHOWN_BELOW_FULL)), highest)
    axes.set_xlim(0, 1.1)
    axes.set_xlabel("mean MACs per input, of the full encoder's")
    axes.set_ylabel(f"{results.metric.title} on test, {'%' if results.metric.is_share else '× 100'}")
    seeds = f"{len(results.seeds)} seeds" if len(results.seeds) > 1 else "1 seed"
    axes.set_title(f"{results.data}: settings selected on dev; {seeds}")
    axes.grid(alpha=0.25)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150)
    pyplot.close(figure)


def _line(axes: Axes, results: Results, method: str) -> None:
    curve = results.curve(method)
    if not curve:
        return
    colour, style, width = _LINES[method]
    costs = [cost for cost, _ in curve]
    means = [100 * mean(scores) for _, scores in curve]
    axes.plot(costs, means, style, color=colour, linewidth=width, label=METHODS[method].title)
    spreads = [100 * stdev(scores) if len(scores) > 1 else 0.0 for _, scores in curve]
    if any(spreads):
        low, high = ([m + sign * s for m, s in zip(means, spreads, strict=True)] for sign in (-1, 1))
        axes.fill_between(costs, low, high, color=colour, alpha=0.10, linewidth=0)


def _marks(axes: Axes, results: Results, method: str) -> None:
    colour, marker = _MARKS[method]
    found = results.settings(method)
    costs, means = [cost for _, cost, _ in found], [100 * mean(scores) for _, _, scores in found]
    axes.scatter(costs, means, color=colour, marker=marker, s=45, zorder=3, label=METHODS[method].title)
