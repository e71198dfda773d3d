"""What importing the package brings, and what its wheel holds."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import sharcs_edge_runtime

PROJECT = Path(__file__).parents[2] / "runtime" / "python"


def modules_after(statement: str) -> set[str]:
    program = f"{statement}\nimport sys; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    return set(done.stdout.split())


HOST_ONLY = {"torch", "transformers", "typer", "rich", "onnx", "datasets", "sharcs_edge"}


def test_importing_the_package_is_light() -> None:
    assert not modules_after("import sharcs_edge_runtime") & {*HOST_ONLY, "numpy", "onnxruntime", "tokenizers"}


def test_everything_public_imports_without_the_host() -> None:
    assert not modules_after("from sharcs_edge_runtime import *") & HOST_ONLY
    imports = "import sharcs_edge_runtime.verify, sharcs_edge_runtime.evaluate, onnxruntime, tokenizers"
    assert not modules_after(imports) & (HOST_ONLY - {"rich", "typer"})  # tokenizers brings huggingface_hub's helpers


def test_public_names() -> None:
    for name in sharcs_edge_runtime.__all__:
        assert name in dir(sharcs_edge_runtime)
        assert getattr(sharcs_edge_runtime, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'predict'"):
        sharcs_edge_runtime.predict  # noqa: B018


@pytest.mark.slow
def test_wheel_from_sdist_holds_the_package_only(tmp_path: Path) -> None:
    # without --wheel or --sdist, `build` makes the sdist and then the wheel from that sdist
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(PROJECT)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    (wheel,), (sdist,) = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")
    version = sharcs_edge_runtime.__version__
    modules = {f"sharcs_edge_runtime/{path.name}" for path in (PROJECT / "sharcs_edge_runtime").glob("*.py")}
    info = f"sharcs_edge_runtime-{version}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        assert set(archive.namelist()) == {
            *modules,
            "sharcs_edge_runtime/py.typed",
            *(f"{info}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "licenses/LICENSE")),
        }
        metadata = archive.read(f"{info}/METADATA").decode()
    required = [line.split(":")[1].strip() for line in metadata.splitlines() if line.startswith("Requires-Dist")]
    assert sorted(name.split(">")[0].split("!")[0] for name in required) == ["numpy", "onnxruntime", "tokenizers"]
    assert "License-Expression: Apache-2.0" in metadata
    with tarfile.open(sdist) as archive_file:
        names = {name.partition("/")[2] for name in archive_file.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "PKG-INFO"} <= names
    assert {name for name in names if "/" in name} == {*modules, "sharcs_edge_runtime/py.typed"}
