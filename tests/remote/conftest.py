"""A real SSH server on loopback, and clients of it that each see a device of their own.

The devices are this machine; a client's environment (PATH, cache folder) makes them differ.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sharcs_edge.remote import ssh
from tests.runtime.conftest import build_artifact

SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True)
class Server:
    """An `sshd`: its port, its log, and the key that it lets in."""

    port: int
    key: Path
    known_hosts: Path
    log: Path


@dataclass(frozen=True)
class Board:
    """A device as a test sees it: the name that `ssh` knows it by, and the folder that it caches in."""

    name: str
    cache: Path
    bin: Path

    @property
    def folder(self) -> Path:
        return self.cache / "sharcs-edge"

    @property
    def runs(self) -> list[Path]:
        return list((self.folder / "runs").iterdir())

    def install(self, program: str, script: str) -> None:
        """A program that comes before the system's own."""
        file = self.bin / program
        file.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        file.chmod(0o755)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_key(file: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)], check=True)
    return file


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"{what} did not happen within {seconds:g} seconds")
        time.sleep(0.05)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if sshd is None or shutil.which("ssh") is None:
        pytest.skip("NO SSH SERVER HERE: profiling over SSH is not tested; on Debian: apt install openssh-server")
    folder = tmp_path_factory.mktemp("sshd")
    host, user, port = make_key(folder / "host"), make_key(folder / "user"), free_port()
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd's privilege separation asks for it
    (folder / "config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {host}\nPidFile none\nStrictModes no\nUsePAM no\n"
        f"AuthorizedKeysFile {user}.pub\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        "PermitRootLogin prohibit-password\nAcceptEnv BOARD_PATH XDG_CACHE_HOME OMP_NUM_THREADS PYTHONPATH\n"
        # After the user's own .bashrc, which may change PATH.
        'ForceCommand PATH="$BOARD_PATH" exec sh -c "$SSH_ORIGINAL_COMMAND"\n',
        encoding="utf-8",
    )
    kind, key, *_ = host.with_suffix(".pub").read_text().split()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {kind} {key}\n", encoding="utf-8")
    log = folder / "log"
    with subprocess.Popen([sshd, "-D", "-f", folder / "config", "-E", log]) as process:
        try:
            wait_for(lambda: log.is_file() and "Server listening" in log.read_text(), "the start of sshd")
            yield Server(port, user, folder / "known_hosts", log)
        finally:
            process.terminate()


Boards = Callable[..., Board]


@pytest.fixture
def boards(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Boards:
    """`boards("pi")`: a host that `ssh` reaches, with a cache of its own and this environment's Python first."""
    config = tmp_path / "ssh_config"
    config.touch()
    monkeypatch.setenv(ssh.COMMAND_VARIABLE, f"ssh -F {config}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "here"))

    def add(
        name: str = "pi",
        *,
        cache: Path | None = None,
        python: str = sys.executable,
        only: tuple[str, ...] = (),
        python_path: Path = tmp_path,
        **options: object,
    ) -> Board:
        """`only`: the device has these programs and nothing else; `options`: of the client for this host."""
        bin = tmp_path / f"{name}-bin"
        bin.mkdir()
        board = Board(name, cache or tmp_path / f"{name}-cache", bin)
        for program in only:
            (bin / program).symlink_to(str(shutil.which(program)))
        if not only:
            board.install("python3", f'exec {python} "$@"')
        path = bin if only else f"{bin}:{SYSTEM_PATH}"
        settings: dict[str, object] = {
            "HostName": "127.0.0.1",
            "Port": server.port,
            "User": getpass.getuser(),
            "IdentityFile": server.key,
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "UserKnownHostsFile": server.known_hosts,
            "GlobalKnownHostsFile": "none",
            "StrictHostKeyChecking": "yes",
            "SetEnv": f"BOARD_PATH={path} XDG_CACHE_HOME={board.cache} PYTHONPATH={python_path} OMP_NUM_THREADS=1",
        }
        lines = "".join(f"  {key} {value}\n" for key, value in (settings | options).items())
        with config.open("a", encoding="utf-8") as stream:
            stream.write(f"Host {name}\n{lines}")
        return board

    return add


@pytest.fixture
def board(boards: Boards) -> Board:
    return boards()


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_artifact(tmp_path_factory.mktemp("remote") / "artifact")
