"""Profiling over SSH: a real server and client on loopback; what goes wrong is made to go wrong."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from sharcs_edge.errors import UsageError
from sharcs_edge.remote import ssh
from sharcs_edge.remote.device import connect
from sharcs_edge.remote.profile import Job, profile_remote
from sharcs_edge.remote.ssh import SshTransport
from sharcs_edge.remote.transport import RemoteError, run
from sharcs_edge_runtime.artifact import file_sha256, write_file_atomically
from sharcs_edge_runtime.budget import Budget
from sharcs_edge_runtime.manifest import MANIFEST_NAME, Manifest
from sharcs_edge_runtime.profile import Settings, Texts
from tests.cli.conftest import command, environment
from tests.remote.conftest import Board, Boards, Server, make_key, wait_for

QUICK = Settings(lengths=(8,), min_samples=2, min_seconds=0.0)


def job(artifact: Path, texts: Texts | None = None, settings: Settings = QUICK, budget: Budget | None = None) -> Job:
    return Job(artifact, texts, settings, budget or Budget())


def profile_fails(board: Board, artifact: Path, *parts: str, kind: type[Exception] = RemoteError) -> None:
    """One sentence that holds all of `parts`; nothing is left on the device."""
    with pytest.raises(kind) as caught:
        profile_remote(SshTransport(board.name), job(artifact))
    assert "\n" not in str(caught.value)
    for part in parts:
        assert part in str(caught.value)
    assert not (board.folder / "runs").exists() or board.runs == []


def profile_process(board: Board, artifact: Path, *options: str) -> subprocess.Popen[str]:
    words = command("profile", artifact, "--host", board.name, "--lengths", "8", "--format", "json", *options)
    pipe = subprocess.PIPE
    return subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True, env=environment(), start_new_session=True)


def said(process: subprocess.Popen[str], until: str) -> None:
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if until in line:
            return
    pytest.fail(f"{until!r} was never said: {lines}")


def measuring(folder: Path) -> list[int]:
    """The processes that work in a device's folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").resolve().is_relative_to(folder):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def test_profile_of_a_device(board: Board, artifact: Path) -> None:
    said: list[str] = []
    texts = Texts(("turn on the light", "play some music ünd a table"), "house.jsonl")
    settings = dataclasses.replace(QUICK, lengths=(8, 12))
    budget = Budget(max_width=0.5)
    record = profile_remote(SshTransport("pi"), job(artifact, texts, settings, budget), said.append)
    assert (record["kind"], record["remote"]) == ("profile", "pi")
    assert record["artifact"]["manifest_sha256"] == file_sha256(artifact / MANIFEST_NAME)
    assert record["artifact"]["name"] == artifact.name
    assert record["settings"]["lengths"] == [8, 12]
    assert (record["texts"]["source"], record["texts"]["used"]) == ("house.jsonl", 2)
    assert record["budget"]["max_width"] == 0.5
    assert sum(row["share"] for row in record["mix"]["shares"] if row["width"] <= 0.5) == 1
    assert "stages at 12 tokens" in said
    assert board.runs == []

    said.clear()
    again = profile_remote(SshTransport("pi"), job(artifact), said.append)
    assert not [line for line in said if line.startswith("sending")]
    assert again["texts"]["source"] != "house.jsonl"
    assert not list(board.folder.rglob("*.jsonl"))


def test_the_shell_s_greeting_is_no_answer(board: Board) -> None:
    board.install("python3", f'echo Welcome to the device; exec {sys.executable} "$@"')
    with connect(SshTransport("pi")) as device:
        assert device.facts.python == sys.version_info[:3]


def test_fingerprint(board: Board) -> None:
    with connect(SshTransport("pi")) as device:
        facts = device.fingerprint()
    assert facts["python"].startswith(".".join(map(str, sys.version_info[:3])))
    assert facts["machine"] == os.uname().machine


def test_commands_of_the_device(board: Board) -> None:
    done = run(SshTransport("pi"), "cat; echo note >&2; exit 7", b"\x00\xff")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"\x00\xff", "note\n")


