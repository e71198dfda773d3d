"""`sharcs-edge train`."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from sharcs_edge.cli.failure import Interrupted
from sharcs_edge.cli.libraries import quiet_libraries, requires_extra
from sharcs_edge.cli.options import (
    FormatOption,
    LabelColumnOption,
    OverwriteOption,
    PairColumnOption,
    TextColumnOption,
)
from sharcs_edge.cli.output import Format, emit, talk
from sharcs_edge.config import SharcsConfig, WidthDims, parse_widths
from sharcs_edge.data import Columns, load_data
from sharcs_edge.train.options import RecipeName, TrainOptions

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
            "(shipped intents), or a name that `datasets` loads.",
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
    widths: Annotated[str, _width("Fractions of the encoder, with the full width 1.", "LIST")] = "0.25,0.5,1.0",
    trunk_layers: Annotated[int, _width("Layers before the router.", "K")] = SharcsConfig.trunk_layers,
    width_dims: Annotated[
        WidthDims | None,
        _width("What shrinks: heads and FFN, or all dimensions. Default: all with recipe sharcs, else inner."),
    ] = None,
    recipe: Annotated[
        RecipeName, _training("Narrow widths learn from the full one (distill), or as published (sharcs).")
    ] = _DEFAULT["recipe"],
    epochs: Annotated[int, _training("Passes over the data.", "N")] = _DEFAULT["epochs"],
    batch_size: Annotated[int, _training("Samples of one width in a step.", "N")] = _DEFAULT["batch_size"],
    learning_rate: Annotated[float, _training("Peak of the linear schedule.", "RATE")] = _DEFAULT["learning_rate"],
    max_length: Annotated[int, _training("Longer texts are cut.", "TOKENS")] = _DEFAULT["max_length"],
    seed: Annotated[int, _training("Of weights, order, dropout and draws.", "N")] = _DEFAULT["seed"],
    label_window: Annotated[
        int, _training("With sharcs: epochs of full width first, and epochs a hardness label looks back.", "EPOCHS")
    ] = _DEFAULT["label_window"],
    max_drop: Annotated[
        float, _training("With distill: accuracy on dev that routing may lose against the full width.", "SHARE")
    ] = _DEFAULT["max_drop"],
    threads: Annotated[int | None, _training("Threads of torch; one per core unless given.", "N", min=1)] = None,
) -> None:
    """Train a bundle on labelled text.

    The widths of an encoder learn together, with the router that will choose one per input; the best epoch by dev is
    kept. An interrupted training, also after kill -9, goes on with the same command and `--resume`, and ends with the
    same weights as one that was not interrupted.

    Example: `sharcs-edge train --model demo --data demo --max-train-samples 1000 --output bundle/`
    """
    quiet_libraries()
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
        checkpoint_seconds=checkpoint_seconds,
    )
    dataset = load_data(
        data,
        Columns(text_column, pair_column, label_column),
        max_train_samples=max_train_samples,
        dev_fraction=dev_fraction,
        seed=seed,
    )
    for note in dataset.notes:
        talk(note)
    with requires_extra("train", "train"):
        import accelerate  # noqa: F401  transformers asks for it when training begins
        import torch
        from rich.console import Console

        from sharcs_edge.train import run
        from sharcs_edge.train.progress import ProgressBar
    if threads is not None:
        torch.set_num_threads(threads)
    request = run.TrainRequest(model, dataset, data, plan, options, output, resume, overwrite)
    console = Console(stderr=True)
    bar = ProgressBar(console)
    try:
        bundle = run.train(request, [bar], partial(talk, console=console))
    except KeyboardInterrupt:
        raise Interrupted(_how_to_resume(request.partial)) from None
    finally:
        bar.close()
    from sharcs_edge.render.training import render_training

    emit({"bundle": str(bundle.path), **bundle.record}, form, table=lambda: render_training(bundle.record))
    talk(f"next: sharcs-edge export {bundle.path} --target rpi4 --output artifact/")


def _plan(widths: str, trunk_layers: int, width_dims: WidthDims | None, recipe: RecipeName) -> SharcsConfig:
    """The recipe `sharcs` means slicing as published, with a LayerNorm in front of every tail."""
    published = recipe == "sharcs" and width_dims in (None, "all")
    return SharcsConfig(
        parse_widths(widths),
        trunk_layers,
        width_dims=width_dims or ("all" if published else "inner"),
        entry_norm="every" if published else "narrow",
    )


def _how_to_resume(partial: Path) -> str:
    if not partial.exists():
        return "nothing was written"
    return f"what was trained is in {partial}; run the same command with --resume to go on"
