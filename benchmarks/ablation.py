"""What every part of the default recipe is worth: one row per switch, everything else as it is.

Measured on dev, which also chooses: the policies of a budget are chosen on one half of it and scored on the other, and
the other way round, so that a row does not gain from having more to choose from.

    python benchmarks/ablation.py --data sst2/ --max-train-samples 20000 --epochs 3 --seeds 0,1,2 --output sst2-ablation

Without arguments: a small run on the packaged demo data. What was trained is kept and not trained again; the row of the
default recipe and benchmarks/curve.py share their models.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers.utils import logging

from benchmarks.curves.bench import (
    PLAIN,
    PLAIN_OPTIONS,
    SMALL,
    Bench,
    add_arguments,
    settings_of,
    use_threads,
)
from benchmarks.curves.points import TABLE_BUDGETS, at_policy, at_width, take
from benchmarks.curves.tables import BUDGET_TITLES, command, footer, spread, table
from sharcs_edge.errors import SharcsEdgeError
from sharcs_edge.train.escalation import best_policies, confidences
from sharcs_edge.train.metrics import SplitOutputs
from sharcs_edge.train.settings import changed
from sharcs_edge_runtime.tasks import METRICS

SWITCHES = (
    "",
    "importance=none",
    "narrow_head=shared",
    "own_layers=0.1",
    "sandwich=turn",
    "narrow_dropout=true",
    "widths=1/12,1",
    "widths=1/4,1",
    "widths=1/12,1/4,1/2,1",
    "trunk_layers=1",
    "trunk_layers=2",
    "width_shape=rising",
    "width_shape=short widths=1/6,1/2,1",
    "width_dims=all",
    "width_dims=all importance=units",
    "width_dims=all input_reduction=learned",
    "token_keep=0.8",
    "imitation=0",
    "imitation=1",
    "hidden_weight=1",
    "hardness=confidence",
    "hardness=entropy",
    "hardness_decay=0",
)
"""Changes of the default recipe, in the form that ``--ours`` takes."""


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument(
        "--switch", action="append", metavar="SETTINGS", help='a row such as "trunk_layers=0"; default: all of them'
    )
    parser.add_argument("--output", type=Path, metavar="PREFIX", help="writes PREFIX.md")
    return parser


def crossed(outputs: SplitOutputs, budgets: Sequence[float], seed: int) -> list[float | None]:
    """The score within each budget of mean multiply-accumulates: each half of the samples under the policy that is best
    on the other half; None where a half has no policy within it."""
    order = np.random.default_rng(seed).permutation(len(outputs.labels))
    first, second = (take(outputs, np.sort(order[start::2])) for start in (0, 1))
    scores: list[list[float]] = [[] for _ in budgets]
    for chosen_on, scored_on in ((first, second), (second, first)):
        for found, policy in zip(scores, best_policies(chosen_on, budgets), strict=True):
            if policy is not None:
                found.append(at_policy(scored_on, policy)[0])
    return [mean(found) if len(found) == 2 else None for found in scores]


def roc_area(scores: NDArray[np.floating[Any]], holds: NDArray[np.bool_]) -> float | None:
    """How often a sample for which something holds scores higher than one for which it does not, ties counted half;
    None where it holds for all or for none."""
    if holds.all() or not holds.any():
        return None
    ordered = np.sort(scores[~holds])
    below, not_above = (np.searchsorted(ordered, scores[holds], side) for side in ("left", "right"))
    return float((below + not_above).mean() / 2 / len(ordered))


@dataclass(frozen=True)
class Measured:
    """One seed of a row: the score of every width; within every budget; and how well the router's margin and the
    narrowest answer's doubt find the samples where the full width is better than the narrowest."""

    by_width: list[float]
    within: list[float | None]
    router: float | None
    doubt: float | None


def measured(bench: Bench, switch: str) -> Measured:
    plan, options = changed(bench.plan, bench.ours, switch.split())
    outputs = bench.nested("ours", plan, options)["dev"]
    plain = bench.nested("plain", PLAIN, bench.common, reads=PLAIN_OPTIONS)["dev"]
    budgets = [budget * float(plain.macs.mean()) for budget in TABLE_BUDGETS]
    hard = outputs.quality[-1] > outputs.quality[0]
    confidence, own = confidences(outputs)
    return Measured(
        [at_width(outputs, width)[0] for width in range(len(plan.widths))],
        crossed(outputs, budgets, bench.seed),
        roc_area(outputs.router_logits[:, -1] - outputs.router_logits[:, 0], hard),
        roc_area(-confidence[0], hard) if own else None,
    )


def row(benches: Sequence[Bench], switch: str) -> list[str]:
    """One line of the table, over all seeds."""
    results = [measured(bench, switch) for bench in benches]
    widths = changed(benches[0].plan, benches[0].ours, switch.split())[0].widths
    by_width = [mean(scores) for scores in zip(*(one.by_width for one in results), strict=True)]
    shown = ", ".join(f"{width:.3g}: {100 * score:.2f}" for width, score in zip(widths, by_width, strict=True))
    areas = (_mean([one.router for one in results]), _mean([one.doubt for one in results]))
    within = [
        spread([score for score in scores if score is not None]) if None not in scores else "-"
        for scores in zip(*(one.within for one in results), strict=True)
    ]
    return [f"`{switch}`" if switch else "default recipe", shown, *areas, *within]


def _mean(areas: Sequence[float | None]) -> str:
    known = [area for area in areas if area is not None]
    return f"{mean(known):.2f}" if known else "-"


def main() -> None:
    args = parser().parse_args(sys.argv[1:] or [*SMALL, "--switch", "", "--switch", "trunk_layers=1"])
    use_threads(args.threads)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        settings = settings_of(args)
        benches = [Bench(settings, int(seed), ("dev",)) for seed in args.seeds.split(",")]
        rows = [row(benches, switch) for switch in args.switch or SWITCHES]
    except SharcsEdgeError as error:
        sys.exit(str(error))
    metric = METRICS[benches[0].data.task][0]
    unit = "%" if metric.is_share else "× 100"
    heading = (
        f"{metric.title} {unit} on dev: of every width alone, and of the routing within budgets of mean MACs per input "
        "(1: plain fine-tuning), chosen on one half of dev and scored on the other. Router, doubt: the ROC area with "
        "which the router, or the narrowest answer's lack of confidence, finds the samples where the full width is "
        "better than the narrowest (0.5: chance)."
    )
    lines = table(["changed", "widths", "router", "doubt", *BUDGET_TITLES], rows, texts=2)
    text = f"{heading}\n\n{lines}\n\n{footer(command(parser(), args), settings)}"
    print(text)
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.with_name(f"{args.output.name}.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
