"""Ctrl-C in every long command: one line, exit code 1, and nothing half-written."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.conftest import RATES, Cli, colour_rows, command, environment, write_rows


def interrupt(words: list[str], at: str) -> str:
    """Starts a command, sends SIGINT as soon as `at` is on its stderr, and returns what stderr says from there."""
    with subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,  # as a terminal does, the signal goes to the whole group
    ) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if at in line:
                break
        else:
            pytest.fail(f"{at!r} was never said: {said}")
        time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait() == 1, rest
    assert "Traceback" not in rest and "Exception ignored" not in rest
    (last,) = [line for line in rest.splitlines() if line.startswith("interrupted")]
    return last


@pytest.mark.slow
def test_train_goes_on_where_it_was_interrupted(cli: Cli, source: Path, data: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    words = ["train", "--model", str(source), "--data", str(data), "--output", str(bundle), *RATES, "--epochs", "20"]
    said = interrupt(command(*words), at="epoch 2:")
    assert str(tmp_path / "bundle.partial") in said and "--resume" in said
    assert not bundle.exists()
    cli(*words).failed(2, "unfinished training", "--resume")
    resumed = cli(*words, "--resume", "--format", "json")
    assert resumed.record["epochs"] == 20
    assert "resuming from checkpoint-" in resumed.err
    assert "epoch 1:" not in resumed.err  # epoch 2 may be run again: its checkpoint comes after the line
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.slow
def test_export_leaves_the_old_artifact(bundle: Path, artifact: Path, tmp_path: Path) -> None:
    output = tmp_path / "artifact"
    words = command("export", bundle, "--target", "rpi4", "--output", output, "--overwrite")
    for step in ("loading the bundle", "writing tail_w050"):
        interrupt(words, at=step)
        assert list(tmp_path.iterdir()) == []
    shutil.copytree(artifact, output)
    interrupt(words, at="quantizing")
    assert {path.name: path.read_bytes() for path in output.iterdir()} == {
        path.name: path.read_bytes() for path in artifact.iterdir()
    }
    assert list(tmp_path.iterdir()) == [output]


@pytest.mark.slow
def test_evaluate_profile_and_run(artifact: Path, bundle: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", colour_rows(20_000, 0))
    interrupt(command("evaluate", artifact, "--data", rows), at="answering 20,000 texts")
    interrupt(command("evaluate", bundle, "--data", rows), at="answering 20,000 texts")
    interrupt(command("profile", artifact, "--output", tmp_path / "profile.json"), at="stages at 16 tokens")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_run_with_an_output_file(artifact: Path, tmp_path: Path) -> None:
    """The file under its temporary name is there while the rows come in, and gone after Ctrl-C."""
    with subprocess.Popen(
        command("run", artifact, "--input", "-", "--output", tmp_path / "answers.jsonl"),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        assert process.stdin is not None and process.stderr is not None
        process.stdin.write(b'{"text": "a red car"}\n' * 10)
        process.stdin.flush()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not any(path.stat().st_size for path in tmp_path.iterdir()):
            time.sleep(0.02)
        assert [path.suffix for path in tmp_path.iterdir()] == [".tmp"]
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b"interrupted\n"
        assert process.wait() == 1
    assert list(tmp_path.iterdir()) == []
