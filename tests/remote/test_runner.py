"""Profiling a device without Python by the C tools, which `make test-c` builds and names in SHARCS_EDGE_C_TOOLS."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from sharcs_edge.errors import UsageError
from sharcs_edge.profile.records import parse_record
from sharcs_edge.remote.adb import AdbTransport
from sharcs_edge.remote.bare import connect_bare
from sharcs_edge.remote.device import connect
from sharcs_edge.remote.mirror import Mirror
from sharcs_edge.remote.profile import profile_remote
from sharcs_edge.remote.runner import PROGRAM, Runner
from sharcs_edge.remote.ssh import SshTransport
from sharcs_edge.remote.transport import RemoteError
from sharcs_edge_runtime import fingerprint
from sharcs_edge_runtime import profile as profiler
from sharcs_edge_runtime.artifact import file_sha256
from sharcs_edge_runtime.budget import Budget, Rule
from sharcs_edge_runtime.fingerprint import UNAVAILABLE
from sharcs_edge_runtime.profile import Texts
from tests.cli.conftest import Cli, command, environment
from tests.cli.conftest import cli as cli  # a fixture
from tests.remote.conftest import Boards, wait_for
from tests.remote.test_adb import Phones
from tests.remote.test_adb import adb_server as adb_server  # fixtures
from tests.remote.test_adb import phones as phones
from tests.remote.test_ssh import QUICK, job, measuring, retarget, said
from tests.remote.test_ssh import small_disk as small_disk
from tests.runtime.conftest import build_artifact, point, write_points

BUILT = "SHARCS_EDGE_C_TOOLS"
TOOLS = (
    *("sh", "cat", "chmod", "cp", "cut", "date", "df", "find", "flock", "ln", "mkdir", "mv", "rm", "sed", "sha256sum"),
    *("tail", "touch", "uname", "wc"),
)
TEXTS = Texts(("turn on the light", "play some music ünd a table", "is the light on"), "house.jsonl")
MACHINE = os.uname().machine
ELF = {"x86_64": 62, "aarch64": 183, "arm": 40}


@pytest.fixture(scope="session")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = os.environ.get(BUILT)
    if built is None:
        pytest.skip("THE C TOOLS ARE NOT BUILT: profiling without Python is tested by: make test-c")
    folder = tmp_path_factory.mktemp("runner")
    shutil.copy(Path(built, PROGRAM), folder)
    spec = find_spec("onnxruntime")
    assert spec is not None and spec.origin is not None
    (engine,) = (Path(spec.origin).parent / "capi").glob("libonnxruntime.so.*")
    (folder / engine.name).symlink_to(engine)
    return folder


def elf(file: Path, machine: str) -> Path:
    """The head of a program for that machine."""
    file.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00" + ELF[machine].to_bytes(2, "little") + bytes(44))
    return file


def fake(folder: Path, machine: str = MACHINE, *names: str) -> Path:
    """A runner that cannot run."""
    folder.mkdir()
    for name in names or (PROGRAM, "libonnxruntime.so"):
        elf(folder / name, machine)
    return folder


def keys(value: Any) -> Any:
    """The fields of a record, without what is a matter of the machine or of the answers."""
    if isinstance(value, dict):
        return {key: keys(each) for key, each in value.items() if key not in ("points", "thermal")}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [keys(value[0])]
    return None


def test_the_record_has_the_fields_of_python_s(
    boards: Boards, artifact: Path, runner: Path, tmp_path: Path, cli: Cli
) -> None:
    board = boards("bare", only=TOOLS)
    lines: list[str] = []
    record = profile_remote(SshTransport("bare"), replace(job(artifact, TEXTS), runner=runner), lines.append)
    python = profiler.profile(artifact, TEXTS, QUICK)
    assert keys({**record, "remote": None}) == keys({**python, "remote": None})
    assert parse_record(json.loads(json.dumps(record, allow_nan=False)), "it") == record
    for part in ("artifact", "settings", "budget", "texts", "operating_points", "kind"):
        assert record[part] == python[part], part
    assert {**record["parity"], "failures": []} == python["parity"]
    assert [(row["stage"], row["width"], row["macs"]) for row in record["stages"]] == [
        (row["stage"], row["width"], row["macs"]) for row in python["stages"]
    ]
    for name in ("shares", "points", "agreement", "escalated"):
        mine, theirs = record["mix"][name], python["mix"][name]
        assert ([row["share"] for row in mine] if name == "shares" else mine) == (
            [row["share"] for row in theirs] if name == "shares" else theirs
        )
    same = ("model", "machine", "cpu", "cores", "features", "hwcap", "ram_mb", "os", "kernel", "libc")
    assert {name: record["device"][name] for name in same} == {name: python["device"][name] for name in same}
    assert record["device"]["python"] == record["runtime"]["numpy"] == UNAVAILABLE
    assert record["runtime"]["sharcs_edge_runtime"].endswith(" (C)")
    assert record["runtime"]["affinity"] == python["runtime"]["affinity"]
    assert record["runtime"]["active_threads"] == 1
    assert (
        record["cold_start"]["memory"]["after_runs"]["private_mb"]
        > record["cold_start"]["memory"]["interpreter"]["private_mb"]
    )
    assert {"stages at 8 tokens", "routed against full width on 3 texts"} <= {*lines}
    assert board.runs == [] and not list(board.folder.rglob("*.jsonl"))

    earlier, page = tmp_path / "python.json", tmp_path / "report.html"
    earlier.write_text(json.dumps(python))
    options = ("--compare", earlier, "--report", page, "--format", "json", *quick())
    done = cli("profile", artifact, "--host", "bare", "--runner", runner, *options)
    assert done.code in (0, 3), done.err
    comparison = json.loads(done.out)["comparison"]
    assert {"stages", "start", "memory"} <= {change["group"] for change in comparison["changes"]}
    assert any("(C)" in note for note in comparison["notes"])
    assert "sharcs-edge-runtime 0." in page.read_text() and "(C)" in page.read_text()


def quick() -> tuple[str, ...]:
    return ("--lengths", "8", "--min-samples", "2", "--min-seconds", "0")


def test_android_with_its_own_tools(phones: Phones, artifact: Path, runner: Path, tmp_path: Path) -> None:
    toybox, mksh = shutil.which("toybox"), shutil.which("mksh")
    if toybox is None or mksh is None:
        pytest.skip("NO TOYBOX, NO MKSH: the shell of Android is not tested; on Debian: apt install toybox mksh")
    phone = phones(path=bare_path(tmp_path, toybox, mksh))
    lines: list[str] = []
    transport = AdbTransport(phone.serial)
    task = replace(job(artifact), runner=runner)
    record = profile_remote(transport, task, lines.append)
    assert (record["remote"], record["device"]["os"]) == (phone.serial, "Android 14")
    assert record["device"]["model"] == "Maker Model"
    assert any(line.startswith("sending") for line in lines)
    assert any("Android 14" in line for line in lines)
    lines.clear()
    profile_remote(transport, task, lines.append)
    assert not [line for line in lines if line.startswith("sending")]
    assert phone.runs == []


def bare_path(folder: Path, toybox: str, mksh: str) -> str:
    """A PATH with what an Android has on it."""
    bin = folder / "android"
    bin.mkdir()
    for name in {*subprocess.run([toybox], capture_output=True, text=True, check=True).stdout.split()} & {*TOOLS}:
        (bin / name).symlink_to(toybox)
    (bin / "sh").symlink_to(mksh)
    (bin / "getprop").write_text(
        "#!/bin/sh\ncase $1 in *release) echo 14 ;; *manufacturer) echo Maker ;; *) echo Model ;; esac\n"
    )
    (bin / "getprop").chmod(0o755)
    return str(bin)


def test_each_task_and_budget(boards: Boards, runner: Path, tmp_path: Path) -> None:
    boards("bare", only=TOOLS)
    folder = build_artifact(tmp_path / "labels", task="multi_label")
    write_points(
        folder, point((0.5, 0.0, -0.5), (0.7, 0.6), macs=100.0), point((0.0, 0.25, 0.0), (0.9, 2.0), macs=150.0)
    )
    budget = Budget(max_width=0.5, memory_mb=200.0, when=(Rule(battery_below=0.2, throttled=True, width=0.25),))
    many = replace(QUICK, threads=2)
    record = profile_remote(SshTransport("bare"), replace(job(folder, TEXTS, many, budget), runner=runner))
    python = profiler.profile(folder, TEXTS, many, budget=budget)
    assert record["budget"] == python["budget"]
    assert record["mix"]["points"] == python["mix"]["points"] == {"0": 1.0}
    assert record["mix"]["answered_by"] == python["mix"]["answered_by"]
    assert record["runtime"]["thread_pool"] == "own"
    values = build_artifact(tmp_path / "value", task="regression", labels=("similarity",))
    record = profile_remote(SshTransport("bare"), replace(job(values, TEXTS), runner=runner))
    assert record["mix"]["mean_difference"] == profiler.profile(values, TEXTS, QUICK)["mix"]["mean_difference"]
    pairs = build_artifact(tmp_path / "pairs", text_inputs=2, token_types=False)
    two = Texts((("turn on the light", "is the light on"),), "pairs.jsonl")
    assert profile_remote(SshTransport("bare"), replace(job(pairs, two), runner=runner))["parity"]["passed"]
    wide = replace(job(folder, TEXTS, budget=Budget(mean_ms=1e-9, max_width=0.01)), runner=runner)
    with pytest.raises(UsageError, match=r"^on bare: .*width"):
        profile_remote(SshTransport("bare"), wide)


def test_fleet(boards: Boards, artifact: Path, runner: Path, tmp_path: Path, cli: Cli) -> None:
    boards("bare", only=TOOLS)
    boards("pi")
    fleet = tmp_path / "fleet.toml"
    fleet.write_text(
        f'[[device]]\nhost = "bare"\nrunner = "{os.path.relpath(runner, tmp_path)}"\n[[device]]\nhost = "pi"\n'
    )
    output = tmp_path / "records.jsonl"
    cli("profile", artifact, "--hosts", fleet, *quick(), "--output", output)
    versions = [json.loads(line)["runtime"]["sharcs_edge_runtime"] for line in output.read_text().splitlines()]
    assert [version.endswith("(C)") for version in versions] == [True, False]


def test_times_are_saved(boards: Boards, artifact: Path, runner: Path, tmp_path: Path, cli: Cli) -> None:
    boards("bare", only=TOOLS)
    copy = Path(shutil.copytree(artifact, tmp_path / "artifact"))
    cli("profile", copy, "--host", "bare", "--runner", runner, *quick(), "--save", "--format", "json")
    saved = json.loads((copy / "latency.json").read_bytes())
    assert saved["runtime"]["sharcs_edge_runtime"].endswith("(C)") and saved["lengths"] == [8]


def test_what_is_asked_of_the_device_is_all_that_is_read(
    boards: Boards, artifact: Path, runner: Path, tmp_path: Path
) -> None:
    boards("bare", only=TOOLS)
    with connect_bare(SshTransport("bare")) as device:
        files = Runner.open(runner).files
        hashes = {name: file_sha256(path) for name, path in files.items()}
        device.send({hashes[name]: path for name, path in files.items()})
        device.place(hashes)
        with device.start(PROGRAM, "artifact", "--steps") as program:
            mirror = Mirror(tmp_path / "mirror")
            mirror.program = program
            state = mirror.state()
    here = fingerprint.read_state()
    assert {name: value == UNAVAILABLE for name, value in state.items()} == {
        name: value == UNAVAILABLE for name, value in here.items() if name != "throttled" or value == UNAVAILABLE
    }


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_stopped_half_way(boards: Boards, artifact: Path, runner: Path, how: signal.Signals) -> None:
    board = boards("bare", only=TOOLS)
    words = command("profile", artifact, "--host", "bare", "--runner", runner, "--lengths", "8", "--min-seconds", "600")
    pipe = subprocess.PIPE
    with subprocess.Popen(
        words, stdout=pipe, stderr=pipe, text=True, env=environment(), start_new_session=True
    ) as process:
        said(process, "stages at 8 tokens")
        assert measuring(board.folder)
        os.kill(process.pid, how)
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
    wait_for(lambda: board.runs == [] and not measuring(board.folder), "cleaning up")


def test_the_program_is_killed(boards: Boards, artifact: Path, runner: Path, tmp_path: Path) -> None:
    board = boards("bare", only=TOOLS)
    words = command("profile", artifact, "--host", "bare", "--runner", runner, "--lengths", "8", "--min-seconds", "600")
    pipe = subprocess.PIPE
    with subprocess.Popen(
        words, stdout=pipe, stderr=pipe, text=True, env=environment(), start_new_session=True
    ) as process:
        said(process, "stages at 8 tokens")
        (pid,) = [pid for pid in measuring(board.folder) if Path(f"/proc/{pid}/comm").read_text().startswith("sharcs")]
        os.kill(pid, signal.SIGKILL)
        assert process.stderr is not None
        rest = process.stderr.read()
    assert "sharcs-edge-bench on bare was stopped by SIGKILL, as when memory runs out" in rest.replace("\n", " ")
    wait_for(lambda: board.runs == [], "cleaning up")


def refused(folder: Path, artifact: Path, *parts: str, kind: type[Exception] = UsageError, name: str = "bare") -> None:
    with pytest.raises(kind) as caught:
        profile_remote(SshTransport(name), replace(job(artifact), runner=folder))
    assert "\n" not in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


def test_a_runner_for_another_machine(boards: Boards, artifact: Path, tmp_path: Path) -> None:
    board = boards("bare", only=TOOLS)
    other = "aarch64" if MACHINE == "x86_64" else "x86_64"
    refused(fake(tmp_path / "other", other), artifact, f"programs for {other}, and bare is {MACHINE}")
    assert not list((board.folder / "files").iterdir())
    mixed = fake(tmp_path / "mixed")
    elf(mixed / "libonnxruntime.so", other)
    refused(mixed, artifact, f"libonnxruntime.so is built for {other}", f"{PROGRAM} beside it for {MACHINE}")


def test_a_runner_that_lacks_something(artifact: Path, tmp_path: Path) -> None:
    refused(tmp_path / "none", artifact, "none has no sharcs-edge-bench: build it")
    refused(fake(tmp_path / "bare", MACHINE, PROGRAM), artifact, "has no libonnxruntime.so: copy that of ONNX Runtime")
    text = fake(tmp_path / "text")
    (text / PROGRAM).write_text("#!/bin/sh\n")
    refused(text, artifact, "is no program or library for Linux or Android (ELF)")


def test_a_program_that_does_not_start(boards: Boards, artifact: Path, tmp_path: Path) -> None:
    board = boards("bare", only=TOOLS)
    refused(fake(tmp_path / "broken"), artifact, "does not start on bare (", kind=RemoteError)
    wait_for(lambda: board.runs == [], "cleaning up")


def test_a_shell_that_lacks_tools(boards: Boards, artifact: Path, tmp_path: Path) -> None:
    boards("bare", only=tuple(tool for tool in TOOLS if tool not in ("flock", "sha256sum")))
    refused(fake(tmp_path / "runner"), artifact, "bare has not got flock sha256sum:", "toybox", kind=RemoteError)


def test_artifacts_that_the_tools_do_not_run(boards: Boards, artifact: Path, tmp_path: Path) -> None:
    boards("bare", only=TOOLS)
    other = "rpi4" if MACHINE == "x86_64" else "x86-64"
    refused(fake(tmp_path / "runner"), retarget(artifact, tmp_path / "other", other), f"was exported for {other}")


def test_one_at_a_time(boards: Boards, artifact: Path, tmp_path: Path) -> None:
    boards("bare")
    with connect(SshTransport("bare")):
        refused(
            fake(tmp_path / "runner"), artifact, "another sharcs-edge is at work on bare (process", kind=RemoteError
        )
    with connect_bare(SshTransport("bare")) as device:
        holder = (Path(device.folder) / "lock").read_text()
        with pytest.raises(RemoteError, match=holder.strip()), connect(SshTransport("bare")):
            pass


def test_a_transfer_goes_on_where_it_was_cut_off(boards: Boards, tmp_path: Path) -> None:
    board = boards("bare", only=TOOLS)
    big = tmp_path / "big"
    big.write_bytes(os.urandom(300_000))
    sha = file_sha256(big)
    part = board.folder / "files" / f"{sha}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(big.read_bytes()[:200_000])
    lines: list[str] = []
    with connect_bare(SshTransport("bare"), lines.append) as device:
        device.send({sha: big})
    assert lines == ["sending 97.7 kB in 1 file"]
    assert (board.folder / "files" / sha).read_bytes() == big.read_bytes()
    part.write_bytes(b"x" * 1000)
    (board.folder / "files" / sha).unlink()
    with (
        pytest.raises(RemoteError, match="what arrived on bare is damaged"),
        connect_bare(SshTransport("bare")) as device,
    ):
        device.send({sha: big})
    assert not part.exists()


@pytest.fixture
def full(boards: Boards, small_disk: Path) -> Iterator[Callable[[], None]]:
    boards("full", cache=small_disk, only=TOOLS)

    def fill() -> None:
        for index in range(40):  # room for bytes, none for so many files
            (small_disk / str(index)).touch()

    yield fill


def test_disk_full_on_the_way(full: Callable[[], None], artifact: Path, tmp_path: Path) -> None:
    full()
    refused(
        fake(tmp_path / "runner"), artifact, "cannot write to", "No space left on device", kind=RemoteError, name="full"
    )


def test_too_little_room(full: None, small_disk: Path, artifact: Path, tmp_path: Path) -> None:
    (small_disk / "photos").write_bytes(bytes(20 << 20))
    refused(fake(tmp_path / "runner"), artifact, "the disk of full is too full", kind=RemoteError, name="full")


def test_it_is_for_other_machines(artifact: Path, tmp_path: Path, cli: Cli) -> None:
    cli("profile", artifact, "--runner", tmp_path).failed(2, "--runner measures on another machine", "--adb")
