"""Head to head: the same fine-tuned encoder in int8 on other engines, and ours, on the same texts and this machine.

Every engine gets the weights of one plain fine-tuned model, converted as its makers recommend for CPUs, in an
environment and a process of its own; ours runs that model too, and the nested-width model with its routing. A text goes
in, tokenization included, and a label comes out, one text at a time, no padding but what an engine asks for. Engines
take turns on blocks of texts; each text's time is the median over rounds, or the best one for texts of a fixed length,
which show what an engine can do; beside it is processor time, of which other programs take nothing. Labels are compared
with torch's in float32. Starts are those of fresh processes whose files are in the page cache: import of the engine,
load, first answer. The floor is the arithmetic alone, at the rate of a large int8 (linears) and float32 (attention)
matrix product.

    python benchmarks/engines.py --data sst2/ --plain plain-bundle/ --ours bundle/ --output sst2-engines

Without arguments: small models, trained on the demo data. Environments and converted models are kept in the work
folder; `--prepare` makes them and stops, so that the measurement can run while the machine does nothing else. An engine
that cannot be installed, converted or run is a row that says why.
"""

from __future__ import annotations

import argparse
import sys
from datetime import date
from pathlib import Path

from benchmarks.curves.tables import command
from benchmarks.demo.artifact import demo_bundle
from benchmarks.peers.case import Case, make_case
from benchmarks.peers.contenders import CONTENDERS, REFERENCE, Contender
from benchmarks.peers.floor import measure_floor
from benchmarks.peers.measure import Settings, measure
from benchmarks.peers.processes import EngineError
from benchmarks.peers.tables import as_csv, as_markdown
from sharcs_edge.assets import DEMO
from sharcs_edge.calibrate.case import Promise
from sharcs_edge.cli.libraries import quiet_libraries
from sharcs_edge.errors import SharcsEdgeError, UsageError
from sharcs_edge_runtime.fingerprint import read_device

_SMALL = ("--texts", "60", "--rounds", "2", "--starts", "1", "--lengths", "16,64")


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=DEMO, help="what both bundles were trained on: its dev and test are used")
    parser.add_argument("--plain", type=Path, metavar="BUNDLE", help="trained with --widths 1: what all engines run")
    parser.add_argument("--ours", type=Path, metavar="BUNDLE", help="trained with several widths")
    parser.add_argument("--engines", default=",".join(CONTENDERS), help="some of: %(default)s")
    parser.add_argument("--target", default="x86-64-vnni", help="the device profile of ours (default: %(default)s)")
    parser.add_argument("--max-drop", type=float, default=0.01, help="what routing may lose (default: %(default)s)")
    parser.add_argument(
        "--confidence", type=float, default=0.95, help="that it loses no more; 0.5: as likely as not (%(default)s)"
    )
    parser.add_argument("--threads", default="1,2", help="a list (default: %(default)s)")
    parser.add_argument("--texts", type=int, default=600, help="drawn evenly from test (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="over all texts (default: %(default)s)")
    parser.add_argument("--starts", type=int, default=3, help="fresh processes (default: %(default)s)")
    parser.add_argument("--lengths", default="16,32,64,128", help="tokens of further inputs (default: %(default)s)")
    parser.add_argument("--prepare", action="store_true", help="make environments and models, and stop")
    parser.add_argument("--work", type=Path, default=Path("build/bench/engines"), help="keeps them")
    parser.add_argument("--output", type=Path, metavar="PREFIX", help="writes PREFIX.csv and PREFIX.md")
    return parser


def prepare(case: Case, names: list[str], work: Path) -> dict[str, Contender | EngineError]:
    """Environments and models; of what fails, the reason."""
    prepared: dict[str, Contender | EngineError] = {}
    for name in names:
        try:
            prepared[name] = CONTENDERS[name].prepare(name, case, work)
        except EngineError as error:
            print(f"{CONTENDERS[name].title}: {error}", file=sys.stderr)
            prepared[name] = error
    return prepared


def case_of(args: argparse.Namespace) -> Case:
    """Raises UsageError unless both bundles are given, or neither for the demo's."""
    if (args.plain is None) != (args.ours is None) or (args.plain is None and args.data != DEMO):
        raise UsageError("--data, --plain and --ours belong together; give all three, or none for a small demo")
    demo = Path("build/bench/demo")
    plain = args.plain or demo_bundle(demo, "plain", "--widths", "1")
    promise = Promise(args.max_drop, args.confidence)
    return make_case(args.data, plain, args.ours or demo_bundle(demo), args.work, args.texts, args.target, promise)


def footer(args: argparse.Namespace) -> str:
    """What made the tables: command, settings, machine and date."""
    device = read_device()
    names = {name: value and Path(value.name) for name, value in (("plain", args.plain), ("ours", args.ours))}
    shown = argparse.Namespace(**{**vars(args), **names})
    cpus = ", ".join(f"{part['count']} cores of {part['part']}" for part in device["cpu"])
    return (
        f"`{command(parser(), shown)}`\n\nData: {Path(args.data).name}, {args.texts} texts of test, {args.rounds} "
        f"rounds, {args.starts} starts, target {args.target}, certified to lose at most {args.max_drop:g} "
        f"with a confidence of {args.confidence:g}. {cpus} "
        f"({', '.join(device['features'])}), {device['os']}. {date.today().isoformat()}.\n"
    )


def main() -> None:
    args = parser().parse_args(sys.argv[1:] or _SMALL)
    quiet_libraries()
    names = [name for name in CONTENDERS if name in {*args.engines.split(","), REFERENCE}]
    if unknown := set(args.engines.split(",")) - set(CONTENDERS):
        sys.exit(f"unknown engine {', '.join(sorted(unknown))}; expected some of {', '.join(CONTENDERS)}")
    try:
        case = case_of(args)
        prepared = prepare(case, names, args.work)
        if args.prepare:
            return
        lengths = tuple(int(part) for part in args.lengths.split(",") if part)
        rows, floors = [], {}
        for threads in (int(part) for part in args.threads.split(",")):
            floors[threads] = measure_floor(threads)
            rows += measure(case, prepared, Settings(threads, args.rounds, args.starts, lengths))
    except SharcsEdgeError as error:
        sys.exit(str(error))
    ready = {name: one for name, one in prepared.items() if isinstance(one, Contender)}
    text = f"{as_markdown(rows, ready, floors)}\n\n{footer(args)}"
    print(text)
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.with_name(f"{args.output.name}.csv").write_text(as_csv(rows), encoding="utf-8")
        args.output.with_name(f"{args.output.name}.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
