"""What importing and using the package brings along."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import sharcs_edge_runtime


def modules_after(statement: str) -> set[str]:
    program = f"{statement}\nimport sys; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    return set(done.stdout.split())


HOST_ONLY = {"torch", "transformers", "typer", "rich", "onnx", "datasets", "sharcs_edge"}


def test_importing_the_package_is_light() -> None:
    assert not modules_after("import sharcs_edge_runtime") & {*HOST_ONLY, "numpy", "onnxruntime", "tokenizers"}


def test_a_prediction_needs_nothing_of_the_host(tiny_artifact: Path) -> None:
    program = f"from sharcs_edge_runtime import *; Session.load({str(tiny_artifact)!r}).predict('play')"
    loaded = modules_after(f"import sharcs_edge_runtime.verify, sharcs_edge_runtime.evaluate; {program}")
    assert {"numpy", "onnxruntime", "tokenizers"} <= loaded
    assert not loaded & HOST_ONLY


def test_public_names() -> None:
    for name in sharcs_edge_runtime.__all__:
        assert name in dir(sharcs_edge_runtime)
        assert getattr(sharcs_edge_runtime, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'predict'"):
        sharcs_edge_runtime.predict  # noqa: B018
