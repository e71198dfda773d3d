"""An engine that crashes is found in a process of its own, and said in one sentence; anything else is no finding."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sharcs_edge_runtime import profile, verify
from sharcs_edge_runtime.errors import EngineError
from sharcs_edge_runtime.probe import probe_artifact, probe_engine

Break = Callable[[str], None]


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Break:
    """A package `onnxruntime` in the place of the real one, for processes that are started; its source is given."""

    def install(source: str) -> None:
        package = tmp_path / "site" / "onnxruntime"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(source)
        metadata = package.with_name("onnxruntime-1.21.0.dist-info")
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: onnxruntime\nVersion: 1.21.0\n")
        monkeypatch.setattr(sys, "path", [str(package.parent), *sys.path])

    return install


def crash(name: str) -> str:
    return f"import os, signal; os.kill(os.getpid(), signal.{name})"


def test_an_engine_that_runs(tiny_artifact: Path) -> None:
    probe_artifact(tiny_artifact)


def test_an_illegal_instruction(engine: Break) -> None:
    engine(crash("SIGILL"))
    with pytest.raises(EngineError) as caught:
        probe_engine("onnxruntime")
    said = str(caught.value)
    assert said.startswith("onnxruntime 1.21.0 does not run on ")
    assert "executes an instruction that it does not have (SIGILL)" in said
    assert "-m pip install 'onnxruntime!=1.21.0'" in said


def test_another_crash(engine: Break) -> None:
    engine(crash("SIGSEGV"))
    with pytest.raises(EngineError, match=r"loading it crashes \(SIGSEGV\)"):
        probe_engine("onnxruntime")


@pytest.mark.parametrize("source", ["raise ImportError('libx.so')", "import sys; sys.exit(3)"])
def test_what_raises_is_said_when_it_is_loaded(engine: Break, source: str) -> None:
    engine(source)
    probe_engine("onnxruntime")


def test_no_process_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python3")
    probe_engine("onnxruntime")


@pytest.mark.parametrize("main", [verify.main, profile.main])
def test_device_side_programs_probe_first(
    main: Callable[[list[str]], int], tiny_artifact: Path, engine: Break, capsys: pytest.CaptureFixture[str]
) -> None:
    engine(crash("SIGILL"))
    assert main([str(tiny_artifact)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("EngineError: onnxruntime 1.21.0 does not run on ")
    assert err.count("\n") == 1
