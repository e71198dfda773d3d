"""`sharcs-edge plan` as a user has it."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from sharcs_edge_runtime.artifact import Artifact, write_file_atomically
from sharcs_edge_runtime.manifest import MANIFEST_NAME
from tests.cli.conftest import Cli
from tests.cli.test_imports import run as run_apart
from tests.runtime.conftest import build_artifact, full_point, point, write_points

PNG = b"\x89PNG\r\n\x1a\n"


def write_front(folder: Path, **changes: object) -> None:
    """Three points as a calibration might find them, behind them the full width."""
    narrow = point([0.0] * 3, [0.0, 0.0], 350.0, shares=(1.0, 0.0, 0.0), starts=(1.0, 0.0, 0.0), score=0.8, drop=0.1)
    middle = point([0.0] * 3, [0.9, 0.8], 600.0, shares=(0.6, 0.1, 0.3), starts=(1.0, 0.0, 0.0), score=0.89, drop=0.01)
    chosen = (dataclasses.replace(narrow, certified=False), middle)
    write_points(folder, points=(*chosen, dataclasses.replace(full_point(3, 1000.0), score=0.9)), **changes)


@pytest.fixture(scope="module")
def _front(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = build_artifact(tmp_path_factory.mktemp("front") / "artifact")
    manifest = dataclasses.replace(Artifact.open(folder).manifest, target="rpi4")
    write_file_atomically(folder / MANIFEST_NAME, manifest.to_json())
    write_front(folder)
    return folder


@pytest.fixture
def front(_front: Path, tmp_path: Path) -> Path:
    """A calibrated artifact for a Raspberry Pi 4."""
    return Path(shutil.copytree(_front, tmp_path / "artifact"))


def test_what_a_budget_buys(cli: Cli, front: Path) -> None:
    cheapest, _, dearest = (one["mean_ms"] for one in cli("plan", front, "--format", "json").record["front"])
    target = (cheapest + dearest) / 2
    record = cli("plan", front, "--device", "rpi4", "--mean-ms", str(target), "--format", "json").record
    assert record["plan"]["mean_ms"] == pytest.approx(target, rel=0.001)
    assert record["timing"]["kind"] == "estimated"
    assert record["plan"]["energy_mj"] == pytest.approx(3 * target, rel=0.001)  # a Raspberry Pi 4 at 3 W
    assert sum(record["plan"]["shares"]) == pytest.approx(1.0)


def test_the_table_says_what_is_an_estimate(cli: Cli, front: Path) -> None:
    outcome = cli("plan", front, "--mean-ms", "5", "--deadline-ms", "9")
    assert outcome.code == 0, outcome.err
    words = " ".join(outcome.out.split())
    for part in ("ESTIMATED from device profile rpi4", "2 times more or less", "accuracy", "answers", "certified", "★"):
        assert part in words
    assert "every input is in time for 9 ms" in words
    assert "without" not in outcome.err


def test_longer_texts_cost_more(cli: Cli, front: Path, tmp_path: Path) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_text('{"text": "turn on the light"}\n{"text": "what is the weather today"}\n', encoding="utf-8")
    record = cli("plan", front, "--data", file, "--format", "json").record
    assert record["tokens"] == {"mean": 6.5, "source": "2 texts of texts.jsonl"}
    longer = cli("plan", front, "--tokens", "13", "--format", "json").record
    assert longer["plan"]["mean_ms"] > record["plan"]["mean_ms"]
    cli("plan", front, "--data", file, "--tokens", "13").failed(2, "--data and --tokens")


def test_the_front_as_a_picture(cli: Cli, front: Path, tmp_path: Path) -> None:
    outcome = cli("plan", front, "--mean-ms", "5", "--frontier", tmp_path / "front.png")
    assert outcome.code == 0, outcome.err
    data = (tmp_path / "front.png").read_bytes()
    assert data.startswith(PNG) and len(data) > 20_000
    cli("plan", front, "--frontier", tmp_path / "nowhere" / "front.png").failed(1, "cannot write", "front.png")


def test_a_budget_that_buys_nothing_is_a_failed_check(cli: Cli, front: Path, tmp_path: Path) -> None:
    picture = tmp_path / "front.png"
    outcome = cli("plan", front, "--device", "rpi4", "--mean-ms", "0.001", "--frontier", picture)
    outcome.failed(3, "mean_ms 0.001 buys nothing", "Raspberry Pi 4", "estimated", "allow more")
    assert outcome.out == "" and not picture.exists()
    cli("plan", front, "--mean-ms", "0.3", "--max-drop", "0.001").failed(3, "leaves only the full width")
    cli("plan", front, "--deadline-ms", "0.001").failed(3, "deadline_ms 0.001 buys nothing")


def test_what_cannot_be_planned(cli: Cli, front: Path, tmp_path: Path) -> None:
    cli("plan", front, "--device", "rpi9").failed(2, 'unknown target "rpi9"', "rpi")
    cli("plan", front, "--device", "x86-64").failed(2, "names no clock", "profile ARTIFACT --save")
    cli("plan", front, "--mean-ms", "0").failed(2, "mean_ms")
    cli("plan", front, "--device", "jetson-orin", "--energy-mj", "5").failed(2, "energy_mj needs the watts")
    (front / "operating_points.json").write_text("{}", encoding="utf-8")
    cli("plan", front, "--mean-ms", "5").failed(1, "operating_points.json", "problems")
    (front / "operating_points.json").unlink()
    cli("plan", front, "--mean-ms", "5").failed(2, "sharcs-edge calibrate")
    cli("plan", tmp_path / "nowhere", "--mean-ms", "5").failed(1, "nowhere")


def test_a_plan_needs_no_heavy_library(front: Path) -> None:
    code, err = run_apart(["plan", str(front), "--device", "rpi4", "--mean-ms", "5"])
    assert (code, err.splitlines()[-1]) == (0, "loaded: []")


def test_a_picture_without_matplotlib_names_the_cure(front: Path, tmp_path: Path) -> None:
    arguments = ["plan", str(front), "--frontier", str(tmp_path / "front.png")]
    code, err = run_apart(arguments, before="sys.modules['matplotlib'] = None")
    assert code == 1 and 'needs matplotlib: pip install "sharcs-edge[report]"' in err
    assert not (tmp_path / "front.png").exists()
