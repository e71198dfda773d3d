"""Gradient accumulation, mixed precision and several processes: the same training, cut up in another way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from sharcs_edge.errors import UsageError
from sharcs_edge.train.recipes import DistillRecipe
from sharcs_edge.train.run import train
from sharcs_edge.train.sampler import Step
from tests.integration.test_train import data, logged, request, source  # noqa: F401  two of them are fixtures


@pytest.fixture(scope="module")
def steady(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """The tiny encoder without dropout."""
    folder = tmp_path_factory.mktemp("steady")
    for file in source.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


class Stop(TrainerCallback):
    """Interrupts a training after so many updates."""

    def __init__(self, updates: int) -> None:
        self.updates = updates

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.updates:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "bf16"},
        {"gradient_accumulation": 4},
        {"gradient_accumulation": 4, "recipe": "sharcs", "label_window": 1, "precision": "bf16"},
    ],
    ids=["bf16", "accumulation", "sharcs"],
)
def test_an_interrupted_run_goes_on_exactly(
    source: Path,  # noqa: F811
    data: Path,  # noqa: F811
    tmp_path: Path,
    changes: dict[str, Any],
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    changes = {"epochs": 2} | changes
    train(request(source, data, whole, **changes))
    updates_per_epoch = -(-30 // changes.get("gradient_accumulation", 1))
    with pytest.raises(KeyboardInterrupt):
        train(request(source, data, cut, checkpoint_seconds=0.0, **changes), [Stop(updates_per_epoch + 3)])
    train(request(source, data, cut, resume=True, **changes))
    weights, expected = (load_file(folder / "model.safetensors") for folder in (cut, whole))
    assert [name for name in expected if not torch.equal(weights[name], expected[name])] == []
    assert logged(cut) == logged(whole)


def test_another_precision_is_another_run(source: Path, data: Path, tmp_path: Path) -> None:  # noqa: F811
    with pytest.raises(KeyboardInterrupt):
        train(request(source, data, tmp_path / "bundle", precision="bf16", checkpoint_seconds=0.0), [Stop(3)])
    with pytest.raises(UsageError, match=r"cannot resume .*precision: 'bf16' then, 'fp32' now"):
        train(request(source, data, tmp_path / "bundle", resume=True))


def test_accumulated_halves_train_like_the_whole_batch(
    steady: Path,
    data: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan_epoch = DistillRecipe.plan_epoch

    def plan_halves(self: DistillRecipe, epoch: int) -> list[Step]:
        """The steps of twice the batch size, each as two."""
        options = self.options
        self.options = replace(options, batch_size=16)
        steps = plan_epoch(self, epoch)
        self.options = options
        return [[(width, samples[part])] for ((width, samples),) in steps for part in (slice(8), slice(8, None))]

    # The order of heads depends on the batches that importance is measured on.
    changes = {"widths": (0.5, 1.0), "epochs": 2, "importance": "none", "checkpoint_seconds": 1e6}
    train(request(steady, data, tmp_path / "whole", batch_size=16, **changes))
    monkeypatch.setattr(DistillRecipe, "plan_epoch", plan_halves)
    train(request(steady, data, tmp_path / "halves", batch_size=8, gradient_accumulation=2, **changes))
    assert_same_curve(tmp_path / "halves", tmp_path / "whole")


def test_an_epoch_that_accumulation_does_not_divide_ends_with_an_update(
    source: Path,  # noqa: F811
    data: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    """Also where epochs differ in their number of steps, which Trainer does not expect."""
    updates: list[int] = []
    epochs: list[tuple[int, int]] = []

    class Count(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            updates.append(state.global_step)

        def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            epochs.append((len(kwargs["train_dataloader"].batch_sampler), len(updates)))
            assert all(parameter.grad is None for parameter in kwargs["model"].parameters())
            updates.clear()

    changes = {"recipe": "sharcs", "label_window": 1, "gradient_accumulation": 4, "checkpoint_seconds": 1e6}
    train(request(source, data, tmp_path / "bundle", **changes), [Count()])
    assert [made for _, made in epochs] == [-(-steps // 4) for steps, _ in epochs]
    assert len({steps for steps, _ in epochs}) > 1 and any(steps % 4 for steps, _ in epochs)


RUN = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
import numpy as np
from transformers import TrainerCallback
from sharcs_edge.train import processes
from sharcs_edge.train.run import train
from tests.integration.test_train import request
class Keep(TrainerCallback):
    def on_epoch_end(self, args, state, control, train_dataloader, **_):
        file = Path({states!r}) / f"{{processes.count()}}-{{processes.rank()}}-{{state.epoch:g}}.npz"
        np.savez(file, **train_dataloader.batch_sampler.planner.state())
train(request(Path({source!r}), Path({data!r}), Path({output!r}), **{changes!r}), [Keep()])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"widths": (0.5, 1.0), "gradient_accumulation": 2},
        {"recipe": "sharcs", "label_window": 2, "epochs": 5},
    ],
    ids=["distill", "sharcs"],
)
def test_two_processes_train_like_one(
    steady: Path,
    data: Path,  # noqa: F811
    tmp_path: Path,
    changes: dict[str, Any],
) -> None:
    """Their shares are uneven, and of the last sample one of them has none."""
    changes = {"batch_size": 7, "checkpoint_seconds": 1e6} | changes
    rows = (data / "train.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.jsonl").write_text("".join(rows[: 7 * 25 + 1]))
    (tmp_path / "data" / "dev.jsonl").write_text((data / "dev.jsonl").read_text())

    def command(output: str) -> str:
        paths = {name: str(tmp_path / place) for name, place in (("data", "data"), ("output", output), ("states", "."))}
        file = tmp_path / f"{output}.py"
        file.write_text(RUN.format(root=str(Path(__file__).parents[2]), changes=changes, source=str(steady), **paths))
        return str(file)

    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    for words in ([sys.executable, command("one")], [*launch, command("two")]):
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
    assert_same_curve(tmp_path / "two", tmp_path / "one")
    for epoch in range(1, changes.get("epochs", 3) + 1):
        one, main, other = (np.load(tmp_path / f"{name}-{epoch}.npz") for name in ("1-0", "2-0", "2-1"))
        for name in one.files:
            np.testing.assert_array_equal(main[name], other[name])
            if one[name].dtype == np.float32:
                np.testing.assert_allclose(main[name], one[name], atol=1e-4)
            else:
                np.testing.assert_array_equal(main[name], one[name])  # the hardness labels


def assert_same_curve(run: Path, expected: Path) -> None:
    for one, other in zip(logged(run), logged(expected), strict=True):
        assert one == pytest.approx(other, rel=1e-4, abs=1e-5)
