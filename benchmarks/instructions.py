"""How many instructions does each graph take on the processors of the boards, and is that within the budget?

Emulated milliseconds say nothing about a board, but instructions repeat: within 0.2 % from run to run. So they are a
budget: benchmarks/emulated/budget.json says what each case may take, and another count, by more than 2 %, is a
regression, or progress that the budget has to follow. A budget holds for one version of an engine.

    python benchmarks/instructions.py                      count, compare; exit code 3 if a count is not the budget's
    python benchmarks/instructions.py --update             write the counts as the new budget
    python benchmarks/instructions.py --cpu cortex-a72     this processor alone

It needs Debian with qemu-user, mmdebstrap and gcc (tests/aarch64/userland.sh).
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from benchmarks.emulated.artifacts import LENGTHS, write_artifact, write_bundle
from benchmarks.emulated.counting import Count, build_plugin, count, qemu_version
from benchmarks.emulated.userland import CPUS, ROOT, Userland, open_userland
from sharcs_edge.errors import CheckFailed, SharcsEdgeError, UsageError
from sharcs_edge_runtime.artifact import write_file_atomically

TOLERANCE: Final = 0.02
BUDGET: Final = Path(__file__).parent / "emulated" / "budget.json"
_ENGINES: Final = {"onnx": "onnxruntime", "tflite": "ai-edge-litert"}
_REQUIREMENTS: Final = ROOT / "tests" / "aarch64" / "requirements.txt"


@dataclass(frozen=True)
class Case:
    """An artifact of `target` and `backend`, run on `cpu` by `engine` (its package and version)."""

    target: str
    backend: str
    cpu: str
    engine: str

    def __str__(self) -> str:
        return f"{self.target} ({self.backend}) on {self.cpu}, {self.engine}"


@dataclass(frozen=True)
class Row:
    """One graph at one number of tokens, against its budget."""

    graph: str
    instructions: int
    budget: int

    @property
    def change(self) -> float:
        """Share of the budget; above 0: more than it."""
        return self.instructions / self.budget - 1


def cases(cpus: Sequence[str] = CPUS) -> list[Case]:
    """Every board's artifact on its processor, and those for the Raspberry Pi 4 on the others too."""
    installed = dict(line.split("==") for line in _REQUIREMENTS.read_text().split() if "==" in line)
    engines = {backend: f"{package} {installed[package]}" for backend, package in _ENGINES.items()}
    wanted = [("rpi4", backend, cpu) for backend in _ENGINES for cpu in CPUS] + [("rpi5", "onnx", "cortex-a76")]
    return [Case(target, backend, cpu, engines[backend]) for target, backend, cpu in wanted if cpu in cpus]


def read_budget(path: Path, case: Case) -> Mapping[str, int]:
    """Instructions by graph and tokens. Raises UsageError where the file has none for this case."""
    found = [entry for entry in _entries(path) if entry["case"] == asdict(case)]
    if not found:
        raise UsageError(f"{path} has no budget for {case}: run `python benchmarks/instructions.py --update`")
    instructions: dict[str, int] = found[0]["instructions"]
    return instructions


def compare(counts: Mapping[str, Count], budget: Mapping[str, int], case: Case) -> list[Row]:
    """Counts beside their budget. Raises UsageError where these are of different graphs."""
    if counts.keys() != budget.keys():
        raise UsageError(
            f"the budget of {case} is for {', '.join(budget)}, and {', '.join(counts)} were counted: run "
            "`python benchmarks/instructions.py --update`"
        )
    return [Row(name, one.instructions, budget[name]) for name, one in counts.items()]


def check(rows: Sequence[Row], case: Case) -> None:
    """Raises CheckFailed, naming every graph that is further from its budget than the tolerance."""
    apart = [row for row in rows if abs(row.change) > TOLERANCE]
    if apart:
        said = ", ".join(f"{row.graph} tokens {row.change:+.1%}" for row in apart)
        raise CheckFailed(
            f"{case}: {said} against the budget ({TOLERANCE:.0%} allowed): find out why, or run "
            "`python benchmarks/instructions.py --update` if it is meant"
        )


def write_budget(path: Path, counted: Mapping[Case, Mapping[str, Count]]) -> None:
    """Replace the entries of the cases that were counted, and keep the others whose engine is still in use."""
    kept = [entry for entry in _entries(path) if Case(**entry["case"]) in set(cases()) - set(counted)]
    new = [
        {"case": asdict(case), "instructions": {name: one.instructions for name, one in counts.items()}}
        for case, counts in counted.items()
    ]
    tools = {name: version(name) for name in ("torch", "onnx", "onnxscript", "litert-torch", "ai-edge-quantizer")}
    document = {
        "made_with": {"qemu": qemu_version(), **tools},
        "budgets": sorted(kept + new, key=lambda entry: list(entry["case"].values())),
    }
    write_file_atomically(path, (json.dumps(document, indent=1) + "\n").encode())


def _entries(path: Path) -> list[dict[str, Any]]:
    try:
        entries: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["budgets"]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is no budget that this program wrote ({error}): restore it") from None
    return entries


def table(rows: Mapping[Case, Sequence[Row]]) -> str:
    """Markdown; a line per graph and length, in millions of instructions."""
    lines = ["| case | graph, tokens | million instructions | budget | change |", "|---|---|---:|---:|---:|"]
    for case, some in rows.items():
        for row in some:
            figures = f"{row.instructions / 1e6:.3f} | {row.budget / 1e6:.3f} | {row.change:+.2%}"
            lines.append(f"| {case} | {row.graph.replace(' ', ', ')} | {figures} |")
    return "\n".join(lines)


def _count_all(chosen: Sequence[Case], userland: Userland, work: Path) -> dict[Case, dict[str, Count]]:
    plugin = build_plugin(work)
    shutil.rmtree(work / "model", ignore_errors=True)
    bundle = write_bundle(work / "model" / "bundle")
    counted: dict[Case, dict[str, Count]] = {}
    for case in chosen:
        folder = work / "model" / f"{case.target}-{case.backend}"
        if not folder.exists():
            print(f"exporting {folder.name}", file=sys.stderr)
            write_artifact(bundle, folder, case.target, case.backend)
        print(f"counting {case}", file=sys.stderr)
        counted[case] = count(userland, plugin, case.cpu, folder, LENGTHS)
    return counted


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpu", choices=CPUS, action="append", help="default: all")
    parser.add_argument("--update", action="store_true", help="write the budget instead of comparing with it")
    parser.add_argument("--budget", type=Path, default=BUDGET, metavar="FILE")
    parser.add_argument("--userland", type=Path, default=ROOT / "build" / "aarch64", metavar="FOLDER")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "bench" / "instructions", metavar="FOLDER")
    return parser


def main() -> int:
    args = parser().parse_args()
    chosen = cases(args.cpu or CPUS)
    try:
        args.work.mkdir(parents=True, exist_ok=True)
        counted = _count_all(chosen, open_userland(args.userland), args.work)
        if args.update:
            write_budget(args.budget, counted)
        rows = {case: compare(counts, read_budget(args.budget, case), case) for case, counts in counted.items()}
        print(table(rows))
        for case, some in rows.items():
            check(some, case)
    except SharcsEdgeError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
