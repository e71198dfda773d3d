"""Several devices side by side, through the command line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from sharcs_edge.errors import UsageError
from sharcs_edge.remote.fleet import read_fleet
from tests.cli.conftest import Cli, command, environment
from tests.cli.conftest import cli as cli  # a fixture
from tests.remote.conftest import Boards, wait_for
from tests.remote.test_ssh import job, measuring, said

QUICK = ("--lengths", "8", "--min-samples", "2", "--min-seconds", "0")


def write(folder: Path, text: str) -> Path:
    file = folder / "fleet.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_one_failing_device_does_not_lose_the_others(boards: Boards, artifact: Path, tmp_path: Path, cli: Cli) -> None:
    kitchen, hall = boards("pi"), boards("hall")
    boards("off", Port=9)
    fleet = write(
        tmp_path,
        '[[device]]\nname = "kitchen"\nhost = "pi"\n[[device]]\nhost = "off"\n'
        f'[[device]]\nhost = "hall"\nthreads = 2\nartifact = "{os.path.relpath(artifact, tmp_path)}"\n',
    )
    output, report = tmp_path / "records.jsonl", tmp_path / "report.html"
    done = cli("profile", artifact, "--hosts", fleet, *QUICK, "--output", output, "--report", report)
    done.failed(1, "1 of 3 devices failed", "off: cannot reach off (", "Connection refused")
    records = [json.loads(line) for line in output.read_text().splitlines()]
    assert [(record["remote"], record["settings"]["threads"]) for record in records] == [("kitchen", 1), ("hall", 2)]
    rows = {line.split()[0] for line in done.out.splitlines() if line.strip()}
    assert {"kitchen", "hall"} <= rows and "off" not in rows, done.out  # names are whole in 80 columns
    assert "kitchen: stages at 8 tokens" in done.err and "hall: stages at 8 tokens" in done.err
    assert "kitchen" in report.read_text() and "hall" in report.read_text()
    assert kitchen.runs == [] and hall.runs == []


def test_no_device_answers(boards: Boards, artifact: Path, tmp_path: Path, cli: Cli) -> None:
    boards("off", Port=9)
    output = tmp_path / "records.jsonl"
    fleet = write(tmp_path, '[[device]]\nhost = "off"\n')
    cli("profile", artifact, "--hosts", fleet, *QUICK, "--output", output).failed(1, "1 of 1 devices failed")
    assert not output.exists()


def test_interrupted(boards: Boards, artifact: Path, tmp_path: Path) -> None:
    pair = [boards("one"), boards("two")]
    fleet = write(tmp_path, '[[device]]\nhost = "one"\n[[device]]\nhost = "two"\n')
    words = command("profile", artifact, "--hosts", fleet, "--lengths", "8", "--min-seconds", "600")
    pipe = subprocess.PIPE
    with subprocess.Popen(
        words, stdout=pipe, stderr=pipe, text=True, env=environment(), start_new_session=True
    ) as process:
        said(process, "one: stages at 8 tokens")
        os.kill(process.pid, signal.SIGINT)
        assert process.stderr is not None
        rest = process.stderr.read()
    assert process.returncode == 1
    assert "interrupted" in rest and "Traceback" not in rest
    for board in pair:
        wait_for(lambda board=board: board.runs == [] and not measuring(board.folder), "cleaning up")  # type: ignore[misc]


def test_every_problem_of_the_file_at_once(artifact: Path, tmp_path: Path) -> None:
    fleet = write(
        tmp_path,
        'colour = "red"\n[[device]]\nhost = "pi"\nadb = "R58N"\nthreads = 0\n[[device]]\nname = "x"\nhost = "-v"\n'
        '[[device]]\nname = "x"\nhost = 5\nwidth = 1\n[[device]]\n',
    )
    with pytest.raises(UsageError) as caught:
        read_fleet(fleet, job(artifact))
    for part in (
        "8 problems",
        "unknown field colour @ $;",
        "expected a whole number of 1 or more, got 0 @ $.device[0].threads",
        "expected either host or adb @ $.device[0]",
        "the host is '-v'; expected a destination of ssh such as user@raspberrypi @ $.device[1].host",
        "expected text, got 5 @ $.device[2].host",
        "unknown field width @ $.device[2]",
        "expected either host or adb @ $.device[3]",
        '"x" stands for 2 devices @ $.device',
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", r"expected \[\[device\]\] tables, one for each device @ \$.device"),
        ("device = 3", r"expected \[\[device\]\] tables"),
        ("[[device", "is not TOML"),
    ],
)
def test_no_list_of_devices(artifact: Path, tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        read_fleet(write(tmp_path, text), job(artifact))


def test_bad_options(artifact: Path, tmp_path: Path, cli: Cli) -> None:
    fleet = write(tmp_path, '[[device]]\nhost = "pi"\n')
    cli("profile", artifact, "--hosts", fleet, "--host", "pi").failed(2, "--host and --hosts name different places")
    cli("profile", artifact, "--hosts", fleet, "--save").failed(2, "--save keeps the times of one device")
    cli("profile", artifact, "--hosts", tmp_path / "none.toml").failed(2, "cannot read", "No such file")


def test_save_puts_the_times_of_the_device_into_the_artifact(
    boards: Boards, artifact: Path, tmp_path: Path, cli: Cli
) -> None:
    boards("pi")
    copy = Path(shutil.copytree(artifact, tmp_path / "artifact"))
    record = cli("profile", copy, "--host", "pi", *QUICK, "--save", "--format", "json").record
    saved = json.loads((copy / "latency.json").read_bytes())
    assert saved["device"] == record["device"]
    assert saved["lengths"] == [8]
