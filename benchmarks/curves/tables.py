"""The comparison as CSV and as Markdown."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from statistics import mean, stdev

from benchmarks.curves.bench import Settings
from benchmarks.curves.methods import METHODS
from benchmarks.curves.points import TABLE_BUDGETS, Point, cost_at, curve_on_test, select_all
from sharcs_edge_runtime.tasks import Metric

_NO_LIMIT = float("inf")
BUDGET_TITLES = tuple(str(Fraction(budget).limit_denominator(10)) for budget in TABLE_BUDGETS)
_COLUMNS = (*zip(TABLE_BUDGETS, BUDGET_TITLES, strict=True), (_NO_LIMIT, "no limit"))
_NOT_SHOWN = ("work", "output", "threads")


@dataclass(frozen=True)
class Results:
    """``points``: of every method, one list per seed; ``metric``: what scores are."""

    data: str
    metric: Metric
    seeds: tuple[int, ...]
    points: Mapping[str, Sequence[Sequence[Point]]]

    def selected(self, method: str) -> list[dict[float, Point]]:
        """Of every seed: budget -> the point selected on dev."""
        return [select_all(points) for points in self.points[method]]

    def curve(self, method: str) -> list[tuple[float, list[float]]]:
        """(mean cost, scores of all seeds) on test, by cost."""
        return curve_on_test(self.selected(method))

    def settings(self, method: str) -> list[tuple[str, float, list[float]]]:
        """(setting, mean cost, scores of all seeds) on test of settings that every seed has."""
        first, *others = ({point.setting: point for point in points} for points in self.points[method])
        shared = [name for name in first if all(name in other for other in others)]
        return [
            (
                name,
                mean(seed[name].test_macs for seed in (first, *others)),
                [seed[name].test_score for seed in (first, *others)],
            )
            for name in shared
        ]

    @property
    def full_score(self) -> float:
        """Plain fine-tuning's, mean over seeds."""
        return mean(self.settings("plain")[0][2])


def as_csv(results: Results) -> str:
    """The selected point of every method, seed and budget; costs are fractions of plain fine-tuning's."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["data", "metric", "method", "seed", "budget", "dev_score", "dev_macs", "test_score", "test_macs", "setting"]
    )
    for method in results.points:
        for seed, chosen in zip(results.seeds, results.selected(method), strict=True):
            for budget, point in chosen.items():
                numbers = (point.dev_score, point.dev_macs, point.test_score, point.test_macs)
                writer.writerow(
                    [results.data, results.metric.name, method, seed, f"{budget:.4f}"]
                    + [f"{number:.6f}" for number in numbers]
                    + [point.setting]
                )
    return text.getvalue()


def as_markdown(results: Results) -> str:
    """Scores within the budgets, what they cost on test, and settings without a choice."""
    unit = "%" if results.metric.is_share else "× 100"
    return "\n\n".join(
        [
            f"{results.metric.title} {unit} on test, the setting selected on dev within each budget of mean MACs per "
            "input (1: plain fine-tuning); and the MACs at which a method's mean curve first comes within 1.0 of plain "
            "fine-tuning, and reaches it.",
            _budget_table(results),
            "Mean MACs per input that the same settings took on test:",
            _cost_table(results),
            "One setting for all inputs:",
            _static_table(results),
        ]
    )


def _budget_table(results: Results) -> str:
    rows = []
    for method in results.points:
        selected, curve = results.selected(method), results.curve(method)
        cells = [spread([point.test_score for point in _at(selected, budget)]) for budget, _ in _COLUMNS]
        reached = [cost_at(curve, results.full_score - drop) for drop in (0.01, 0.0)]
        rows.append([METHODS[method].title, *cells, *("-" if cost is None else f"{cost:.2f}" for cost in reached)])
    return table(["method", *(title for _, title in _COLUMNS), "MACs at plain − 1.0", "MACs at plain"], rows)


def _cost_table(results: Results) -> str:
    rows = []
    for method in results.points:
        selected = results.selected(method)
        chosen = [_at(selected, budget) for budget, _ in _COLUMNS]
        costs = [f"{mean(point.test_macs for point in points):.3f}" if points else "-" for points in chosen]
        rows.append([METHODS[method].title, *costs])
    return table(["method", *(title for _, title in _COLUMNS)], rows)


def _static_table(results: Results) -> str:
    rows = [
        [METHODS[method].title, setting, f"{cost:.3f}", spread(scores)]
        for method in results.points
        if METHODS[method].drawn == "marks"
        for setting, cost, scores in results.settings(method)
    ]
    return table(["method", "setting", "MACs", "score"], rows, texts=2)


def _at(selected: Sequence[Mapping[float, Point]], budget: float) -> list[Point]:
    """Every seed's point, or none."""
    found = [seed[budget] for seed in selected if budget in seed]
    return found if len(found) == len(selected) else []


def command(parser: argparse.ArgumentParser, args: argparse.Namespace) -> str:
    """The command line, without what differs from one machine to another."""
    parts = [f"python benchmarks/{Path(parser.prog).name}"]
    for name, value in vars(args).items():
        if value != parser.get_default(name) and name not in _NOT_SHOWN:
            for one in value if isinstance(value, list) else [value]:
                shown = Path(one).name if name in ("data", "model") else str(one)
                parts.append(f"--{name.replace('_', '-')} " + (f'"{shown}"' if " " in shown or not shown else shown))
    return " ".join(parts)


def footer(command: str, settings: Settings) -> str:
    """What made a table: command, settings, versions and date."""
    plan, common = settings.plan, settings.common
    widths = ", ".join(f"{width:.3g}" for width in plan.widths)
    libraries = ", ".join(f"{name} {version(name)}" for name in ("sharcs-edge", "torch", "transformers"))
    return (
        f"`{command}`\n\nData: {settings.data_name}. Default recipe: {settings.ours.recipe}, widths {widths}, "
        f"{plan.width_dims}, trunk layers {plan.trunk_layers}. Of all methods: learning rate "
        f"{common.learning_rate:g}, batch {common.batch_size}, at most {common.max_length} tokens, {common.precision}. "
        f"{libraries}. {date.today().isoformat()}.\n"
    )


def spread(scores: Sequence[float]) -> str:
    """Mean ± standard deviation, times 100."""
    if not scores:
        return "-"
    text = f"{100 * mean(scores):.2f}"
    return f"{text} ± {100 * stdev(scores):.2f}" if len(scores) > 1 else text


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    rule = "|" + "---|" * texts + "---:|" * (len(heads) - texts)
    head, *body = ("| " + " | ".join(row) + " |" for row in (heads, *rows))
    return "\n".join([head, rule, *body])
