"""Instructions of every graph of an artifact on an emulated processor, counted by a plugin of QEMU."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low
from typing import Final

from benchmarks.emulated.userland import NoUserland, Userland
from sharcs_edge.errors import SharcsEdgeError

_HERE: Final = Path(__file__).parent
_TURNS: Final = 3
_NEWEST_QEMU: Final = (8, 2)  # from which on the plugin's interface is another one


@dataclass(frozen=True)
class Count:
    """What one run of a graph took, the runtime's own part included.

    `extensions`: instructions that need the dot product or the int8 matrix extension. `products`: of integers.
    """

    instructions: int
    extensions: int
    products: int


def build_plugin(folder: Path) -> Path:
    """Compile count_instructions.c. Raises NoUserland without a C compiler, or for a QEMU that it does not fit."""
    version = qemu_version()
    if tuple(map(int, version.split(".")[:2])) >= _NEWEST_QEMU:
        raise NoUserland(f"instructions are counted with QEMU 7.2, as Debian 12 has it, and this is {version}")
    plugin = folder / "count_instructions.so"
    options = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-fvisibility=hidden"]
    try:
        built = subprocess.run(
            ["cc", *options, str(_HERE / "count_instructions.c"), "-o", str(plugin)], capture_output=True, text=True
        )
    except OSError:
        raise NoUserland("there is no C compiler to build the counting plugin with: apt install gcc") from None
    if built.returncode:
        raise SharcsEdgeError(f"count_instructions.c does not compile: {built.stderr.strip()}")
    return plugin


def qemu_version() -> str:
    """Such as 7.2.22. Raises NoUserland without qemu-aarch64."""
    try:
        said = subprocess.run(["qemu-aarch64", "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        raise NoUserland("qemu-aarch64 is missing: apt install qemu-user") from None
    found = re.search(r"version (\d+\.\d+(?:\.\d+)?)", said)
    if found is None:
        raise SharcsEdgeError(f"qemu-aarch64 --version says {said.strip()!r}, which names no version")
    return found[1]


def count(userland: Userland, plugin: Path, cpu: str, artifact: Path, lengths: tuple[int, ...]) -> dict[str, Count]:
    """By graph and tokens, such as ``tail_w050 16``: the middle one of three turns, less what marking takes.

    Raises SharcsEdgeError if the artifact does not run on this processor.
    """
    with tempfile.TemporaryDirectory() as folder:
        marks = Path(folder) / "marks"
        ended = userland.run(
            cpu,
            _HERE / "on_device.py",
            artifact.resolve(),
            ",".join(map(str, lengths)),
            str(_TURNS),
            plugin=f"{plugin},out={marks}",
            environment={"XDG_CACHE_HOME": folder},  # no weights that another run has packed
        )
        if ended.returncode:
            said = ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"]
            raise SharcsEdgeError(f"{artifact.name} does not run on {cpu}: {said[-1]}")
        names: list[str] = json.loads(ended.stdout)
        return _read(names, marks.read_text(encoding="ascii"))


def _read(names: list[str], marks: str) -> dict[str, Count]:
    turns: dict[str, list[tuple[int, ...]]] = {name: [] for name in names}
    lines = [tuple(map(int, line.split())) for line in marks.splitlines()]
    for (tag, *before), (end, *after) in zip(lines[::2], lines[1::2], strict=True):
        assert tag and not end
        turns[names[tag - 1]].append(tuple(b - a for a, b in zip(before, after, strict=True)))
    middle = {name: [median_low(column) for column in zip(*seen, strict=True)] for name, seen in turns.items()}
    nothing = middle.pop("nothing")
    return {name: Count(*(a - b for a, b in zip(counts, nothing, strict=True))) for name, counts in middle.items()}
