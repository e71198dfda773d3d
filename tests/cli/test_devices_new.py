"""`sharcs-edge devices new`: a profile that `--target` takes at once, and nothing written for a wrong call."""

from __future__ import annotations

from pathlib import Path

import pytest

from sharcs_edge.device import FOLDER_VARIABLE, load_device
from tests.cli.conftest import Cli


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own profiles."""
    folder = tmp_path / "devices"
    folder.mkdir()
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    return folder


def test_this_machine_becomes_a_target(cli: Cli, folder: Path) -> None:
    made = cli("devices", "new", "desk")
    assert made.code == 0
    assert str(folder / "desk.toml") in made.err
    profile = load_device("desk")
    assert profile.origin == str(folder / "desk.toml")
    assert profile.isa.source.startswith("read from this machine on ")
    assert cli("devices", "show", "desk").code == 0


def test_a_profile_is_replaced_only_when_asked(cli: Cli, folder: Path) -> None:
    (folder / "desk.toml").write_text('extends = "rpi4"\nname = "desk"\ntitle = "mine"\nsummary = "mine"\n')
    cli("devices", "new", "desk").failed(2, "desk.toml exists", "--overwrite")
    assert load_device("desk").title == "mine"
    assert cli("devices", "new", "desk", "--overwrite").code == 0
    assert load_device("desk").extends is None


@pytest.mark.parametrize("name", ["../escape", "Desk", "my desk"])
def test_a_name_that_no_target_can_have(cli: Cli, folder: Path, name: str) -> None:
    cli("devices", "new", name).failed(2, "does not match", "$.name")
    assert list(folder.parent.rglob("*.toml*")) == []


def test_a_file_of_another_name(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "other.toml"
    cli("devices", "new", "desk", "--output", file).failed(2, 'expected the file\'s name "other", got "desk"')
    assert not file.exists()


def test_a_folder_that_does_not_exist(cli: Cli, tmp_path: Path) -> None:
    cli("devices", "new", "desk", "-o", tmp_path / "none" / "desk.toml").failed(2, "is no folder; create it first")
