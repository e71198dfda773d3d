"""`train` on two processes: said once, written once, and resumed after both were killed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil  # accelerate brings it
import pytest
import torch
from safetensors.torch import load_file

from tests.cli.conftest import RATES, environment

pytestmark = pytest.mark.slow

OPTIONS = (*RATES, "--epochs", "6", "--checkpoint-seconds", "0.1", "--format", "json")


def launch(*arguments: str | Path) -> subprocess.Popen[str]:
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    options = ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "-m", "sharcs_edge.cli"]
    return subprocess.Popen(
        [*launcher, *options, "train", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def finish(process: subprocess.Popen[str]) -> tuple[Any, list[str]]:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return json.loads(out), err.splitlines()


def test_one_bundle_and_one_voice(source: Path, data: Path, tmp_path: Path) -> None:
    words = ("--model", source, "--data", data, *OPTIONS)
    record, said = finish(launch(*words, "--output", tmp_path / "whole"))
    assert record["processes"] == 2
    epochs = [line for line in said if line.startswith("epoch ")]
    assert [line.split(":")[0] for line in epochs] == [f"epoch {number}" for number in range(1, 7)]
    assert len(said) == len(set(said))

    killed = launch(*words, "--output", tmp_path / "killed")
    assert killed.stderr is not None
    for line in killed.stderr:
        if line.startswith("epoch 3:"):
            break
    for worker in psutil.Process(killed.pid).children(recursive=True):
        worker.kill()
    killed.communicate(timeout=60)
    assert killed.returncode != 0
    assert not (tmp_path / "killed").exists()

    resumed, said = finish(launch(*words, "--output", tmp_path / "killed", "--resume"))
    assert sum("resuming from checkpoint-" in line for line in said) == 1
    assert resumed["dev"] == record["dev"]
    weights, expected = (load_file(tmp_path / name / "model.safetensors") for name in ("killed", "whole"))
    assert [name for name in expected if not torch.equal(weights[name], expected[name])] == []


def test_an_error_is_said_by_one_process(source: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    refused = {
        ("--data", data, "--output", tmp_path / "bundle"): "choose another --output or pass --overwrite",
        ("--data", tmp_path / "nothing.csv", "--output", tmp_path / "new"): "no such file or folder",
    }
    for words, sentence in refused.items():
        process = launch("--model", source, *words)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 1
        (error,) = [line for line in err.splitlines() if line.startswith("error: ")]
        assert sentence in error
        assert list(tmp_path.iterdir()) == [tmp_path / "bundle"]
