"""`run` in pipes, what goes to which stream, and readers that leave early."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from sharcs_edge.cli import main
from tests.cli.conftest import Cli, command, environment, run_process


def test_plain_lines_and_json_lines_give_the_same_answers(cli: Cli, artifact: Path, tmp_path: Path) -> None:
    texts = ["the red car", "a  blue, tree", "ein großes grün 家"]
    plain = cli("run", artifact, "--format", "json", stdin="\r\n".join(texts).encode()).lines
    rows = "".join(json.dumps({"text": text, "id": 7}) + "\n\n" for text in texts).encode()
    as_json = cli("run", artifact, "--input", "-", "--format", "json", stdin=rows).lines
    given = cli("run", artifact, *texts, "--format", "json").lines
    for answers in (plain, as_json, given):
        assert [answer["text"] for answer in answers] == texts
        assert [answer["scores"] for answer in answers] == [answer["scores"] for answer in given]


def test_output_file_holds_json_lines_and_stdout_nothing(cli: Cli, artifact: Path, data: Path, tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    outcome = cli("run", artifact, "--input", data / "test.jsonl", "--output", file)
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err.startswith("40 texts: ")
    assert len([json.loads(line) for line in file.read_text().splitlines()]) == 40
    assert [path.name for path in tmp_path.iterdir()] == ["answers.jsonl"]
    dash = cli("run", artifact, "a red car", "--output", "-")
    assert dash.lines[0]["label"] in ("blue", "green", "red")


def test_a_bad_row_is_named_and_no_file_is_written(cli: Cli, artifact: Path, tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_text("old\n")
    bad = {
        b'{"text": "a"}\n{"text": ""}\n': "line 2",
        b'{"text": "a"}\n{"text": 3}\n': "line 2",
        b'{"text": "a"}\n{"txt": "b"}\n': "no column 'text'",
        b'{"text": "a"}\nnot json\n': "line 2",
        b'{"text": "a"}\n{"text": "\xff"}\n': "line 2",
        b"": "no rows",
    }
    for stdin, part in bad.items():
        cli("run", artifact, "--input", "-", "--output", file, stdin=stdin).failed(1, "standard input", part)
    for stdin, part in {
        b"a\n\nb\n": "line 2: the text is empty",
        b"a\n\xff\n": "line 2: byte 0xff",
        b"": "no text",
    }.items():
        cli("run", artifact, "--output", file, stdin=stdin).failed(1, "standard input", part)
    assert file.read_text() == "old\n"
    assert [path.name for path in tmp_path.iterdir()] == ["answers.jsonl"]
    cli("run", artifact, "a", "").failed(1, "TEXT 2", "empty")
    cli("run", artifact, "a", "--input", "-").failed(2, "TEXT and --input")
    cli("run", artifact, "a", "--output", tmp_path / "no" / "file").failed(2, "no folder")


def test_answers_come_before_the_input_ends(artifact: Path) -> None:
    """A line in, a line out: a bad line later takes nothing back."""
    with subprocess.Popen(
        command("run", artifact, "--format", "json"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        for text in ("a red car", "the blue tree"):
            process.stdin.write(text.encode() + b"\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["text"] == text
        process.stdin.write(b"\n")
        process.stdin.close()
        assert process.stdout.read() == b""
        assert b"error: standard input, line 3" in process.stderr.read()
        assert process.wait() == 1


def test_aligned_lines(cli: Cli, artifact: Path) -> None:
    out = cli("run", artifact, "a red car", "\x1b[31mred\x07 the big 家" * 9).out.splitlines()
    assert out[0].split() == ["label", "score", "width", "route", "ms", "text"]
    assert out[1].endswith("a red car")
    assert "\x1b" not in out[2] and "\x07" not in out[2]
    assert out[1].index("a red car") == out[0].index("text")


def test_a_reader_that_leaves_is_no_error(artifact: Path) -> None:
    text = b"a red car\n" * 5000
    for words in (("devices", "list", "--format", "json"), ("run", str(artifact)), ("inspect", str(artifact))):
        process = subprocess.Popen(
            command(*words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
        )
        assert process.stdout is not None
        process.stdout.close()
        _, err = process.communicate(text)
        assert (process.returncode, err) == (1, b""), words


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_stdout(artifact: Path) -> None:
    for words in (("inspect", artifact), ("devices", "list", "--format", "json"), ("run", artifact, "a red car")):
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(
                command(*words), stdout=full, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=environment()
            )
        assert done.returncode == 1
        assert done.stderr.decode().startswith("error: No space left on device")
        assert len(done.stderr.splitlines()) == 1


def test_devices_and_pipes_are_written_to_as_they_are(cli: Cli, artifact: Path, tmp_path: Path) -> None:
    """A rename would replace /dev/null by a file."""
    assert cli("run", artifact, "a red car", "--output", "/dev/null").code == 0
    assert Path("/dev/null").is_char_device()
    link = tmp_path / "link.jsonl"
    link.symlink_to(tmp_path / "real.jsonl")
    assert cli("run", artifact, "a red car", "--output", link).code == 0
    assert link.is_symlink() and (tmp_path / "real.jsonl").is_file()


def test_json_is_valid_whatever_the_encoding_of_stdout(artifact: Path) -> None:
    rows = '{"text": "é 家 \U0001f600"}'.encode()
    for encoding in ("ascii", "latin-1", "utf-8"):
        done = subprocess.run(
            command("run", artifact, "--input", "-", "--format", "json"),
            input=rows,
            capture_output=True,
            env=environment(PYTHONIOENCODING=encoding),
            check=True,
        )
        assert json.loads(done.stdout.decode(encoding))["text"] == "é 家 \U0001f600"
        table = subprocess.run(
            command("run", artifact, "--input", "-"),
            input=rows,
            capture_output=True,
            env=environment(PYTHONIOENCODING=encoding),
        )
        assert table.returncode == 0, table.stderr


def test_numbers_that_json_lacks_become_null() -> None:
    from sharcs_edge.render._json import write_json

    stream = io.StringIO()
    write_json({"worst": float("nan"), "rows": (1.5, float("inf"))}, stream)
    assert json.loads(stream.getvalue()) == {"worst": None, "rows": [1.5, None]}


def test_an_unexpected_fault_is_one_line_unless_debug_is_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sharcs_edge import device

    def fault() -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(device, "list_devices", fault)
    assert main(["devices", "list"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("internal error: ZeroDivisionError: division by zero; run again as `sharcs-edge --debug")
    assert len(err.splitlines()) == 1
    assert main(["--debug", "devices", "list"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_debug_keeps_the_exit_code(artifact: Path) -> None:
    outcome = run_process("--debug", "run", artifact, "a", "--width", "0.3")
    assert outcome.code == 2
    assert "Traceback" in outcome.err
    assert outcome.err.splitlines()[-1].startswith("error: there is no width 0.3")


def test_a_terminal_is_told_how_to_end(artifact: Path) -> None:
    terminal, keyboard = pty.openpty()
    with subprocess.Popen(
        command("run", artifact), stdin=keyboard, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as process:
        os.write(terminal, b"a red car\n\x04")
        out, err = process.communicate(timeout=60)
    os.close(terminal)
    os.close(keyboard)
    assert process.returncode == 0
    assert b"Ctrl-D ends" in err
    assert out.splitlines()[1].endswith(b"a red car")
