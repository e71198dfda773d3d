"""Virtual environments, one per requirement file, kept and named by a hash of it."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from benchmarks.peers.processes import EngineError

_ROOT = Path(__file__).parents[2]
_REQUIREMENTS = Path(__file__).parent / "requirements"
_DONE = "installed"


def environment(name: str | None, work: Path) -> Path:
    """The Python that has what `requirements/NAME.txt` names, installed now if need be; None: this one.

    Raises EngineError if something cannot be installed.
    """
    if name is None:
        return Path(sys.executable)
    file = _REQUIREMENTS / f"{name}.txt"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    digest = hashlib.sha256(f"{version}\n{file.read_text(encoding='utf-8')}".encode()).hexdigest()[:10]
    folder = (work / "environments" / f"{name}-{digest}").resolve()
    python = folder / "bin" / "python"
    if (folder / _DONE).exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)  # of an interrupted run
    print(f"installing {name}", file=sys.stderr)
    venv.create(folder, with_pip=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(file)]
    result = subprocess.run(install, cwd=_ROOT, capture_output=True, text=True)
    if result.returncode:
        errors = [line for line in result.stderr.splitlines() if line.startswith("ERROR")]
        raise EngineError(f"pip cannot install {file.name}: {(errors or [result.stderr.strip()])[-1]}")
    (folder / _DONE).touch()
    return python
