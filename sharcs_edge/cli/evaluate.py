"""`sharcs-edge evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sharcs_edge.cli.budget import UNLIMITED, takes_budget, warn_of_blind_rules
from sharcs_edge.cli.libraries import quiet_libraries, requires_extra
from sharcs_edge.cli.options import FormatOption, LabelColumnOption, PairColumnOption, PathArgument, TextColumnOption
from sharcs_edge.cli.output import Format, emit, progress, talk
from sharcs_edge.cli.rows import read_rows
from sharcs_edge.data import Columns, ImageSplit, Split, is_image_folder, read_image_folder
from sharcs_edge.errors import DataError, UsageError
from sharcs_edge.inspection import folder_kind
from sharcs_edge_runtime.budget import Budget

if TYPE_CHECKING:
    from sharcs_edge.bundle import Bundle
    from sharcs_edge.evaluate import BundleEvaluation
    from sharcs_edge_runtime.evaluate import EvaluationRecord


@takes_budget
def evaluate(
    path: PathArgument,
    data: Annotated[
        str,
        typer.Option(
            metavar="DATA",
            help="Labelled text: JSONL, CSV, TSV, Parquet, `-` (JSONL from standard input) or `demo`. For a bundle "
            "that reads images, a folder with one folder of images per class.",
            show_default=False,
        ),
    ],
    limit: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Read the first N rows only; of images, N of all classes.", show_default=False
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Threads of one prediction: 1 for an artifact, all cores for a bundle unless given.",
        ),
    ] = None,
    budget: Budget = UNLIMITED,
    form: FormatOption = Format.TABLE,
    text_column: TextColumnOption = "text",
    pair_column: PairColumnOption = None,
    label_column: LabelColumnOption = "label",
) -> None:
    """Measure quality and cost on labelled text or images.

    One line per width, one routed (within the budget), and `random`: each width has the router's share of the texts,
    but they are picked at random, which routing has to beat. An artifact is run text by text with the runtime that
    ships, a bundle with torch (quality and compute only).

    Quality is accuracy; for a multi-label task micro-averaged F1 and the share of texts with exactly the true labels;
    for a regression Spearman's and Pearson's correlation with the true values and the mean absolute error.

    Example: `sharcs-edge evaluate artifact/ --data demo`
    """
    from sharcs_edge.render.evaluation import render_evaluation

    columns = Columns(text_column, pair_column, label_column)
    if folder_kind(path) == "artifact":
        measured = _evaluate_artifact(path, data, columns, limit, threads, budget)
        facts = (f"{measured.texts:,} texts", measured.budget_met, measured.truncated)
        emit(measured.to_dict(), form, table=lambda: render_evaluation(measured, *facts))
        return
    if budget != UNLIMITED:
        raise UsageError(f"{path} is a bundle, which keeps no budget; export it and evaluate the artifact")
    record = _evaluate_bundle(path, data, columns, limit, threads)
    answered = f"{record.samples:,} {record.modality}s"
    emit(record.to_dict(), form, table=lambda: render_evaluation(record, answered))


def _evaluate_artifact(
    path: Path, data: str, columns: Columns, limit: int | None, threads: int | None, budget: Budget
) -> EvaluationRecord:
    from sharcs_edge_runtime.evaluate import evaluate as evaluate_session
    from sharcs_edge_runtime.session import Session

    session = Session.load(path, threads=threads or 1, budget=budget)
    warn_of_blind_rules(budget, session.conditions)
    _refuse_images(path, data)
    manifest = session.manifest
    rows = read_rows(data, columns, manifest.text_inputs, label_names=session.labels, task=manifest.task, limit=limit)
    split = Split.of(example for _, example in rows)
    talk(f"answering {len(split):,} texts at every width and routed")
    with progress("texts") as advance:
        return evaluate_session(session, [row.inputs for row in split], split.labels, progress=advance)


def _evaluate_bundle(
    path: Path, data: str, columns: Columns, limit: int | None, threads: int | None
) -> BundleEvaluation:
    from sharcs_edge.bundle import Bundle

    bundle = Bundle.open(path)
    read = _images if bundle.info.modality == "image" else _texts
    split = read(bundle, data, columns, limit)
    quiet_libraries()
    with requires_extra("train", "evaluate"):
        import torch

        from sharcs_edge.evaluate import evaluate_bundle
    if threads is not None:
        torch.set_num_threads(threads)
    talk(f"answering {len(split):,} {bundle.info.modality}s at every width")
    return evaluate_bundle(bundle, split)


def _texts(bundle: Bundle, data: str, columns: Columns, limit: int | None) -> Split:
    _refuse_images(bundle.path, data)
    info = bundle.info
    rows = read_rows(data, columns, info.text_inputs, label_names=info.labels, task=info.task, limit=limit)
    return Split.of(example for _, example in rows)


def _images(bundle: Bundle, data: str, columns: Columns, limit: int | None) -> ImageSplit:
    """With a limit, images spread evenly over all of them: they are in the order of their classes."""
    if not is_image_folder(data):
        raise DataError(
            f"{bundle.path} reads images, but {data} is no folder of images; give one folder per class in it"
        )
    if columns != Columns():
        raise UsageError(f"{data} is a folder of images, which have no columns; leave the column options out")
    split = read_image_folder(data, bundle.info.labels)
    count = min(limit or len(split), len(split))
    return split.take(index * len(split) // count for index in range(count))


def _refuse_images(path: Path, data: str) -> None:
    if is_image_folder(data):
        raise DataError(f"{path} reads text, but {data} is a folder of images; give a file of labelled text")
