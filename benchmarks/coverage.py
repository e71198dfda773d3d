"""Does calibration keep its promise, what does the correction cost, and how many texts does each bound ask for?

Every width of an artifact answers every text once. These texts are then the whole population: calibration sets are
drawn from it, with replacement, and what a certified operating point really loses is known. "Broken" is the share of
calibration sets for which a certified point loses more than --max-drop; the promise is at most 1 - confidence. "Cost"
is the mean cost of the cheapest certified point, of the full width's multiply-accumulates; points are cheap in time
where the artifact has a `latency.json`.

    python benchmarks/coverage.py --artifact artifact/ --data test.jsonl --draws 200 --output sst2-coverage

Without arguments: a small artifact, made from the demo data, and few draws, to show that it works.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.curves.tables import command
from benchmarks.demo.artifact import demo_artifact
from sharcs_edge.assets import DEMO
from sharcs_edge.calibrate.case import Against, Case, Promise
from sharcs_edge.calibrate.certify import bound_of, run_trials
from sharcs_edge.calibrate.collect import collect
from sharcs_edge.calibrate.front import choose_front
from sharcs_edge.calibrate.risk import binomial, fixed_sequence, holm, p_value_of, samples_needed
from sharcs_edge.calibrate.run import prices_of
from sharcs_edge.cli.output import progress
from sharcs_edge.data import Columns, Split, read_examples
from sharcs_edge.latency import find_timing
from sharcs_edge.routing.policy import Policy, decide
from sharcs_edge_runtime.latency import LATENCY_NAME
from sharcs_edge_runtime.session import Session
from sharcs_edge_runtime.tasks import encode_labels

ROWS = {
    "fixed sequence (shipped)": "others",
    "Holm": "others",
    "no correction": "others",
    "no correction, cheapest alone": "the same",
}
"""Of each way to certify: which texts it tests on, those that did not choose or those that did."""
# Answers that are lost and won against the full width, per thousand.
RATES = ((0, 0), (2, 0), (2, 2), (5, 0), (5, 5), (10, 10), (20, 15), (20, 20))


@dataclass(frozen=True)
class Found:
    """Of one way to certify, over all draws: how often it broke the promise and certified anything, and its cost."""

    broken: float
    useful: float
    cost: float


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artifact", type=Path, help="to calibrate, again and again; nothing is written to it")
    parser.add_argument("--data", default=DEMO, help="labelled text: a file, or `demo`")
    parser.add_argument("--sizes", default="400,1000", help="of calibration sets")
    parser.add_argument("--max-drops", default="0.02,0.05")
    parser.add_argument("--confidence", type=float, default=0.95)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--candidates", type=int, default=500, help="policies to choose from; 12,000 are shipped")
    parser.add_argument("--work", type=Path, default=Path("build/bench/demo"), help="keeps the small artifact")
    parser.add_argument("--output", type=Path, metavar="PREFIX", help="writes PREFIX.md")
    return parser


class Population:
    """All texts, and what policies lose on them."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self._known: dict[Policy, tuple[float, float]] = {}

    def truth(self, policy: Policy) -> tuple[float, float]:
        """What it really loses, and costs of the full width's multiply-accumulates."""
        if policy not in self._known:
            cost = float(decide(self.case.signals, policy).costs.mean()) / self.case.signals.full_cost
            self._known[policy] = float(self.case.losses(policy).mean()), cost
        return self._known[policy]


def certified(case: Case, promise: Promise, candidates: int) -> Iterator[list[Policy]]:
    """What each of :data:`ROWS` certifies on one calibration set."""
    trials, _ = run_trials(case, promise, candidates)
    p_values = [one.p_value for one in trials]
    for passed in (
        fixed_sequence(p_values, promise.level),
        holm(p_values, promise.level),
        [value <= promise.level for value in p_values],
    ):
        yield [one.policy for one, good in zip(trials, passed, strict=True) if good]
    yield _cheapest_on_the_same(case, promise, candidates)


def _cheapest_on_the_same(case: Case, promise: Promise, candidates: int) -> list[Policy]:
    p_value = p_value_of(*bound_of(case.task, promise.against), promise.level)
    front = choose_front(
        case.signals, case.quality, np.zeros_like(case.agreement), priced=case.priced, candidates=candidates
    )
    passed = [policy for policy in front if p_value(case.losses(policy), promise.max_drop) <= promise.level]
    return passed[-1:]


