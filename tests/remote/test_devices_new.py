"""`sharcs-edge devices new --from-host`: the profile is that of the machine at the other end."""

from __future__ import annotations

from pathlib import Path

import pytest

from sharcs_edge.cli import main
from sharcs_edge.device import FOLDER_VARIABLE, load_device
from tests.remote.conftest import Board


def test_a_profile_from_a_live_machine(board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    assert main(["devices", "new", "kiosk", "--from-host", "pi"]) == 0
    profile = load_device("kiosk")
    assert profile.isa.source.startswith("read from pi on ")
    assert board.runs == []


def test_a_host_that_cannot_be_reached(
    board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    assert main(["devices", "new", "kiosk", "--from-host", "nowhere.invalid"]) == 1
    assert "cannot reach nowhere.invalid" in capsys.readouterr().err
    assert list(tmp_path.glob("*.toml")) == []
