"""Is a mean-latency budget held on a real machine that changes under it?

Four scenarios on one core, through the shipping runtime: a stationary stream; a stream that turns hard (the texts that
the narrowest width is least sure of); a processor quota that drops to 20 % and returns; another busy process on the
same core. Each phase is a thousand predictions under one budget, a mean and a deadline. The target lies between the
times of the cheapest and of the dearest operating point, measured first, in turns.

"floor": mean time of the inputs that ran at the cheapest point in that phase; a target below it cannot be held, and the
predictions say so ("said": share with `budget_met` false). "swings": how often the share of the full width, over 400
inputs, turned around by more than 10 points. "late": inputs past their deadline, and those of them that a narrower tail
than the one that ran might have saved.

    python benchmarks/control.py --artifact artifact/ --data test.jsonl

The artifact must be calibrated (`sharcs-edge calibrate`). Without arguments: a small one, made from the demo data.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

from benchmarks.pressure.machine import hog, one_core, quota
from benchmarks.pressure.turns import turns
from sharcs_edge.assets import DEMO
from sharcs_edge.data import Columns, Split, read_examples
from sharcs_edge.errors import SharcsEdgeError, UsageError
from sharcs_edge_runtime.budget import Budget
from sharcs_edge_runtime.session import Session
from sharcs_edge_runtime.tokenization import Text

QUOTA = 0.2
WINDOW, STEP, SWING = 400, 25, 0.1
MEASURED = 150  # inputs at the cheapest and at the dearest point, for the target

Pressure = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True)
class Row:
    """What one phase of a scenario came to; times in ms, shares of the inputs."""

    scenario: str
    phase: str
    inputs: int
    target_ms: float
    mean_ms: float
    floor_ms: float | None
    shares: tuple[float, ...]
    said: float
    swings: int
    late: int
    avoidable: int

    @property
    def error(self) -> float:
        """Of the mean, as a share of the target."""
        return self.mean_ms / self.target_ms - 1

    @property
    def feasible(self) -> bool:
        return self.floor_ms is None or self.floor_ms <= self.target_ms


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artifact", type=Path, help="with operating points")
    parser.add_argument("--data", default=DEMO, help="labelled text: a file, or `demo`")
    parser.add_argument("--inputs", type=int, default=1000, help="of each phase")
    parser.add_argument("--mean-ms", type=float, help="the target; default: by --place")
    parser.add_argument(
        "--place", type=float, default=0.4, help="of the target, from the cheapest (0) to the dearest (1)"
    )
    parser.add_argument("--deadline", type=float, default=4.0, help="in mean times of the dearest point")
    parser.add_argument("--scenario", choices=("stationary", "hard", "quota", "hog"), help="this one alone")
    parser.add_argument("--work", type=Path, default=Path("build/bench/demo"), help="keeps the small artifact")
    parser.add_argument("--output", type=Path, metavar="PREFIX", help="writes PREFIX.md and PREFIX.json")
    return parser


def cost_of_ends(artifact: Path, texts: Sequence[Text]) -> tuple[float, float]:
    """Mean ms of the cheapest and of the dearest operating point, measured in turns on the same texts."""
    ends = [Session.load(artifact, budget=Budget(mean_ms=mean)) for mean in (1e-6, 1e9)]
    for session, text in itertools.product(ends, texts[:80]):  # until they are at their ends
        session.predict(text)
    times: tuple[list[float], list[float]] = ([], [])
    for text in itertools.islice(itertools.cycle(texts), MEASURED):
        for session, column in zip(ends, times, strict=True):
            column.append(session.predict(text).milliseconds)
    return fmean(times[0]), fmean(times[1])


def hardest(session: Session, texts: Sequence[Text]) -> list[Text]:
    """The half of the texts of which the narrowest width is least sure."""
    narrowest = Budget(width=session.widths[0])
    sure = [session.predict(text, budget=narrowest).confidence or 0.0 for text in texts]
    return [texts[place] for place in sorted(range(len(texts)), key=sure.__getitem__)[: -(-len(texts) // 2)]]


def run_phase(
    session: Session, scenario: str, phase: str, texts: Iterator[Text], inputs: int, pressure: Pressure
) -> Row:
    """Predict `inputs` texts under the session's budget while the pressure is on."""
    with pressure():
        answers = [session.predict(text) for text in itertools.islice(texts, inputs)]
    target, deadline = session.budget.mean_ms or 0.0, session.budget.deadline_ms or 0.0
    floor = [answer.milliseconds for answer in answers if answer.point == 0]
    late = [answer for answer in answers if answer.milliseconds > deadline]
    return Row(
        scenario=scenario,
        phase=phase,
        inputs=len(answers),
        target_ms=target,
        mean_ms=fmean(answer.milliseconds for answer in answers),
        floor_ms=fmean(floor) if len(floor) >= 20 else None,
        shares=tuple(sum(answer.width == width for answer in answers) / len(answers) for width in session.widths),
        said=sum(answer.budget_met is False and answer not in late for answer in answers) / len(answers),
        swings=swings([answer.width == session.widths[-1] for answer in answers]),
        late=len(late),
        avoidable=sum(answer.ran != session.widths[:1] for answer in late),
    )


