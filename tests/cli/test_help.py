"""What `--help` shows, and that its examples are commands that work."""

from __future__ import annotations

import re
import shlex
from itertools import islice
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import sharcs_edge
from sharcs_edge.assets import demo_model_path
from sharcs_edge.cli import app
from sharcs_edge.data import Columns, read_examples
from sharcs_edge.errors import MissingDependencyError
from tests.cli.conftest import Cli, write_rows

STORY = ["train", "export", "calibrate", "verify", "evaluate", "profile", "plan", "run", "inspect", "devices"]
COMMANDS = [[name] for name in STORY[:-1]] + [["devices", "list"], ["devices", "show"]]


def help_of(words: list[str]) -> str:
    result = CliRunner().invoke(app, [*words, "--help"])
    assert result.exit_code == 0
    return re.sub(r"\s+", " ", result.stdout)


def examples(words: list[str]) -> list[list[str]]:
    """The example commands of a help text, as typed."""
    command = typer.main.get_command(app)
    for word in words:
        command = command.commands[word]  # type: ignore[attr-defined]
    return [shlex.split(line) for line in re.findall(r"Example: `(.*?)`", command.help or "", re.DOTALL)]


def test_commands_stand_in_the_order_of_the_story() -> None:
    text = help_of([])
    assert sorted(STORY, key=lambda name: text.index(f"│ {name} ")) == STORY


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_an_example_and_prints_json(words: list[str]) -> None:
    assert f"Example: sharcs-edge {' '.join(words)}" in help_of(words)
    assert examples(words)
    assert re.search(r"--format <table\|json(\|markdown)?>", help_of(words))


def test_no_command_at_all_shows_help_as_a_usage_error(cli: Cli) -> None:
    for words in ([], ["devices"]):
        outcome = cli(*words)
        assert outcome.code == 2
        assert "Usage:" in outcome.out
        assert outcome.err == ""


def test_wrong_usage_is_one_sentence(cli: Cli) -> None:
    cli("trian").failed(2, "No such command 'trian'", "`sharcs-edge --help`")
    cli("run").failed(2, "Missing argument 'ARTIFACT'", "`sharcs-edge run --help`")
    cli("verify", "a", "--what").failed(2, "No such option: --what")
    cli("inspect", "a", "--format", "yaml").failed(2, "--format", "yaml")
    cli("--what").failed(2, "No such option: --what")


def test_version(cli: Cli) -> None:
    outcome = cli("--version")
    assert (outcome.code, outcome.out) == (0, f"{sharcs_edge.__version__}\n")


@pytest.mark.slow
def test_the_examples_work(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the story, each on what the ones before it made, with the packaged weights."""
    try:
        demo_model_path()
    except MissingDependencyError as error:
        pytest.skip(str(error))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts.jsonl").write_text('{"text": "play some jazz"}\n')
    rows = [{"text": row.text, "label": row.label} for row in islice(read_examples("demo", Columns()), 40)]
    write_rows(tmp_path / "held_out.jsonl", rows)
    write_rows(tmp_path / "unlabelled.jsonl", [{"text": row["text"]} for row in rows])
    for words in COMMANDS:
        for example in examples(words):
            outcome = cli(*example[1:])
            assert outcome.code == 0, (example, outcome.err)
    given = {"texts.jsonl", "held_out.jsonl", "unlabelled.jsonl"}
    made = {"bundle", "artifact", "profile.json", "report.html", "answers.jsonl"}
    assert {path.name for path in tmp_path.iterdir()} == given | made
