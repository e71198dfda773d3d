"""`transformers.Trainer` with single-width steps, evaluation of every width, and exact resumption."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import (
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from sharcs_edge.errors import TrainingError
from sharcs_edge.model.encoder import SharcsForSequenceClassification
from sharcs_edge.train import processes
from sharcs_edge.train.dataset import Collator, EncodedSplit
from sharcs_edge.train.metrics import planned_steps, run_all_widths
from sharcs_edge.train.options import TrainOptions
from sharcs_edge.train.recipes import Recipe
from sharcs_edge.train.sampler import WidthBatchSampler
from sharcs_edge.train.step import StepLoss

CHECKPOINT_STATE = "sharcs_state.npz"  # written last: a checkpoint without it is incomplete
BEST_FOLDER = "best"
BEST_FILE = "best.json"


class SharcsTrainer(Trainer):
    """Runs a recipe. The best epoch, by the task's headline metric on dev, mean over all widths, is kept in
    ``<output>/best``."""

    def __init__(
        self,
        model: SharcsForSequenceClassification,
        recipe: Recipe,
        options: TrainOptions,
        train: EncodedSplit,
        dev: EncodedSplit,
        output: Path,
        metrics_file: Path,
        callbacks: list[TrainerCallback],
    ) -> None:
        self.nested = model
        self.train_split = train
        self.dev_split = dev
        self.output = output
        self.recipe = recipe
        self.options = options
        self.epoch_index = 0
        self.steps_done = 0
        self.unlogged: NDArray[np.float64] | None = None  # the last log's step, and each process's loss summed since
        self.widths = [width.width for width in model.slices]
        steps = planned_steps(len(train), options.batch_size)
        self.sampler = WidthBatchSampler(recipe, steps, processes.rank(), processes.count())
        super().__init__(
            model=model,
            args=_arguments(options, output, processes.join()),
            data_collator=Collator(train.inputs),
            train_dataset=train,
            eval_dataset=dev,
            callbacks=[
                _TimedCheckpoints(options.checkpoint_seconds, lambda: self.steps_done < len(self.sampler)),
                _MetricsFile(metrics_file),
                *callbacks,
            ],
        )
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)

    def get_train_dataloader(self) -> DataLoader[Any]:
        # Not prepared by accelerate: the sampler shares the steps out, and Trainer moves them to the device.
        return DataLoader(self.train_split, batch_sampler=self.sampler, collate_fn=self.data_collator)

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Tensor:
        loss: Tensor = model(inputs["parts"], self.epoch_index)
        weighted = loss * self.sampler.weight(self.steps_done)
        self.steps_done += 1
        return weighted

    def _wrap_model(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        """What Trainer calls for a step's loss and takes gradients of."""
        return self.accelerator.prepare_model(StepLoss(self.nested, self.recipe, self.options.precision))

    def _build_accelerator_args(self, **kwargs: Any) -> dict[str, Any]:
        """For fp16 accelerate scales the loss; autocast is ours, also under `accelerate launch --mixed_precision`."""
        scaled = "fp16" if self.options.precision == "fp16" else "no"
        arguments: dict[str, Any] = super()._build_accelerator_args(mixed_precision=scaled, **kwargs)
        return arguments

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        metrics = processes.from_main(self._measure)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _measure(self) -> dict[str, float]:
        """The dev metrics of the model as it is, which is kept if it is the best so far."""
        outputs = run_all_widths(self.nested, self.dev_split)
        if not np.isfinite(outputs.logits).all():
            raise TrainingError(
                "training diverged: the model's answers on dev are not numbers; train again with --overwrite and a "
                f"--learning-rate below {self.options.learning_rate:g}"
            )
        summary = outputs.summary(outputs.routes())
        metric = summary["metric"]
        metrics = {
            f"eval_{metric}_w{width:g}": score for width, score in zip(self.widths, summary[metric], strict=True)
        }
        metrics["eval_epoch"] = self.epoch_index + 1
        metrics[f"eval_routed_{metric}"] = summary[f"routed_{metric}"]
        metrics[f"eval_mean_{metric}"] = float(np.mean(summary[metric]))
        self._keep_best(metrics)
        return metrics

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """Linear warm-up and decay over the progress in epochs: with `sharcs`, epochs differ in their number of steps,
        and a schedule over a number of steps guessed in advance would not end at zero."""
        if self.lr_scheduler is None:
            assert self.optimizer is not None  # Trainer creates it first
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer or self.optimizer, self._rate)
            self._created_lr_scheduler = True
        scheduler: torch.optim.lr_scheduler.LRScheduler = self.lr_scheduler
        return scheduler

    def _rate(self, _step: int) -> float:
        done = (self.epoch_index + self.steps_done / len(self.sampler)) / self.options.epochs
        rising = done / self.options.warmup if self.options.warmup > 0 else 1.0
        # The first update would have a rate of exactly zero; half an update's worth keeps it useful.
        floor = 0.5 * self.options.gradient_accumulation / (len(self.sampler) * self.options.epochs)
        return max(min(rising, (1.0 - done) / max(1e-9, 1.0 - self.options.warmup)), floor)

    def _keep_best(self, metrics: Mapping[str, float]) -> None:
        folder = self.output / BEST_FOLDER
        best = read_best(self.output)
        mean = f"eval_mean_{self.dev_split.task.metric}"
        if best is not None and best[mean] >= metrics[mean]:
            return
        staged = folder.with_name(f"{BEST_FOLDER}.new")
        shutil.rmtree(staged, ignore_errors=True)
        self.nested.save_pretrained(staged)
        (staged / BEST_FILE).write_text(json.dumps(dict(metrics)), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        staged.rename(folder)

    # --- resumption: Trainer restores weights, optimizer, schedule and random state; these add the recipe's memory,
    # the loss not logged yet and the place inside the epoch, which Trainer computes for epochs of equal length alone.

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        self.epoch_index = kwargs["epoch"]
        self.sampler.begin_epoch(self.epoch_index)
        resumed = kwargs["epoch"] == kwargs["epochs_trained"]
        self.steps_done = kwargs["steps_trained_in_current_epoch"] if resumed else 0
        if self.unlogged is not None:
            self._globalstep_last_logged = int(self.unlogged[0])
            self._tr_loss += self.unlogged[1 + processes.rank()]
            self.unlogged = None
        kwargs["steps_in_epoch"] = len(self.sampler)
        kwargs["num_update_steps_per_epoch"] = ceil(len(self.sampler) / self.options.gradient_accumulation)
        super()._run_epoch(*args, **kwargs)  # type: ignore[no-untyped-call]  # partly typed upstream

    def _init_training_state(self, *args: Any, **kwargs: Any) -> tuple[int, int]:
        super()._init_training_state(*args, **kwargs)
        checkpoint = args[3] if len(args) > 3 else kwargs.get("resume_from_checkpoint")
        if checkpoint is None:
            return 0, 0
        with np.load(Path(checkpoint) / CHECKPOINT_STATE) as file:
            state = dict(file)
        epoch, steps, total = (int(value) for value in state.pop("place"))
        self.unlogged = state.pop("unlogged")
        self.recipe.load_state(state)
        return (epoch + 1, 0) if steps == total else (epoch, steps)

    def _finalize_training(self, *args: Any, **kwargs: Any) -> Any:
        self._tr_loss.fill_(float(np.mean(processes.gather(self._tr_loss.item()))))  # Trainer sums up the main one's
        return super()._finalize_training(*args, **kwargs)  # type: ignore[no-untyped-call]  # partly typed upstream

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        losses = processes.gather(self._tr_loss.item())  # by now all processes have written their random state
        if not processes.is_main():
            return
        folder = self.output / f"checkpoint-{self.state.global_step}"
        place = np.array([self.epoch_index, self.steps_done, len(self.sampler)])
        temporary = folder / f"new_{CHECKPOINT_STATE}"
        unlogged = np.array([self._globalstep_last_logged, *losses])
        arrays: dict[str, Any] = {"place": place, "unlogged": unlogged, **self.recipe.state()}
        np.savez(temporary, **arrays)
        temporary.rename(folder / CHECKPOINT_STATE)


def read_best(output: Path) -> dict[str, float] | None:
    """The dev metrics of the best epoch so far, or None before the first evaluation."""
    try:
        best: dict[str, float] = json.loads((output / BEST_FOLDER / BEST_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return best


def last_checkpoint(output: Path) -> Path | None:
    """The newest checkpoint that was written to its end."""
    complete = [folder for folder in output.glob("checkpoint-*") if (folder / CHECKPOINT_STATE).is_file()]
    return max(complete, key=lambda folder: int(folder.name.rpartition("-")[2]), default=None)


class _TimedCheckpoints(TrainerCallback):
    """Asks for a checkpoint inside an epoch when the last one is old enough.

    Never behind an epoch's last step: that checkpoint comes after the evaluation, which a resumed run would else skip.
    """

    def __init__(self, seconds: float, inside_epoch: Callable[[], bool]) -> None:
        self.seconds = seconds
        self.inside_epoch = inside_epoch
        self.last = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        # The clocks of several processes differ, and all must save.
        if self.inside_epoch() and processes.from_main(lambda: time.monotonic() - self.last >= self.seconds):
            control.should_save = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.last = time.monotonic()


class _MetricsFile(TrainerCallback):
    """Mirrors Trainer's log, which a checkpoint carries, so that a resumed run's file has no gap and no repetition."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if not state.is_world_process_zero:
            return
        lines = [json.dumps(entry) + "\n" for entry in state.log_history]
        self.path.write_text("".join(lines), encoding="utf-8")


def _arguments(options: TrainOptions, output: Path, device: torch.device) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(output),
        num_train_epochs=options.epochs,
        per_device_train_batch_size=options.batch_size,
        gradient_accumulation_steps=options.gradient_accumulation,
        use_cpu=device.type == "cpu",
        learning_rate=options.learning_rate,
        weight_decay=options.weight_decay,
        max_grad_norm=1.0,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=2,
        logging_steps=20,
        seed=options.seed + processes.rank(),  # the dropout of each process is its own
        disable_tqdm=True,
        report_to=[],
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