def swings(full: Sequence[bool]) -> int:
    """How often the share of inputs at the full width, over `WINDOW` of them, turned around by more than `SWING`."""
    starts = range(0, len(full) - WINDOW + 1, STEP)
    return turns((sum(full[start : start + WINDOW]) / WINDOW for start in starts), SWING)


def run(artifact: Path, texts: Sequence[Text], budget: Budget, args: argparse.Namespace, core: int) -> list[Row]:
    """Every scenario with a session of its own, so that each begins with an empty account."""
    usual, hard = itertools.cycle(texts), itertools.cycle(hardest(Session.load(artifact), texts))
    scenarios: dict[str, list[tuple[str, Iterator[Text], Pressure]]] = {
        "stationary": [("", usual, nullcontext)],
        "hard": [("usual texts", usual, nullcontext), ("hard texts", hard, nullcontext)],
        "quota": [
            ("100 %", usual, nullcontext),
            (f"{QUOTA:.0%}", usual, lambda: quota(QUOTA)),
            ("100 % again", usual, nullcontext),
        ],
        "hog": [
            ("alone", usual, nullcontext),
            ("busy neighbour", usual, lambda: hog(core)),
            ("alone again", usual, nullcontext),
        ],
    }
    rows = []
    for name, phases in scenarios.items():
        if args.scenario not in (None, name):
            continue
        session = Session.load(artifact, budget=budget)
        for phase, stream, pressure in phases:
            rows.append(run_phase(session, name, phase, stream, args.inputs, pressure))
            print(f"{name}, {phase or 'all'}: {rows[-1].error:+.1%}", file=sys.stderr, flush=True)
    return rows


def as_markdown(rows: Sequence[Row], widths: Sequence[float]) -> str:
    lines = [
        "| scenario | phase | mean ms | error | floor ms | said | swings | late (avoidable) | "
        + " | ".join(f"w={width:.3g}" for width in widths)
        + " |",
        "|---|---|---|---|---|---|---|---|" + "---|" * len(widths),
    ]
    for row in rows:
        error = f"{row.error:+.1%}" if row.feasible else f"cannot be held ({row.error:+.0%})"
        floor = "-" if row.floor_ms is None else f"{row.floor_ms:.2f}"
        shares = " | ".join(f"{share:.0%}" for share in row.shares)
        lines.append(
            f"| {row.scenario} | {row.phase} | {row.mean_ms:.2f} | {error} | {floor} | {row.said:.0%} | {row.swings} | "
            f"{row.late} ({row.avoidable}) | {shares} |"
        )
    return "\n".join(lines)


def main() -> None:
    args = parser().parse_args()
    try:
        if args.artifact is None:
            from benchmarks.demo.artifact import demo_artifact

            args.artifact = demo_artifact(args.work)
        session = Session.load(args.artifact)
        if session.points is None:
            raise UsageError(f"{args.artifact} has no operating points; run `sharcs-edge calibrate` on it")
        names, task = session.labels, session.manifest.task
        split = Split.of(read_examples(args.data, Columns(), label_names=names, task=task))
        texts = [example.inputs for example in split]
        with one_core() as core:
            cheap, dear = cost_of_ends(args.artifact, texts)
            target = args.mean_ms or cheap + args.place * (dear - cheap)
            budget = Budget(mean_ms=target, deadline_ms=args.deadline * dear)
            rows = run(args.artifact, texts, budget, args, core)
            with quota(QUOTA) as means:
                pass
    except SharcsEdgeError as error:
        sys.exit(str(error))
    text = (
        f"{as_markdown(rows, session.widths)}\n\n"
        f"target {target:.2f} ms (cheapest point {cheap:.2f}, dearest {dear:.2f}), "
        f"deadline {budget.deadline_ms:.1f} ms, {args.inputs} inputs a phase; {Path(args.data).name}; "
        f"quota by {means.split(' /')[0]}\n"
    )
    print(text)
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.with_name(f"{args.output.name}.md").write_text(text, encoding="utf-8")
        record = {"cheapest_ms": cheap, "dearest_ms": dear, "quota": means, "rows": [asdict(row) for row in rows]}
        args.output.with_name(f"{args.output.name}.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
