"""Profiling through the real `adb` client, against a stand-in of the daemon that speaks its wire protocol."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sharcs_edge.errors import UsageError
from sharcs_edge.remote import adb
from sharcs_edge.remote.adb import AdbTransport
from sharcs_edge.remote.device import connect
from sharcs_edge.remote.profile import profile_remote
from sharcs_edge.remote.transport import RemoteError, run
from tests.cli.conftest import command, environment
from tests.remote.adbd import Daemon
from tests.remote.conftest import SYSTEM_PATH, free_port, wait_for
from tests.remote.test_ssh import job, measuring, said


@dataclass(frozen=True)
class Phone:
    """A device as `adb` lists it, and the folder that it caches in."""

    serial: str
    folder: Path
    daemon: Daemon

    @property
    def runs(self) -> list[Path]:
        return list((self.folder / "runs").iterdir())


Phones = Callable[..., Phone]


@pytest.fixture(scope="module")
def adb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The command that reaches an adb server of our own, with keys of its own."""
    if shutil.which("adb") is None:
        pytest.skip("NO ADB HERE: profiling of Android devices is not tested; on Debian: apt install adb")
    client = f"env HOME={tmp_path_factory.mktemp('android')} adb -P {free_port()}"
    yield client
    subprocess.run([*client.split(), "kill-server"], capture_output=True, check=False)


@pytest.fixture
def phones(adb_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Phones]:
    monkeypatch.setenv(adb.COMMAND_VARIABLE, adb_server)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "here"))
    daemons: list[Daemon] = []

    def add(path: str = "", **options: str) -> Phone:
        cache, bin = tmp_path / f"phone{len(daemons)}", tmp_path / f"bin{len(daemons)}"
        bin.mkdir()
        (bin / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        (bin / "python3").chmod(0o755)
        shell = {
            "PATH": path or f"{bin}:{SYSTEM_PATH}",
            "XDG_CACHE_HOME": str(cache),
            "OMP_NUM_THREADS": "1",
            "HOME": "/",
        }
        daemons.append(daemon := Daemon(shell, **options))
        serial = f"127.0.0.1:{daemon.port}"
        done = subprocess.run([*adb_server.split(), "connect", serial], capture_output=True, text=True, check=True)
        assert f"connected to {serial}" in done.stdout, done.stdout
        return Phone(serial, cache / "sharcs-edge", daemon)

    yield add
    for daemon in daemons:
        daemon.close()
        subprocess.run(
            [*adb_server.split(), "disconnect", f"127.0.0.1:{daemon.port}"], capture_output=True, check=False
        )


def test_commands_of_the_device(phones: Phones) -> None:
    transport = AdbTransport(phones().serial)
    data = bytes(range(256)) * 4096
    done = run(transport, "cat; echo note >&2; exit 7", data)
    assert (done.returncode, done.stdout, done.stderr) == (7, data, "note\n")


def test_profile_of_a_device(phones: Phones, artifact: Path) -> None:
    phone = phones()
    said: list[str] = []
    record = profile_remote(AdbTransport(phone.serial), job(artifact), said.append)
    assert (record["remote"], record["settings"]["lengths"]) == (phone.serial, [8])
    assert "stages at 8 tokens" in said
    assert phone.runs == []


def test_stopped_half_way(phones: Phones, artifact: Path) -> None:
    phone = phones()
    words = command("profile", artifact, "--adb", phone.serial, "--lengths", "8", "--min-seconds", "600")
    pipe = subprocess.PIPE
    with subprocess.Popen(
        words, stdout=pipe, stderr=pipe, text=True, env=environment(), start_new_session=True
    ) as process:
        said(process, "stages at 8 tokens")
        assert len(phone.runs) == 1
        os.kill(process.pid, signal.SIGINT)
        assert process.stderr is not None
        assert "interrupted" in process.stderr.read()
    wait_for(lambda: phone.runs == [] and not measuring(phone.folder), "cleaning up")


def test_the_cable_is_pulled(phones: Phones) -> None:
    phone = phones()
    with pytest.raises(RemoteError, match="run the command again"), connect(AdbTransport(phone.serial)) as device:
        phone.daemon.close()
        device.fingerprint()
    wait_for(lambda: not measuring(phone.folder), "the end of the agent")


@pytest.mark.parametrize("serial", ["", "-d", "two words"])
def test_no_serial(serial: str) -> None:
    with pytest.raises(UsageError, match="expected one that `adb devices` lists"):
        AdbTransport(serial)


def test_no_such_device(phones: Phones, artifact: Path) -> None:
    with pytest.raises(RemoteError, match=r"cannot reach the device R58N.*not found.*`adb devices` lists"):
        profile_remote(AdbTransport("R58N"), job(artifact))


def test_android_before_7(phones: Phones) -> None:
    phone = phones(features="cmd")
    with pytest.raises(RemoteError, match="Android 7 or newer"), connect(AdbTransport(phone.serial)):
        pass


def test_adb_is_missing(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(adb.COMMAND_VARIABLE, "/no/such/adb")
    with pytest.raises(RemoteError, match=r"cannot run /no/such/adb .*platform tools"):
        profile_remote(AdbTransport("R58N"), job(artifact))
