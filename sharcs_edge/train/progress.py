"""Training progress on stderr."""

from __future__ import annotations

import re
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from sharcs_edge_runtime.tasks import metrics_with

_SCORE = re.compile(r"eval_(?P<metric>\w+)_w(?P<width>[\d.]+)")


class ProgressBar(TrainerCallback):
    """A bar over all steps with the loss, and one line per evaluation; of several processes, the main one shows it."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self.task = self.progress.add_task("training", total=None, loss="-")

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.progress.update(self.task, total=state.max_steps, completed=state.global_step)
        if self.console.is_terminal and state.is_world_process_zero:
            self.progress.start()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.progress.update(self.task, completed=state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        if logs and "loss" in logs:
            self.progress.update(self.task, loss=f"{logs['loss']:.3f}")

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        if not state.is_world_process_zero:
            return
        metrics = metrics or {}
        found = [(_SCORE.fullmatch(name), value) for name, value in metrics.items()]
        scores = [(metrics_with(match["metric"])[0], match["width"], value) for match, value in found if match]
        title = scores[0][0].title if scores else ""
        widths = "  ".join(f"w{width} {value:{'.2%' if metric.is_share else '.4f'}}" for metric, width, value in scores)
        self.console.print(f"epoch {metrics.get('eval_epoch', 0):.0f}: dev {title} {widths}")

    def close(self) -> None:
        if self.progress.live.is_started:  # stopping ends with a line, also where nothing was drawn
            self.progress.stop()
