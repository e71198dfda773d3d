"""What the two wheels hold, each built from its sdist as a package index would do it."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from sharcs_edge_runtime.version import __version__

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]

# Every file of a wheel matches one of its patterns, and every pattern matches a file.
HOST_FILES = (
    r"sharcs_edge/([a-z]+/)?\w+\.py",
    r"sharcs_edge/py\.typed",
    r"sharcs_edge/profile/record\.schema\.json",
    r"sharcs_edge/remote/_agent\.sh",
    r"sharcs_edge/report/style\.css",
    r"sharcs_edge/assets/snips/(train|dev|test)\.jsonl\.gz",
    r"sharcs_edge/assets/snips/LICENSE\.md",
    r"sharcs_edge_exporters/[a-z_]+\.py",
    r"sharcs_edge_exporters/py\.typed",
    r"sharcs_edge_devices/__init__\.py",
    r"sharcs_edge_devices/schema\.json",
    r"sharcs_edge_devices/[a-z0-9-]+\.toml",
    r"sharcs_edge-[^/]+\.dist-info/(METADATA|WHEEL|RECORD|entry_points\.txt)",
    r"sharcs_edge-[^/]+\.dist-info/licenses/(LICENSE|NOTICE)",
)
RUNTIME_FILES = (
    r"sharcs_edge_runtime/\w+\.py",
    r"sharcs_edge_runtime/py\.typed",
    r"sharcs_edge_runtime-[^/]+\.dist-info/(METADATA|WHEEL|RECORD)",
    r"sharcs_edge_runtime-[^/]+\.dist-info/licenses/LICENSE",
)


def build(project: Path, target: Path) -> tuple[Path, Path]:
    """The (sdist, wheel) of a project; the wheel is built from the unpacked sdist, away from the checkout."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(target), str(project)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    (sdist,), (wheel,) = target.glob("*.tar.gz"), target.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return build(ROOT, tmp_path_factory.mktemp("host"))


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return build(ROOT / "runtime" / "python", tmp_path_factory.mktemp("runtime"))


def check_contents(wheel: Path, patterns: tuple[str, ...]) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
    assert [name for name in names if not any(re.fullmatch(pattern, name) for pattern in patterns)] == []
    assert [pattern for pattern in patterns if not any(re.fullmatch(pattern, name) for name in names)] == []


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode("utf-8"))


def base_requirements(wheel: Path) -> set[str]:
    """Names of what is required without an extra, on Python 3.11 and newer."""
    older = "python_version < '3.11'"
    given = metadata(wheel).get_all("Requires-Dist", [])
    requirements = [value for value in given if "extra ==" not in value and older not in value]
    return {re.split(r"[^A-Za-z0-9_.-]", value, maxsplit=1)[0] for value in requirements}


def test_the_host_wheel(host: tuple[Path, Path]) -> None:
    _, wheel = host
    check_contents(wheel, HOST_FILES)
    assert metadata(wheel)["Version"] == __version__
    assert f"sharcs-edge-runtime=={__version__}" in metadata(wheel).get_all("Requires-Dist", [])
    assert base_requirements(wheel) == {"jsonschema", "numpy", "packaging", "rich", "sharcs-edge-runtime", "typer"}


def test_the_runtime_wheel(runtime: tuple[Path, Path]) -> None:
    _, wheel = runtime
    check_contents(wheel, RUNTIME_FILES)
    assert metadata(wheel)["Version"] == __version__
    assert base_requirements(wheel) == {"numpy", "onnxruntime", "tokenizers"}


def test_the_wheels_hold_all_sources_of_the_checkout(host: tuple[Path, Path], runtime: tuple[Path, Path]) -> None:
    homes = {
        "sharcs_edge": (ROOT, host[1]),
        "sharcs_edge_exporters": (ROOT / "exporters", host[1]),
        "sharcs_edge_devices": (ROOT / "devices", host[1]),
        "sharcs_edge_runtime": (ROOT / "runtime" / "python", runtime[1]),
    }
    for package, (home, wheel) in homes.items():
        with zipfile.ZipFile(wheel) as archive:
            packed = {name for name in archive.namelist() if name.startswith(f"{package}/") and not name.endswith("/")}
        files = (path for path in (home / package).rglob("*") if path.is_file())
        here = {
            path.relative_to(home).as_posix()
            for path in files
            if not re.search(r"/(__pycache__|\.\w+_cache)/", str(path))
        }
        assert packed == here


def test_the_sdists_hold_no_tests_or_build_products(host: tuple[Path, Path], runtime: tuple[Path, Path]) -> None:
    for sdist, _ in (host, runtime):
        with tarfile.open(sdist) as archive:
            names = archive.getnames()
        assert [name for name in names if re.search(r"(^|/)(tests|build|dist|\.venv|__pycache__)(/|$)", name)] == []


def test_both_wheels_work_away_from_the_checkout(
    host: tuple[Path, Path], runtime: tuple[Path, Path], tmp_path: Path
) -> None:
    """Installed without dependencies, the packages are found, agree on the version and bring their data."""
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(host[1]), str(runtime[1])], check=True, capture_output=True)
    code = (
        "import sharcs_edge, sharcs_edge_runtime.version as v, sharcs_edge_exporters, sharcs_edge_devices\n"
        "from sharcs_edge.data import load_data\n"
        "assert sharcs_edge.__version__ == v.__version__\n"
        "assert 'site-packages' in sharcs_edge.__file__\n"
        "print(len(load_data('demo').train))"
    )
    run = subprocess.run([python, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert run.stdout.strip() == "13084", run.stderr