def test_a_connection_that_the_user_s_configuration_keeps(boards: Boards) -> None:
    with TemporaryDirectory(dir="/tmp") as folder:  # a socket's path has 107 bytes at most
        master = Path(folder) / "master"
        boards("kept", ControlMaster="auto", ControlPath=master, ControlPersist="60")
        for _ in range(2):
            assert run(SshTransport("kept"), "echo here").stdout == b"here\n"
        assert master.exists()
        subprocess.run(
            [*os.environ[ssh.COMMAND_VARIABLE].split(), "-O", "exit", "kept"], capture_output=True, check=True
        )


def test_settings_that_ssh_refuses(boards: Boards, artifact: Path, tmp_path: Path) -> None:
    long = tmp_path / ("x" * 90)
    board = boards("long", ControlMaster="auto", ControlPath=long, ControlPersist="60")
    profile_fails(board, artifact, "cannot reach long", "too long", "in ssh's configuration")
    profile_fails(boards("odd", NoSuchOption="1"), artifact, "cannot reach", "configuration option", "correct that")


@pytest.mark.parametrize("name", ["", "-oProxyCommand=touch /tmp/x", "pi "])
def test_no_destination(name: str) -> None:
    with pytest.raises(UsageError, match="expected a destination of ssh"):
        SshTransport(name)


def test_ssh_is_missing(board: Board, artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ssh.COMMAND_VARIABLE, "/no/such/ssh -v")
    profile_fails(board, artifact, "cannot run /no/such/ssh", "install the OpenSSH client")


def test_unreachable_host(boards: Boards, artifact: Path) -> None:
    profile_fails(boards("off", Port=9), artifact, "cannot reach off", "Connection refused", "switched on")
    profile_fails(boards("typo", HostName="no-such-host.invalid"), artifact, "cannot reach typo", "check its name")


def test_unknown_host_key(boards: Boards, artifact: Path, tmp_path: Path) -> None:
    board = boards("new", UserKnownHostsFile=tmp_path / "empty")
    profile_fails(board, artifact, "cannot reach new", "host key is not known", "`ssh new` once")


def test_changed_host_key(boards: Boards, server: Server, artifact: Path, tmp_path: Path) -> None:
    kind, key, *_ = make_key(tmp_path / "other").with_suffix(".pub").read_text().split()
    (tmp_path / "known").write_text(f"[127.0.0.1]:{server.port} {kind} {key}\n")
    board = boards("reborn", UserKnownHostsFile=tmp_path / "known")
    profile_fails(board, artifact, "REMOTE HOST IDENTIFICATION HAS CHANGED", "ssh-keygen -R reborn")


def test_wrong_key(boards: Boards, artifact: Path, tmp_path: Path) -> None:
    board = boards("locked", IdentityFile=make_key(tmp_path / "wrong"))
    profile_fails(board, artifact, "accepts none of this machine's keys", "ssh-copy-id locked")


def test_no_python(boards: Boards, artifact: Path) -> None:
    board = boards("bare", only=("sh", "uname", "getconf", "tail"))
    profile_fails(board, artifact, "has no Python that serves (found none)", "apt install python3")


def test_old_python(boards: Boards, artifact: Path) -> None:
    board = boards("old", only=("sh", "uname", "getconf", "tail"))
    board.install("python3", 'if [ "$1" = --version ]; then echo Python 3.7.3; else exit 1; fi')
    profile_fails(board, artifact, "found Python 3.7.3", "3.10 or newer of 64 bits is needed")


def test_the_newest_of_several_pythons(boards: Boards) -> None:
    board = boards("mixed", only=("sh", "uname", "getconf", "tail"))
    board.install("python3", 'if [ "$1" = --version ]; then echo Python 3.7.3; else exit 1; fi')
    board.install("python3.12", f'exec {sys.executable} "$@"')
    with connect(SshTransport("mixed")) as device:
        assert device.facts.python == sys.version_info[:3]


def test_32_bit_system(boards: Boards, artifact: Path) -> None:
    board = boards("small", only=("sh", "tail"))
    board.install("python3", 'if [ "$1" = --version ]; then echo Python 3.11.2; else exit 1; fi')
    board.install("uname", "echo aarch64")  # a 64-bit kernel under a 32-bit system, as Raspberry Pi OS has it
    board.install("getconf", "echo 32")
    profile_fails(board, artifact, "runs a 32-bit system (aarch64)", "Raspberry Pi OS (64-bit)")


