"""`sharcs-edge train`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from sharcs_edge.cli.failure import Interrupted
from sharcs_edge.cli.libraries import quiet_libraries, requires_extra
from sharcs_edge.cli.options import (
    COLUMNS,
    FormatOption,
    LabelColumnOption,
    OverwriteOption,
    PairColumnOption,
    TextColumnOption,
)
from sharcs_edge.cli.output import Format, emit, progress, shell_word, talk
from sharcs_edge.config import SharcsConfig, WidthDims, parse_widths
from sharcs_edge.data import Columns, ImageDataset, TextDataset, doubts, is_image_folder, load_data, load_images
from sharcs_edge.errors import OtherProcessFailed, UsageError
from sharcs_edge.train.options import Precision, RecipeName, TrainOptions
from sharcs_edge.train.settings import changed
from sharcs_edge_runtime.manifest import TaskName

TaskChoice = Literal["auto", "classification", "multi-label", "regression"]
_TASKS: dict[TaskChoice, TaskName | None] = {
    "auto": None,
    "classification": "classification",
    "multi-label": "multi_label",
    "regression": "regression",
}
_DEFAULT_WIDTHS = "1/12,1/4,1"
_PUBLISHED_WIDTHS = "0.25,0.5,1"
_DEFAULT: dict[str, Any] = {field.name: field.default for field in fields(TrainOptions)}


def _option(help: str, metavar: str | None = None, *names: str, panel: str | None = None, **rest: Any) -> Any:
    return typer.Option(*names, help=help, metavar=metavar, rich_help_panel=panel, **rest)


def _width(help: str, metavar: str | None = None, **rest: Any) -> Any:
    return _option(help, metavar, panel="Widths", **rest)


def _training(help: str, metavar: str | None = None, **rest: Any) -> Any:
    return _option(help, metavar, panel="Training", **rest)


def train(
    model: Annotated[
        str, _option("A Hugging Face encoder: a folder, a hub name, or `demo` (packaged MiniLM).", "MODEL")
    ],
    data: Annotated[
        str,
        _option(
            "Labelled text: a folder with train, dev and test files, one file (JSONL, CSV, TSV, Parquet), `demo` "
            "(shipped intents), or a name that `datasets` loads. Images: a folder with one folder per class, or with a "
            "train folder (and dev, test) of such folders.",
            "DATA",
        ),
    ],
    output: Annotated[Path, _option("The bundle's folder.", "FOLDER", "--output", "-o")],
    max_train_samples: Annotated[int | None, _option("Draw N training rows at random.", "N")] = None,
    dev_fraction: Annotated[float, _option("Held out for dev where the data has no dev split.", "SHARE")] = 0.1,
    resume: Annotated[bool, _option("Go on with an interrupted training.", None, "--resume")] = False,
    overwrite: OverwriteOption = False,
    checkpoint_seconds: Annotated[
        float, _option("At least this long between two checkpoints inside an epoch.", "S", min=0)
    ] = _DEFAULT["checkpoint_seconds"],
    form: FormatOption = Format.TABLE,
    text_column: TextColumnOption = "text",
    pair_column: PairColumnOption = None,
    label_column: LabelColumnOption = "label",
    task: Annotated[
        TaskChoice,
        _option(
            "What the labels are: one class per text, lists of any number of classes (in CSV and TSV with `|` between "
            "them), or numbers. `auto` finds out.",
            panel=COLUMNS,
        ),
    ] = "auto",
    widths: Annotated[
        str | None,
        _width(
            f"Fractions of the encoder, with the full width 1. Default: {_DEFAULT_WIDTHS}; with recipe sharcs "
            f"{_PUBLISHED_WIDTHS}.",
            "LIST",
        ),
    ] = None,
    trunk_layers: Annotated[
        int | None, _width("Layers before the router. Default: 0; with recipe sharcs 1.", "K", min=0)
    ] = None,
    width_dims: Annotated[
        WidthDims | None,
        _width("What shrinks: heads and FFN, or all dimensions. Default: all with recipe sharcs, else inner."),
    ] = None,
    recipe: Annotated[
        RecipeName, _training("Narrow widths learn from the full one (distill), or as published (sharcs).")
    ] = _DEFAULT["recipe"],
    epochs: Annotated[int, _training("Passes over the data.", "N")] = _DEFAULT["epochs"],
    batch_size: Annotated[int, _training("Samples of one width in a step, over all processes.", "N")] = _DEFAULT[
        "batch_size"
    ],
    learning_rate: Annotated[float, _training("Peak of the linear schedule.", "RATE")] = _DEFAULT["learning_rate"],
    max_length: Annotated[int, _training("Longest input; the rest is cut off.", "TOKENS")] = _DEFAULT["max_length"],
    seed: Annotated[int, _training("Of weights, order, dropout and draws.", "N")] = _DEFAULT["seed"],
    label_window: Annotated[
        int, _training("With sharcs: epochs of full width first, and epochs a hardness label looks back.", "EPOCHS")
    ] = _DEFAULT["label_window"],
    max_drop: Annotated[
        float,
        _training(
            "With distill: what routing may lose on dev against the full width, in accuracy, micro F1 (multi-label) or "
            "Spearman's correlation (regression).",
            "SHARE",
        ),
    ] = _DEFAULT["max_drop"],
    regression_tolerance: Annotated[
        float,
        _training("An error that counts as none when inputs are judged easy or hard; in standard deviations.", "SHARE"),
    ] = _DEFAULT["regression_tolerance"],
    gradient_accumulation: Annotated[
        int, _training("Steps whose mean gradient makes one update of the weights.", "N")
    ] = _DEFAULT["gradient_accumulation"],
    precision: Annotated[
        Precision, _training("Mixed precision: bf16 is faster where the hardware has it; fp16 needs a CUDA device.")
    ] = _DEFAULT["precision"],
    settings: Annotated[
        list[str],
        _option(
            "Any other setting of the width plan or of the recipe (docs/method.md lists them), such as "
            "`--set width_shape=rising`; may be repeated.",
            "NAME=VALUE",
            "--set",
            panel="Training",
        ),
    ] = [],  # noqa: B006  typer copies it
    threads: Annotated[
        int | None, _training("Threads of torch in each process; one per core unless given.", "N", min=1)
    ] = None,
) -> None:
    """Train a bundle on labelled text or images.

    The widths of an encoder learn together, with the router that will choose one per input; the best epoch by dev is
    kept. An interrupted training, also after kill -9, goes on with the same command and `--resume`, and ends with the
    same weights as one that was not interrupted.

    Two processes share every step, each on a GPU of its own: `accelerate launch --num_processes 2 -m sharcs_edge.cli
    train ...`; without GPUs: `torchrun --nproc-per-node 2 -m sharcs_edge.cli train ...`

    Example: `sharcs-edge train --model demo --data demo --max-train-samples 1000 --output bundle/`
    """
    quiet_libraries()
    main = os.environ.get("RANK", "0") == "0"  # of the processes that a launcher may have started
    with _said_once():
        plan = _plan(widths, trunk_layers, width_dims, recipe)
        options = TrainOptions(
            recipe=recipe,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            max_length=max_length,
            seed=seed,
            label_window=label_window,
            max_drop=max_drop,
            regression_tolerance=regression_tolerance,
            gradient_accumulation=gradient_accumulation,
            precision=precision,
            checkpoint_seconds=checkpoint_seconds,
        )
        plan, options = changed(plan, options, settings)
        columns = Columns(text_column, pair_column, label_column)
        draws = {"max_train_samples": max_train_samples, "dev_fraction": dev_fraction, "seed": seed}
        dataset = _dataset(data, columns, _TASKS[task], main, draws)
    if main and task == "auto":
        hint = " (if that is wrong, give --task)" if isinstance(dataset, TextDataset) else ""
        talk(f"task: {dataset.task_summary}{hint}")
    for note in dataset.notes if main else ():
        talk(note)
    for doubt in doubts(dataset) if main and isinstance(dataset, TextDataset) else ():
        talk(f"look at the data: {doubt}", style="yellow")
    with requires_extra("train", "train"):
        import accelerate  # noqa: F401  transformers asks for it when training begins
        import torch
        from rich.console import Console

        from sharcs_edge.train import processes, run
        from sharcs_edge.train.progress import ProgressBar
    if threads is not None:
        torch.set_num_threads(threads)
    chosen = widths is not None or any(setting.startswith("widths=") for setting in settings)
    request = run.TrainRequest(model, dataset, data, plan, options, output, resume, overwrite, fit_widths=not chosen)
    console = Console(stderr=True)
    bar = ProgressBar(console)
    try:
        bundle = run.train(request, [bar], partial(talk, console=console))
    except KeyboardInterrupt:
        if not main:
            raise OtherProcessFailed("interrupted") from None
        raise Interrupted(_how_to_resume(request.partial)) from None
    finally:
        bar.close()
    processes.leave()
    if not main:
        return
    from sharcs_edge.render.training import render_training

    emit({"bundle": str(bundle.path), **bundle.record}, form, table=lambda: render_training(bundle.record))
    if bundle.info.modality == "text":
        talk(f"next: sharcs-edge export {shell_word(bundle.path)} --target rpi4 --output artifact/")


def _dataset(
    data: str, columns: Columns, task: TaskName | None, show_progress: bool, draws: Mapping[str, Any]
) -> TextDataset | ImageDataset:
    if not is_image_folder(data):
        return load_data(data, columns, task=task, **draws)
    if columns != Columns():
        raise UsageError(f"{data} is a folder of images, which have no columns; leave the column options out")
    if task not in (None, "classification"):
        raise UsageError(f"{data} is a folder of images, one class each; leave --task {task.replace('_', '-')} out")
    with progress("images") if show_progress else nullcontext() as advance:
        return load_images(data, progress=advance, **draws)


def _said_once() -> AbstractContextManager[None]:
    """Of several processes that a launcher started, the first one that fails in this block says why."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return nullcontext()
    with requires_extra("train", "train"):
        from sharcs_edge.train import processes
    processes.join()
    return processes.together()


def _plan(
    widths: str | None, trunk_layers: int | None, width_dims: WidthDims | None, recipe: RecipeName
) -> SharcsConfig:
    """The recipe `sharcs` means the published plan: one head, one trunk layer, a LayerNorm in front of every tail."""
    published = recipe == "sharcs"
    slices_all = published and width_dims in (None, "all")
    return SharcsConfig(
        parse_widths(widths or (_PUBLISHED_WIDTHS if published else _DEFAULT_WIDTHS)),
        trunk_layers if trunk_layers is not None else 1 if published else SharcsConfig.trunk_layers,
        width_dims=width_dims or ("all" if published else "inner"),
        entry_norm="every" if slices_all else "narrow",
        narrow_head="shared" if published else SharcsConfig.narrow_head,
        own_layers=0.0 if published else SharcsConfig.own_layers,
        narrow_dropout=published or SharcsConfig.narrow_dropout,
    )


def _how_to_resume(partial: Path) -> str:
    if not partial.exists():
        return "nothing was written"
    return f"what was trained is in {partial}; run the same command with --resume to go on"
