"""What is sent to a device: the runtime, and wheels for its system where its own packages do not serve."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from sharcs_edge.device import load_device
from sharcs_edge.errors import UsageError
from sharcs_edge.remote import packages
from sharcs_edge.remote.device import Facts
from sharcs_edge.remote.packages import engine_site, requirements, runtime_site, unmet
from sharcs_edge.remote.profile import budget_toml, profile_remote
from sharcs_edge.remote.ssh import SshTransport
from sharcs_edge.remote.transport import RemoteError
from sharcs_edge_runtime.artifact import file_sha256
from sharcs_edge_runtime.budget import Budget, Rule
from tests.remote.conftest import Boards
from tests.remote.test_ssh import job

PI = Facts("aarch64", "linux", (3, 11, 2), ("glibc", "2.36"), "/usr/bin/python3", "/home/pi/.cache/sharcs-edge", {})


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def write_wheel(folder: Path, name: str, version: str, tag: str, **files: str) -> None:
    folder.mkdir(exist_ok=True)
    info = f"{name}-{version}.dist-info"
    contents = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
        f"{info}/RECORD": "",
        **files,
    }
    with zipfile.ZipFile(folder / f"{name}-{version}-{tag}.whl", "w") as wheel:
        for path, text in contents.items():
            wheel.writestr(path, text)


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that pip takes wheels from, and nothing else."""
    for name in ("PIP_CONFIG_FILE", "PIP_NO_INDEX", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    return tmp_path / "wheels"


def test_runtime_site_is_the_runtime() -> None:
    site = runtime_site()
    assert runtime_site() == site
    assert site.sha256 == file_sha256(site.path)
    with zipfile.ZipFile(site.path) as archive:
        names = archive.namelist()
    assert {"sharcs_edge_runtime/profile.py", "sharcs_edge_runtime/py.typed"} <= set(names)
    assert not [name for name in names if "__pycache__" in name]


def test_requirements_are_those_of_the_device_s_python() -> None:
    old = [each.name for each in requirements("onnx", (3, 10, 4))]
    assert old == ["numpy", "onnxruntime", "tokenizers", "tomli"]
    assert [each.name for each in requirements("onnx", (3, 13, 0))] == ["numpy", "onnxruntime", "tokenizers"]
    assert [each.name for each in requirements("tflite", (3, 13, 0))] == ["numpy", "tokenizers", "ai-edge-litert"]


def test_unmet() -> None:
    needed = [Requirement("numpy>=1.24"), Requirement("ai-edge-litert==2.3.*"), Requirement("onnxruntime>=1.17")]
    assert unmet(needed, {}, None) == ["numpy>=1.24", "ai-edge-litert==2.3.*", "onnxruntime>=1.17"]
    installed = {"numpy": "1.23.5", "ai_edge_litert": "2.3.1", "onnxruntime": "1.21.0"}
    assert unmet(needed, installed, None) == ["numpy>=1.24"]
    assert unmet(needed, installed, load_device("rpi4")) == ["numpy>=1.24", "onnxruntime>=1.17"]


def test_wheels_for_the_device(wheels: Path) -> None:
    data = {"engine-1.5.data/purelib/engine_extra.py": "", "engine-1.5.data/scripts/engine": "#!python\n"}
    write_wheel(wheels, "engine", "1.5", "cp311-cp311-manylinux_2_28_aarch64", **data)
    write_wheel(wheels, "engine", "1.6", "cp311-cp311-manylinux_2_39_aarch64")  # a newer glibc than the device has
    write_wheel(wheels, "engine", "1.7", "cp311-cp311-manylinux_2_28_x86_64")
    write_wheel(wheels, "engine", "1.8", "cp312-cp312-manylinux_2_28_aarch64")
    site = engine_site([Requirement("engine>=1")], PI, None)
    with zipfile.ZipFile(site.path) as archive:
        names = set(archive.namelist())
        assert archive.read("engine.py") == b"VERSION = '1.5'\n"
        assert site.unpacked == sum(member.file_size for member in archive.infolist())
    assert "engine_extra.py" in names and not [name for name in names if ".data/" in name]
    for wheel in wheels.iterdir():
        wheel.unlink()
    assert engine_site([Requirement("engine>=1")], PI, None) == site  # kept


def test_no_wheel_for_the_device(wheels: Path) -> None:
    write_wheel(wheels, "engine", "1.7", "cp311-cp311-manylinux_2_28_x86_64")
    with pytest.raises(
        RemoteError, match=r"cannot fetch engine>=1 for aarch64, Python 3.11.2, glibc 2.36.*No matching"
    ):
        engine_site([Requirement("engine>=1")], PI, None)
    assert not list((packages._cache()).iterdir())


@pytest.mark.parametrize("facts", [{"libc": ("", "")}, {"system": "darwin"}, {"system": "android"}])
def test_packages_are_only_sent_to_glibc(facts: dict[str, Any]) -> None:
    given = Facts(**{**vars(PI), **facts})
    with pytest.raises(RemoteError, match=r"packages are missing on the device \(engine\).*install them there"):
        engine_site([Requirement("engine")], given, None)


def test_only_a_blocked_version_is_found(wheels: Path) -> None:
    write_wheel(wheels, "onnxruntime", "1.21.0", "cp311-cp311-manylinux_2_28_aarch64")
    with pytest.raises(RemoteError, match=r"of onnxruntime only a version that rpi4 blocks was found"):
        engine_site([Requirement("onnxruntime")], PI, load_device("rpi4"))


_SHARES = st.none() | st.floats(0.01, 1)


@given(
    limits=st.fixed_dictionaries({"max_drop": _SHARES, "deadline_ms": st.none() | st.floats(0.5, 1e6)}),
    widths=_SHARES,
    throttled=st.booleans(),
)
def test_a_budget_survives_the_journey(limits: dict[str, Any], widths: float | None, throttled: bool) -> None:
    try:
        rules = (Rule(battery_below=0.2, max_width=0.25), Rule(throttled=throttled, mean_ms=3.0))
        budget = Budget(min_width=widths, when=rules, **limits)
    except UsageError:
        return
    assert Budget.parse(budget_toml(budget).encode()) == budget


@pytest.mark.slow
def test_a_device_with_a_bare_python(
    boards: Boards, artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    board = boards("bare", python=str(bare / "bin" / "python"))
    said: list[str] = []
    record = profile_remote(SshTransport("bare"), job(artifact), said.append)
    assert any("bare has not got numpy" in line for line in said)
    assert record["runtime"]["onnxruntime"] != "unavailable"
    assert len(list((board.folder / "sites").iterdir())) == 2
    said.clear()
    profile_remote(SshTransport("bare"), job(artifact), said.append)
    assert not [line for line in said if line.startswith("sending")]
