"""Who may import whom, statically (import-linter) and in a fresh process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("accelerate", "datasets", "onnx", "onnxscript", "pyarrow", "torch", "transformers")
HOST = ("rich", "sharcs_edge", "sharcs_edge_exporters", "typer")


def loaded_by(module: str) -> set[str]:
    """Top-level packages that `import module` leaves in a fresh interpreter."""
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_import_contracts_hold() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_runtime_loads_nothing_of_the_host() -> None:
    assert not loaded_by("sharcs_edge_runtime") & {*HEAVY, *HOST}


@pytest.mark.parametrize("module", ["sharcs_edge", "sharcs_edge.cli", "sharcs_edge.data", "sharcs_edge.device"])
def test_help_and_usage_errors_do_not_wait_for_torch(module: str) -> None:
    assert not loaded_by(module) & set(HEAVY)