def retarget(artifact: Path, folder: Path, target: str) -> Path:
    copy = Path(shutil.copytree(artifact, folder))
    manifest = Manifest.parse((copy / MANIFEST_NAME).read_bytes())
    write_file_atomically(copy / MANIFEST_NAME, dataclasses.replace(manifest, target=target).to_json())
    return copy


def test_artifact_for_another_isa(board: Board, artifact: Path, tmp_path: Path) -> None:
    other = "rpi4" if os.uname().machine == "x86_64" else "x86-64"
    with pytest.raises(UsageError, match=f"was exported for {other} .*export it again with the --target"):
        profile_remote(SshTransport("pi"), job(retarget(artifact, tmp_path / "other", other)))


def test_artifact_for_a_cpu_with_more(
    board: Board, artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "devices").mkdir()
    base = "x86-64" if os.uname().machine == "x86_64" else "rpi4"
    (tmp_path / "devices" / "dream.toml").write_text(
        f'name = "dream"\nextends = "{base}"\ntitle = "Dream"\nsummary = "A machine that nobody has."\n'
        f'[isa]\nbase = "{"x86-64-v3" if base == "x86-64" else "armv9.0-a"}"\nfeatures = ["sme2"]\nsource = "a dream"\n'
    )
    monkeypatch.setenv("SHARCS_EDGE_DEVICES", str(tmp_path / "devices"))
    with pytest.raises(UsageError, match="whose CPU has sme2, which that of pi has not"):
        profile_remote(SshTransport("pi"), job(retarget(artifact, tmp_path / "dreamt", "dream")))


def test_what_the_profiler_refuses(board: Board, artifact: Path) -> None:
    settings = dataclasses.replace(QUICK, lengths=(4000,))
    with pytest.raises(UsageError, match=r"^on pi: .*4000") as caught:
        profile_remote(SshTransport("pi"), job(artifact, settings=settings))
    assert "Error:" not in str(caught.value)
    assert board.runs == []


@pytest.mark.parametrize(
    ("death", "sentence"), [("SIGILL", "an instruction that this CPU does not have"), ("SIGKILL", "memory runs out")]
)
def test_the_profiler_dies(boards: Boards, artifact: Path, tmp_path: Path, death: str, sentence: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        f"if 'sharcs_edge_runtime.profile' in sys.orig_argv: os.kill(os.getpid(), signal.{death})\n"
    )
    profile_fails(boards("weak", python_path=tmp_path), artifact, "the profiler on weak was stopped by", sentence)


