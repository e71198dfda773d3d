"""Multi-label and regression on the command line: what is found out, what is printed, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli, write_rows
from tests.runtime.conftest import TEXTS, build_artifact

LABELS: dict[str, list[Any]] = {
    "multi_label": [["home"], ["home"], ["music"], [], ["home"], ["music", "home"], ["weather"], []],
    "regression": [1.5, 1, 4.25, 0, 1, 3, -2, 2.5],
}
NAMES = {"multi_label": ("home", "music", "weather"), "regression": ("warmth",)}


@pytest.fixture(scope="module", params=LABELS)
def task(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def artifact(task: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_artifact(tmp_path_factory.mktemp(task) / "artifact", task=task, labels=NAMES[task])


@pytest.fixture(scope="module")
def data(task: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [{"text": text, "label": label} for text, label in zip(TEXTS, LABELS[task], strict=True)]
    return write_rows(tmp_path_factory.mktemp(task) / "test.jsonl", rows)


def test_answers_in_lines_and_in_json(cli: Cli, task: str, artifact: Path) -> None:
    records = [cli("run", artifact, text, "--format", "json").record for text in TEXTS]
    table = cli("run", artifact, *TEXTS).out.splitlines()
    columns = {"multi_label": ["labels", "width"], "regression": ["value", "width"]}[task]
    assert table[0].split()[:2] == columns
    for record, line in zip(records, table[1:], strict=True):
        if task == "regression":
            assert line.split()[0] == f"{record['value']:.5g}"
            assert not {"scores", "label", "labels", "score"} & record.keys()
        else:
            assert line.startswith(", ".join(record["labels"]) or "none")
            assert [*record["scores"]] == [*NAMES[task]]
            assert record["labels"] == [label for label, score in record["scores"].items() if score >= 0.5]


def test_evaluation_names_its_metrics(cli: Cli, task: str, artifact: Path, data: Path) -> None:
    titles = {"multi_label": ("micro", "exact"), "regression": ("Spearman", "Pearson", "mean")}[task]
    out = cli("evaluate", artifact, "--data", data).out
    assert all(title in out for title in titles)
    assert "accuracy" not in out
    assert max(map(len, out.splitlines())) <= 80
    assert not [line for line in out.splitlines() if line.startswith("│ w=0.2 ")]  # no name is broken
    record = cli("evaluate", artifact, "--data", data, "--format", "json").record
    assert record["task"] == task
    metrics = {"multi_label": ["micro_f1", "exact_match"], "regression": ["spearman", "pearson"]}[task]
    assert all(set(metrics) <= row.keys() for row in record["rows"])


def test_labels_in_a_csv_column(cli: Cli, task: str, artifact: Path, data: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    shown = [f'"{"|".join(row["label"]) if task == "multi_label" else row["label"]}","{row["text"]}"' for row in rows]
    file = tmp_path / "rows.csv"
    file.write_text("\n".join(["label,text", *shown]))
    from_csv, from_json = (
        cli("evaluate", artifact, "--data", path, "--format", "json").record for path in (file, data)
    )
    metric = {"multi_label": "micro_f1", "regression": "spearman"}[task]
    assert [row[metric] for row in from_csv["rows"]] == [row[metric] for row in from_json["rows"]]


def test_other_labels_are_refused(cli: Cli, task: str, artifact: Path, tmp_path: Path) -> None:
    file = write_rows(tmp_path / "rows.jsonl", [{"text": "a table", "label": ["garden"]}])
    part = {"multi_label": "'garden' is not among the 3 known ones", "regression": "regression needs a number"}[task]
    cli("evaluate", artifact, "--data", file).failed(1, f"{file}, line 1", part)


def test_the_other_commands(cli: Cli, task: str, artifact: Path) -> None:
    assert "passed" in cli("verify", artifact).out
    out = cli("inspect", artifact).out
    assert {"multi_label": "multi-label of single texts", "regression": "regression of single texts"}[task] in out
    options = ("--lengths", "8", "--min-samples", "2", "--min-seconds", "0")
    words = {"multi_label": "same label as full width", "regression": "from the full width's value on average"}[task]
    assert words in " ".join(cli("profile", artifact, *options).out.split())


def test_train_says_which_task_it_found(cli: Cli, task: str, data: Path, tmp_path: Path) -> None:
    """Before the model is looked for, so that a wrong guess costs nothing."""
    words = {"multi_label": "multi-label, 3 labels, ", "regression": "regression, numbers from "}[task]
    command = ("train", "--model", tmp_path / "nowhere", "--data", data, "--output", tmp_path / "bundle")
    outcome = cli(*command, "--dev-fraction", "0.3")
    assert outcome.err.startswith(f"task: {words}")
    assert "(if that is wrong, give --task)" in outcome.err.splitlines()[0]
    outcome.failed(2, "cannot load a model")
    told = cli(*command, "--dev-fraction", "0.3", "--task", task.replace("_", "-"))
    assert "task: " not in told.err


def test_train_refuses_labels_of_another_task(cli: Cli, task: str, data: Path, tmp_path: Path) -> None:
    command = ("train", "--model", "demo", "--data", data, "--output", tmp_path / "bundle", "--task")
    other, part = {
        "multi_label": ("regression", "line 1: 'label' is ['home'] (list); regression needs a number"),
        "regression": ("multi-label", "line 1: 'label' is 1.5 (float); expected a list, or a string with '|' between"),
    }[task]
    cli(*command, other).failed(1, str(data), part)
    cli(*command, "classification").failed(1, str(data), "line 1: 'label' is ")
    cli(*command, "tagging").failed(2, "'tagging' is not one of")
