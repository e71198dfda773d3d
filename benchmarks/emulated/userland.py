"""An emulated 64-bit ARM device: the userland of tests/aarch64, the runtime's wheel in it, programs run on one CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sharcs_edge.errors import SharcsEdgeError

ROOT: Final = Path(__file__).parents[2]
CPUS: Final = ("cortex-a53", "cortex-a72", "cortex-a76")
_SCRIPTS: Final = ROOT / "tests" / "aarch64"
_NOT_HERE: Final = 77


class NoUserland(SharcsEdgeError):
    """This machine lacks what emulation takes; the message says what."""


class Userland:
    """What `open_userland` made ready; programs find the runtime's wheel first, then the userland's packages."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.folder = folder
        self._wheel = wheel

    def run(
        self,
        cpu: str,
        *arguments: str | Path,
        plugin: str | None = None,
        packages: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run the userland's Python on one of `CPUS`; a negative `returncode` is the signal that ended it.

        `packages`: a folder of some that come before the userland's own.
        """
        path = os.pathsep.join(str(each) for each in (self._wheel, packages) if each is not None)
        given = {**os.environ, **(environment or {}), "PYTHONPATH": path, "PYTHONHASHSEED": "0"}
        given |= {"OMP_NUM_THREADS": "1", "SHARCS_AARCH64": str(self.folder)}
        given |= {"QEMU_PLUGIN": plugin} if plugin is not None else {}
        command = [str(_SCRIPTS / "run.sh"), cpu, "python3", *map(str, arguments)]
        return subprocess.run(command, env=given, capture_output=True, text=True, timeout=600)


def open_userland(folder: Path) -> Userland:
    """Make the userland in `folder` unless it is there, build the runtime's wheel and unpack it beside the userland.

    Raises NoUserland where this machine cannot, and SharcsEdgeError where something fails that should not.
    """
    made = subprocess.run(
        [str(_SCRIPTS / "userland.sh"), str(folder)],
        env={**os.environ, "PYTHON": sys.executable},
        stderr=subprocess.PIPE,
        text=True,
    )
    if made.returncode:
        said = made.stderr.strip().splitlines() or ["no reason given"]
        kind = NoUserland if made.returncode == _NOT_HERE else SharcsEdgeError
        raise kind(said[-1])
    return Userland(folder, _runtime_wheel(folder))


def _runtime_wheel(folder: Path) -> Path:
    """The wheel as a user installs it; Python imports from the file itself."""
    target = folder / "wheel"
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    build += ["--no-build-isolation", "--wheel-dir", str(target), str(ROOT / "runtime" / "python")]
    for old in target.glob("*.whl"):
        old.unlink()
    built = subprocess.run(build, capture_output=True, text=True)
    if built.returncode:
        said = built.stderr.strip().splitlines() or ["pip gave no reason"]
        raise SharcsEdgeError(f"the runtime's wheel cannot be built: {said[-1]}")
    return next(target.glob("*.whl"))
