"""Quality against compute: one nested-width model with routing, against other ways to spend less per input.

Every method starts from the same encoder, sees the same samples for the same epochs in the same precision, and is
selected on dev; each setting that was selected is measured on test. docs/benchmarks.md says what the methods are and
how costs are counted.

    python benchmarks/curve.py --data sst2/ --max-train-samples 20000 --epochs 3 --seeds 0,1,2 --output sst2-curve

Without arguments: a small run of everything on the packaged demo data. What was trained is kept in the work folder and
not trained again: an interrupted run goes on with the same command, more seeds or methods reuse what is there, and a
finished one only writes its tables and its picture again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from transformers.utils import logging

from benchmarks.curves.bench import SMALL, Bench, Settings, add_arguments, settings_of, use_threads
from benchmarks.curves.methods import METHODS, Comparison
from benchmarks.curves.points import Point
from benchmarks.curves.tables import Results, as_csv, as_markdown, command, footer
from sharcs_edge.errors import MissingDependencyError, SharcsEdgeError
from sharcs_edge_runtime.tasks import METRICS


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--methods", default=",".join(METHODS), help=f"a list of {', '.join(METHODS)}")
    parser.add_argument("--easy-thresholds", default="0.6,0.8,0.95", help="of sharcs: one training for each")
    parser.add_argument("--label-window", type=int, help="of sharcs; default: 2, or 1 with a single epoch")
    parser.add_argument("--output", type=Path, metavar="PREFIX", help="writes PREFIX.csv, .md and .png")
    return parser


def compare(settings: Settings, args: argparse.Namespace, methods: list[str], seeds: list[int]) -> Results:
    """Trains what is missing and measures everything."""
    points: dict[str, list[list[Point]]] = {method: [] for method in methods}
    metric = None
    for seed in seeds:
        bench = Bench(settings, seed)
        metric = METRICS[bench.data.task][0]
        window = args.label_window or min(2, args.epochs)
        thresholds = tuple(float(part) for part in args.easy_thresholds.split(","))
        comparison = Comparison(bench, thresholds, window)
        for method in list(points):
            try:
                points[method].append(METHODS[method].points(comparison))
            except MissingDependencyError as error:
                print(f"left out: {METHODS[method].title}: {error}", file=sys.stderr)
                del points[method]
    assert metric is not None
    return Results(settings.data_name, metric, tuple(seeds), points)


def main() -> None:
    args = parser().parse_args(sys.argv[1:] or [*SMALL, "--easy-thresholds", "0.8"])
    use_threads(args.threads)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    methods = [method for method in METHODS if method in {*args.methods.split(","), "plain"}]
    if unknown := set(args.methods.split(",")) - set(METHODS):
        sys.exit(f"unknown method {', '.join(sorted(unknown))}; expected some of {', '.join(METHODS)}")
    try:
        settings = settings_of(args)
        results = compare(settings, args, methods, [int(seed) for seed in args.seeds.split(",")])
    except SharcsEdgeError as error:
        sys.exit(str(error))
    text = f"{as_markdown(results)}\n\n{footer(command(parser(), args), settings)}"
    print(text)
    if args.output:
        from benchmarks.curves.draw import draw

        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.with_name(f"{args.output.name}.csv").write_text(as_csv(results), encoding="utf-8")
        args.output.with_name(f"{args.output.name}.md").write_text(text, encoding="utf-8")
        draw(results, args.output.with_name(f"{args.output.name}.png"))


if __name__ == "__main__":
    main()
