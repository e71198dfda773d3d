"""How much of the saving can an attacker take away, and what does a budget do about it?

Inputs are perturbed by word substitution until the wide width has to run (`benchmarks/attack/search.py`), against the
router and against the narrow tails' confidence at the artifact's default operating point; the answer of the full width
stays the same. Then streams of clean, randomly scrambled and attacked inputs run through the shipping runtime without a
budget and with one: the clean stream's own mean time. A saving is what is spared of the full width's compute on the
same inputs; "saving lost" says how much of the clean stream's saving is gone.

    python benchmarks/slowdown.py --artifact artifact/ --data test.jsonl --texts 200

The artifact must be calibrated (`sharcs-edge calibrate`). Without arguments: a small one, made from the demo data.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from benchmarks.attack.search import Attack, Attacked, Effort, Vocabulary
from benchmarks.attack.streams import Row, Stream, as_markdown, run_streams, usual_ms
from sharcs_edge.assets import DEMO
from sharcs_edge.data import Columns, Split, read_examples
from sharcs_edge.errors import SharcsEdgeError, UsageError
from sharcs_edge_runtime.operating_points import OperatingPoint
from sharcs_edge_runtime.session import Session
from sharcs_edge_runtime.tasks import Label
from sharcs_edge_runtime.tokenization import Text

_WARM_UP = 200  # inputs behind the budget's target


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artifact", type=Path, help="with operating points")
    parser.add_argument("--data", default=DEMO, help="labelled text: a file, or `demo`")
    parser.add_argument("--texts", type=int, default=24, help="how many to attack, drawn evenly from the data")
    parser.add_argument("--inputs", type=int, default=1000, help="length of each stream")
    parser.add_argument("--mean-ms", type=float, help="of the budget; default: the clean stream's own mean time")
    parser.add_argument("--most-changed", type=float, default=Effort.most_changed, help="share of an input's words")
    parser.add_argument("--candidates", type=int, default=Effort.candidates, help="words tried for each of them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("build/bench/demo"), help="keeps the small artifact")
    parser.add_argument("--output", type=Path, metavar="PREFIX", help="writes PREFIX.md and PREFIX.json")
    return parser


def target_of(session: Session) -> OperatingPoint:
    """The point that runs by default; UsageError for an artifact that cannot be attacked."""
    if session.points is None:
        raise UsageError(
            f"{session.artifact.path} has no operating points to attack; run `sharcs-edge calibrate` on it"
        )
    if session.manifest.task == "regression":
        raise UsageError("a regression has no label that an attack could keep; give a classifier")
    return session.points.points[session.points.default]


def attack(
    session: Session, texts: Sequence[Text], effort: Effort, count: int
) -> tuple[list[Attacked], list[Text], list[int]]:
    """The attacked inputs, the scrambled ones, and where in the data they came from."""
    attacker = Attack(session, target_of(session), Vocabulary(session, texts), effort)
    count = min(count, len(texts))
    chosen = [number * len(texts) // count for number in range(count)]
    found, scrambled = [], []
    for number, place in enumerate(chosen):
        found.append(attacker.run(texts[place], number))
        scrambled.append(attacker.scramble(texts[place], found[-1].changed, number))
        if sys.stderr.isatty():
            print(f"\r{number + 1} of {len(chosen)} texts attacked", end="", file=sys.stderr)
    return found, scrambled, chosen


def describe(found: Sequence[Attacked], effort: Effort) -> str:
    changed = sum(one.changed for one in found) / sum(one.words for one in found)
    return (
        f"{len(found)} texts attacked: {fmean(one.reached for one in found):.0%} have to run the widest width, "
        f"{changed:.1%} of their words replaced (at most {effort.most_changed:.0%} allowed), "
        f"{fmean(one.queries for one in found):.0f} queries a text, the full width's label kept for all"
    )


def compare(artifact: Path, texts: dict[str, list[Text]], labels: list[Label], args: argparse.Namespace) -> list[Row]:
    """Every stream without a budget and with one."""
    streams = [Stream(artifact, name, some, labels) for name, some in texts.items()]
    target = args.mean_ms or usual_ms(streams[0], texts["clean"], _WARM_UP)
    return run_streams(streams, args.inputs, target)


def main() -> None:
    args = parser().parse_args()
    effort = Effort(args.most_changed, args.candidates, args.seed)
    try:
        if args.artifact is None:
            from benchmarks.demo.artifact import demo_artifact

            args.artifact = demo_artifact(args.work)
        session = Session.load(args.artifact)
        target_of(session)
        names, task = session.labels, session.manifest.task
        split = Split.of(read_examples(args.data, Columns(), label_names=names, task=task))
        texts = [example.inputs for example in split]
        found, scrambled, chosen = attack(session, texts, effort, args.texts)
        streams = {
            "clean": [texts[place] for place in chosen],
            "scrambled": scrambled,
            "one in ten attacked": [
                found[number].text if number % 10 == 0 else texts[place] for number, place in enumerate(chosen)
            ],
            "attacked": [one.text for one in found],
        }
        rows = compare(args.artifact, streams, [split.labels[place] for place in chosen], args)
    except SharcsEdgeError as error:
        sys.exit(str(error))
    text = f"{as_markdown(rows, rows[0])}\n\n{describe(found, effort)}; {Path(args.data).name}, seed {args.seed}\n"
    print(text)
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.with_name(f"{args.output.name}.md").write_text(text, encoding="utf-8")
        record = {"rows": [vars(row) for row in rows], "attacked": [vars(one) for one in found]}
        args.output.with_name(f"{args.output.name}.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
