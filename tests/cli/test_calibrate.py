"""`sharcs-edge calibrate`, with the artifact as it ships: what it writes, what it says, what it refuses."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sharcs_edge.calibrate.front import divide
from sharcs_edge_runtime.artifact import Artifact
from sharcs_edge_runtime.latency import GraphLatency
from sharcs_edge_runtime.operating_points import OPERATING_POINTS_NAME, OperatingPoints
from sharcs_edge_runtime.session import Session
from tests.cli.conftest import Cli, command, environment, write_rows
from tests.cli.test_imports import run as run_and_list_imports
from tests.runtime.conftest import VOCABULARY, build_artifact, save_latency

WORDS = [word for word in VOCABULARY if word.isalpha()]
NAMES = {
    "classification": ("home", "music", "weather"),
    "multi_label": ("home", "music", "weather"),
    "regression": ("warmth",),
}
ROWS = 120


def texts(count: int = ROWS) -> list[str]:
    draw = random.Random(0)
    return [" ".join(draw.choices(WORDS, k=draw.randint(1, 9))) for _ in range(count)]


def answers(folder: Path) -> list[Any]:
    """What the full width says, for a quarter of the rows something else: labels that make sense."""
    session, draw = Session.load(folder, calibrated=False), random.Random(0)
    predictions = [session.predict(text, budget=session.budget) for text in texts()]
    if session.manifest.task == "regression":
        return [round((one.value or 0.0) + draw.gauss(0, 0.1), 3) for one in predictions]
    if session.manifest.task == "multi_label":
        return [list(one.labels or ()) for one in predictions]
    return [draw.choice(session.labels) if draw.random() < 0.25 else one.label for one in predictions]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Path]]:
    """An artifact and labelled rows by task; not to be changed."""
    made: dict[str, tuple[Path, Path]] = {}

    def build(task: Any) -> tuple[Path, Path]:
        if task not in made:
            folder = tmp_path_factory.mktemp(task)
            artifact = build_artifact(folder / "artifact", task=task, labels=NAMES[task])
            rows = [{"text": text, "label": label} for text, label in zip(texts(), answers(artifact), strict=True)]
            made[task] = artifact, write_rows(folder / "rows.jsonl", rows)
        return made[task]

    return build


@pytest.fixture
def artifact(built: Callable[[str], tuple[Path, Path]], tmp_path: Path) -> Path:
    """A classifier of three widths, to be changed."""
    return Path(shutil.copytree(built("classification")[0], tmp_path / "artifact"))


@pytest.fixture
def rows(built: Callable[[str], tuple[Path, Path]]) -> Path:
    return built("classification")[1]


def save_times(folder: Path, *tails: float) -> None:
    """`latency.json`: milliseconds of each tail, whatever the length."""
    manifest = Artifact.open(folder).manifest
    names = [manifest.trunk.name, *(manifest.tail(width).name for width in manifest.widths)]
    graphs = tuple(GraphLatency(name, (ms, ms), (ms, ms)) for name, ms in zip(names, (0.1, *tails), strict=True))
    save_latency(folder, graphs=graphs, threads=2, device={"model": "My board"})


def hashes(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def test_one_file_is_added_and_nothing_else_changes(cli: Cli, artifact: Path, rows: Path) -> None:
    before = hashes(artifact)
    outcome = cli("calibrate", artifact, "--data", rows, "--max-drop", "0.3", "--format", "json")
    after = hashes(artifact)
    assert after.keys() - before.keys() == {OPERATING_POINTS_NAME}
    assert before.items() <= after.items()
    points = OperatingPoints.load(Artifact.open(artifact))
    assert points is not None
    record = outcome.record
    assert record["file"] == str(artifact / OPERATING_POINTS_NAME)
    assert (record["samples"], record["tested"], record["against"]) == (ROWS, 96, "labels")
    assert record["default"] == points.default
    written = json.loads((artifact / OPERATING_POINTS_NAME).read_bytes())
    assert {key: record[key] for key in written if key != "points"} == {
        key: value for key, value in written.items() if key != "points"
    }
    assert [{**point, "samples_needed": None} for point in written["points"]] == [
        {**point, "samples_needed": None} for point in record["points"]
    ]
    assert {"sharcs-edge", "onnxruntime", "numpy", "scipy"} == written["tools"].keys()


def test_the_runtime_does_what_was_certified(cli: Cli, artifact: Path, rows: Path) -> None:
    """Each point in turn becomes the default of a session: its shares, its score and its cost are those of the file."""
    cli("calibrate", artifact, "--data", rows, "--format", "json")
    opened = Artifact.open(artifact)
    points = OperatingPoints.load(opened)
    assert points is not None and len(points.points) > 3
    examples = [json.loads(line) for line in rows.read_text().splitlines()]
    tested = [examples[row] for row in divide(ROWS)[1]]
    for index, point in enumerate(points.points):
        chosen = dataclasses.replace(point, certified=True)
        only = (*(dataclasses.replace(one, certified=False) for one in points.points[:index]), chosen)
        dataclasses.replace(points, points=(*only, *points.points[index + 1 :])).write(opened)
        session = Session.load(artifact)
        predictions = [session.predict(row["text"]) for row in tested]
        assert {one.point for one in predictions} == {index}
        shares = [float(np.mean([one.width == width for one in predictions])) for width in session.widths]
        starts = [float(np.mean([one.ran[0] == width for one in predictions])) for width in session.widths]
        right = np.mean([one.label == row["label"] for one, row in zip(predictions, tested, strict=True)])
        macs = [
            session.manifest.trunk.macs.count(one.tokens)
            + sum(session.manifest.tail(width).macs.count(one.tokens) for width in one.ran)
            for one in predictions
        ]
        assert (tuple(shares), tuple(starts), float(right)) == (point.shares, point.starts, point.score)
        assert np.mean(macs) == pytest.approx(point.macs)


def test_the_table_and_the_verdict(cli: Cli, artifact: Path, rows: Path) -> None:
    outcome = cli("calibrate", artifact, "--data", rows, "--max-drop", "0.3")
    assert outcome.code == 0
    assert max(map(len, outcome.out.splitlines())) <= 80
    assert "accuracy %" in " ".join(outcome.out.split()) and "yes" in outcome.out
    answering, verdict, cheap, written, follows = outcome.err.splitlines()
    assert answering == "answering 120 texts at every width"
    assert verdict.startswith("certified: ")
    promise = "operating points, for a drop of at most 0.3 in accuracy against the full width, with confidence 0.95; "
    assert promise + "the cheapest of them, the default, costs " in verdict
    assert written == f"written: {artifact / OPERATING_POINTS_NAME}"
    assert cheap.startswith('cheap: few multiply-accumulates (the profile "')  # its target is a class of machines
    assert "names no clock to estimate a latency from; measure on the device with `sharcs-edge profile" in cheap
    assert follows == f"next: sharcs-edge evaluate {artifact} --data TEST_TEXTS"


def test_measured_times_say_which_points_are_cheap(cli: Cli, artifact: Path, rows: Path) -> None:
    save_times(artifact, 1.0, 6.0, 8.0)
    outcome = cli("calibrate", artifact, "--data", rows, "--format", "json")
    timing = outcome.record["timing"]
    assert (timing["kind"], timing["threads"]) == ("measured", 2)
    assert "\ncheap: little time on My board with 2 threads (latency.json of 2" in outcome.err
    macs = [point["macs"] for point in outcome.record["points"]]
    assert len(macs) > 3 and macs == sorted(macs)
    # Two tails in a row take nearly the full width's time and are left out, few as their multiply-accumulates are.
    by_time = np.array([point["starts"] for point in outcome.record["points"][:-1]])
    other = cli("calibrate", artifact, "--data", rows, "--format", "json", "--cost", "macs")
    assert other.record["timing"] is None
    assert "\ncheap: few multiply-accumulates (--cost macs)\n" in other.err
    by_macs = np.array([point["starts"] for point in other.record["points"][:-1]])
    assert by_time.tolist() != by_macs.tolist()


def test_no_point_may_take_less_time_than_the_full_width(cli: Cli, artifact: Path, rows: Path) -> None:
    save_times(artifact, 9.0, 8.5, 8.0)
    outcome = cli("calibrate", artifact, "--data", rows, "--format", "json")
    assert (outcome.code, len(outcome.record["points"])) == (0, 1)
    assert "\nno operating point takes less time than the full width, by the times below: " in outcome.err
    assert "; measure with `sharcs-edge profile --save` while the device is quiet, or give --cost macs\n" in outcome.err


def test_too_few_texts_are_said_to_be(cli: Cli, artifact: Path, rows: Path) -> None:
    outcome = cli("calibrate", artifact, "--data", rows, "--against", "full", "--max-drop", "0.01", "--format", "json")
    assert outcome.record["default"] == len(outcome.record["points"]) - 1
    assert outcome.record["least_samples"] == 374
    verdict = outcome.err.splitlines()[1]
    assert verdict.startswith(
        "not certified: 120 texts are too few for a share of at most 0.01 of answers that differ from the full "
        "width's, with confidence 0.95: it takes 374 even where no answer differs"
    )
    assert verdict.endswith("; the default is the full width alone")


def test_a_promise_that_asks_for_millions(cli: Cli, artifact: Path, rows: Path) -> None:
    outcome = cli("calibrate", artifact, "--data", rows, "--max-drop", "1e-7")
    assert outcome.code == 0
    assert "it takes more than a million even where no answer differs; the default is" in outcome.err


def test_unlabelled_text_can_be_held_against_the_full_width(cli: Cli, artifact: Path, tmp_path: Path) -> None:
    file = write_rows(tmp_path / "unlabelled.jsonl", [{"text": text} for text in texts()])
    refused = cli("calibrate", artifact, "--data", file)
    refused.failed(1, "no column 'label'", "or give --against full, which needs no labels")
    assert not (artifact / OPERATING_POINTS_NAME).exists()
    record = cli("calibrate", artifact, "--data", file, "--against", "full", "--format", "json").record
    assert (record["against"], record["method"]["bound"]) == ("full", "binomial")
    assert {point["score"] for point in record["points"]} == {None}


@pytest.mark.parametrize("against", ["labels", "full"])
@pytest.mark.parametrize(("task", "title"), [("multi_label", "micro F1"), ("regression", "Spearman")])
def test_other_tasks(
    cli: Cli, built: Callable[[str], tuple[Path, Path]], tmp_path: Path, task: str, title: str, against: str
) -> None:
    folder, data = built(task)
    folder = Path(shutil.copytree(folder, tmp_path / "artifact"))
    options = ("--data", data, "--against", against, "--max-drop", "0.2")
    table = cli("calibrate", folder, *options)
    assert table.code == 0
    assert (title in " ".join(table.out.split())) == (against == "labels")
    record = cli("calibrate", folder, *options, "--format", "json").record
    assert (record["value_scale"] is None) == (task != "regression")
    assert Session.load(folder).predict("turn on the light").point == record["default"]


def test_one_width_leaves_nothing_to_choose(cli: Cli, tmp_path: Path) -> None:
    folder = build_artifact(tmp_path / "artifact", widths=(1.0,))
    file = write_rows(tmp_path / "unlabelled.jsonl", [{"text": text} for text in texts(20)])
    outcome = cli("calibrate", folder, "--data", file, "--against", "full", "--format", "json")
    assert len(outcome.record["points"]) == 1
    assert "the artifact has one width, so that there is nothing to choose" in outcome.err


def test_an_older_file_is_replaced_whatever_it_holds(cli: Cli, artifact: Path, rows: Path) -> None:
    (artifact / OPERATING_POINTS_NAME).write_text("{")
    cli("run", artifact, "the light").failed(1, OPERATING_POINTS_NAME, "run `sharcs-edge calibrate` again")
    assert cli("calibrate", artifact, "--data", rows).code == 0
    assert cli("run", artifact, "the light").code == 0


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--max-drop", "0"), 2, "max-drop is 0; expected a number above 0 and below 1"),
        (("--confidence", "95"), 2, "confidence is 95; expected a number above 0 and below 1"),
        (("--against", "torch"), 2, "'torch' is not one of"),
        (("--limit", "5"), 1, "5 texts are too few to calibrate on"),
        (("--label-column", "text"), 2, "must be different ones"),
    ],
)
def test_what_is_refused(
    cli: Cli, artifact: Path, rows: Path, options: tuple[str, ...], code: int, message: str
) -> None:
    cli("calibrate", artifact, "--data", rows, *options).failed(code, message)
    assert not (artifact / OPERATING_POINTS_NAME).exists()


def test_a_label_that_the_artifact_does_not_know(cli: Cli, artifact: Path, tmp_path: Path) -> None:
    file = write_rows(tmp_path / "rows.jsonl", [{"text": "a table", "label": "garden"}] * 12)
    cli("calibrate", artifact, "--data", file).failed(1, "line 1", "'garden' is not among the 3 known ones")


def test_an_interrupt_leaves_the_artifact_as_it_was(artifact: Path, tmp_path: Path) -> None:
    file = write_rows(tmp_path / "many.jsonl", [{"text": text} for text in texts(30) * 2000])
    before = hashes(artifact)
    with subprocess.Popen(
        command("calibrate", artifact, "--data", file, "--against", "full"), stderr=subprocess.PIPE, env=environment()
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == b"answering 60,000 texts at every width\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b"interrupted: nothing was written\n"
        assert process.wait() == 1
    assert hashes(artifact) == before


def test_scipy_is_all_it_needs(artifact: Path, rows: Path) -> None:
    arguments = ["calibrate", str(artifact), "--data", str(rows)]
    code, err = run_and_list_imports(arguments)
    assert (code, err.splitlines()[-1]) == (0, "loaded: ['scipy']")
    code, err = run_and_list_imports(arguments, before="sys.modules['scipy'] = None")
    assert code == 1
    assert 'error: `sharcs-edge calibrate` needs scipy: pip install "sharcs-edge[calibrate]"' in err