def measured(population: Population, promise: Promise, size: int, draws: int, candidates: int) -> dict[str, Found]:
    """Every way to certify on the same calibration sets."""
    results: dict[str, list[tuple[bool, bool, float]]] = {name: [] for name in ROWS}
    with progress(f"{promise.against}, {promise.max_drop:g}, {size:,} texts") as advance:
        for seed in range(draws):
            rows = np.random.default_rng(seed).integers(0, len(population.case), size)
            found = certified(population.case.take(rows), promise, candidates)
            for name, policies in zip(ROWS, found, strict=True):
                truths = [population.truth(policy) for policy in policies]
                broken = any(drop > promise.max_drop for drop, _ in truths)
                results[name].append((broken, bool(policies), min((cost for _, cost in truths), default=1.0)))
            advance(seed + 1, draws)
    return {name: Found(*np.mean(rows, axis=0).tolist()) for name, rows in results.items()}


def coverage_table(
    populations: Mapping[Against, Population],
    max_drops: Sequence[float],
    sizes: Sequence[int],
    args: argparse.Namespace,
) -> str:
    lines = [
        "| against | max drop | texts | certified by | tested on | broken % | certified any % | cost % |",
        "|---|---:|---:|---|---|---:|---:|---:|",
    ]
    for against, population in populations.items():
        for max_drop in max_drops:
            for size in sizes:
                promise = Promise(max_drop, args.confidence, against)
                for name, found in measured(population, promise, size, args.draws, args.candidates).items():
                    figures = " | ".join(f"{100 * value:.1f}" for value in (found.broken, found.useful, found.cost))
                    lines.append(f"| {against} | {max_drop:g} | {size:,} | {name} | {ROWS[name]} | {figures} |")
    return "\n".join(lines)


def bounds_table(max_drops: Sequence[float], confidence: float) -> str:
    """Texts to test on, with which half of all draws would pass, by bound."""
    lines = [
        "| max drop | lost of 1,000 | won of 1,000 | binomial, of losses | Hoeffding-Bentkus | betting | paired |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    level = 1.0 - confidence
    for max_drop in max_drops:
        for lost, won in RATES:
            if lost - won >= 1000 * max_drop:
                continue
            losses = np.repeat([1.0, -1.0, 0.0], [lost, won, 1000 - lost - won])
            needed = [
                samples_needed(binomial, np.maximum(losses, 0.0), max_drop, level),
                *(
                    samples_needed(p_value_of(bound, -1.0, level), losses, max_drop, level)
                    for bound in ("hoeffding_bentkus", "betting", "paired_score")
                ),
            ]
            figures = " | ".join("-" if count is None else f"{count:,}" for count in needed)
            lines.append(f"| {max_drop:g} | {lost} | {won} | {figures} |")
    return "\n".join(lines)


def populations_of(artifact: Path, data: str) -> dict[Against, Population]:
    session = Session.load(artifact, calibrated=False)
    task = session.manifest.task
    split = Split.of(read_examples(data, Columns(), label_names=session.labels, task=task))
    with progress("texts") as advance:
        outputs = collect(session, [row.inputs for row in split], progress=advance)
    truth: NDArray[np.int64] = encode_labels(task, split.labels, session.labels)
    measured = (session.artifact.path / LATENCY_NAME).exists()
    latency = find_timing(session.artifact, None).latency if measured else None
    prices = None if latency is None else prices_of(session.manifest, outputs.tokens, latency)
    ways: tuple[Against, ...] = ("labels", "full")
    return {against: Population(Case.of(task, outputs, truth, against, prices)) for against in ways}


def main() -> None:
    args = parser().parse_args()
    max_drops = [float(part) for part in args.max_drops.split(",")]
    sizes = [int(part) for part in args.sizes.split(",")]
    populations = populations_of(args.artifact or demo_artifact(args.work), args.data)
    case = populations["labels"].case
    differ = ", ".join(f"{1 - share:.1%}" for share in case.agreement.mean(axis=1))
    chosen_by = "multiply-accumulates" if case.priced is case.signals else "time"
    if args.artifact is not None:
        args.artifact = Path(args.artifact.name)  # its folder is no part of the command to show
    text = (
        f"{coverage_table(populations, max_drops, sizes, args)}\n\n"
        f"Texts to test on, with which half of all draws would pass:\n\n{bounds_table(max_drops, args.confidence)}\n\n"
        f"Confidence {args.confidence:g}; {args.draws} calibration sets a row, drawn from {len(case):,} texts; of the "
        f"widths' answers {differ} differ from the full width's. Points are chosen by {chosen_by}, their cost is of "
        f"the full width's multiply-accumulates.\n\n`{command(parser(), args)}`\n"
    )
    print(text)
    if args.output is not None:
        args.output.with_suffix(".md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