def test_two_at_once(board: Board, artifact: Path) -> None:
    with connect(SshTransport("pi")):
        profile_fails(board, artifact, "another sharcs-edge is at work on pi (process ", "wait until it is done")
    with connect(SshTransport("pi")) as device:
        assert device.fingerprint()["cores"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", "size=40m,nr_inodes=60", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(options, capture_output=True, check=False).returncode != 0:
        pytest.skip("A FULL DISK IS NOT TESTED: a small file system can only be mounted by root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_too_little_room(boards: Boards, artifact: Path, small_disk: Path) -> None:
    board = boards("full", cache=small_disk)
    (small_disk / "photos").write_bytes(bytes(20 << 20))
    profile_fails(board, artifact, "the disk of full is too full", "20.0 MB are free", "free some space there")


def test_disk_full_on_the_way(boards: Boards, artifact: Path, small_disk: Path) -> None:
    board = boards("full", cache=small_disk)
    for index in range(40):  # room for bytes, none for so many files
        (small_disk / str(index)).touch()
    profile_fails(board, artifact, "cannot write to", "No space left on device", "free some space there")


def test_read_only_home(boards: Boards, artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    profile_fails(boards("sealed", cache=tmp_path / "file"), artifact, "cannot write to", "set XDG_CACHE_HOME")


# Passes on so many bytes and no more.
_CUT_OFF = """import os, sys
left = int(sys.argv[1])
while left and (piece := os.read(0, min(left, 65536))):
    left -= os.write(1, piece)"""


def test_a_transfer_goes_on_where_it_was_cut_off(board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    big = tmp_path / "big"
    big.write_bytes(os.urandom(3 << 20))
    sha = file_sha256(big)
    whole = os.environ[ssh.COMMAND_VARIABLE]
    cut = tmp_path / "cut"
    cut.write_text(f"#!/bin/sh\n{sys.executable} -c '{_CUT_OFF}' 2000000 | {whole} \"$@\"\n")
    cut.chmod(0o755)
    monkeypatch.setenv(ssh.COMMAND_VARIABLE, str(cut))
    with pytest.raises(RemoteError, match="pi"), connect(SshTransport("pi")) as device:
        device.send({sha: big})
    part = board.folder / "files" / f"{sha}.part"
    arrived = part.stat().st_size
    assert 1_900_000 < arrived < 2_000_000

    monkeypatch.setenv(ssh.COMMAND_VARIABLE, whole)
    said: list[str] = []
    with connect(SshTransport("pi"), said.append) as device:
        device.send({sha: big})
        device.send({sha: big})
    assert said == [f"sending {(big.stat().st_size - arrived) / (1 << 20):.1f} MB in 1 file"]
    assert (board.folder / "files" / sha).read_bytes() == big.read_bytes()
    assert not part.exists()


def test_a_damaged_part_is_not_used(board: Board, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(100_000))
    sha = file_sha256(file)
    (board.folder / "files").mkdir(parents=True)
    (board.folder / "files" / f"{sha}.part").write_bytes(b"x" * 50_000)
    with pytest.raises(RemoteError, match="what arrived on pi is damaged"), connect(SshTransport("pi")) as device:
        device.send({sha: file})
    with connect(SshTransport("pi")) as device:
        device.send({sha: file})
    assert (board.folder / "files" / sha).read_bytes() == bytes(100_000)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_stopped_half_way(board: Board, artifact: Path, how: signal.Signals) -> None:
    with profile_process(board, artifact, "--min-seconds", "600") as process:
        said(process, "stages at 8 tokens")
        assert len(board.runs) == 1
        assert measuring(board.folder)
        os.kill(process.pid, how)
        assert process.stderr is not None
        rest = process.stderr.read()
    assert process.returncode == (1 if how is signal.SIGINT else -9)
    assert "Traceback" not in rest
    wait_for(lambda: board.runs == [] and not measuring(board.folder), "cleaning up")
    with connect(SshTransport("pi")) as device:
        assert device.facts.packages


def test_lost_connection(board: Board, artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = tmp_path / "pid"
    wrapper = tmp_path / "wrapper"
    wrapper.write_text(f'#!/bin/sh\necho $$ > {pid}\nexec {os.environ[ssh.COMMAND_VARIABLE]} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv(ssh.COMMAND_VARIABLE, str(wrapper))
    with profile_process(board, artifact, "--min-seconds", "600") as process:
        said(process, "stages at 8 tokens")
        os.kill(int(pid.read_text()), signal.SIGKILL)
        assert process.stderr is not None
        rest = process.stderr.read()
    assert process.returncode == 1
    assert "error: " in rest and "run the command again" in rest and "Traceback" not in rest
    wait_for(lambda: board.runs == [] and not measuring(board.folder), "cleaning up")


def test_the_agent_is_killed(board: Board, artifact: Path) -> None:
    with profile_process(board, artifact, "--min-seconds", "600") as process:
        said(process, "stages at 8 tokens")
        holder = (board.folder / "lock").read_text()  # process 123, since 12:34:56
        os.kill(int(holder.split()[1].rstrip(",")), signal.SIGKILL)
        assert process.stderr is not None
        rest = process.stderr.read()
    assert process.returncode == 1 and "the connection to pi was lost; run" in rest
    wait_for(lambda: not measuring(board.folder), "the end of what it had started")
    with connect(SshTransport("pi")):
        assert board.runs == []


def test_what_a_killed_run_left_is_removed_by_the_next(board: Board) -> None:
    left = board.folder / "runs" / "left"
    left.mkdir(parents=True)
    (left / "texts.jsonl").write_text('{"text": "private"}\n')
    with connect(SshTransport("pi")):
        assert board.runs == []
