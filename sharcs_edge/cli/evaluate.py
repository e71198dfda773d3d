"""`sharcs-edge evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sharcs_edge.cli.libraries import quiet_libraries, requires_extra
from sharcs_edge.cli.options import FormatOption, LabelColumnOption, PairColumnOption, PathArgument, TextColumnOption
from sharcs_edge.cli.output import Format, emit, progress, talk
from sharcs_edge.cli.rows import read_rows
from sharcs_edge.data import Columns, Split
from sharcs_edge.inspection import folder_kind

if TYPE_CHECKING:
    from sharcs_edge.evaluate import BundleEvaluation
    from sharcs_edge_runtime.evaluate import EvaluationRecord


def evaluate(
    path: PathArgument,
    data: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="Labelled text: JSONL, CSV, TSV, Parquet, `-` (JSONL from standard input) or `demo`.",
            show_default=False,
        ),
    ],
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Read the first N rows only.", show_default=False)
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Threads of one prediction: 1 for an artifact, all cores for a bundle unless given.",
        ),
    ] = None,
    form: FormatOption = Format.TABLE,
    text_column: TextColumnOption = "text",
    pair_column: PairColumnOption = None,
    label_column: LabelColumnOption = "label",
) -> None:
    """Measure accuracy and cost on labelled text.

    One line per width, one routed, and `random`: each width has the router's share of the texts, but they are picked at
    random, which routing has to beat. An artifact is run text by text with the runtime that ships, a bundle with torch
    (accuracy and compute only).

    Example: `sharcs-edge evaluate artifact/ --data demo`
    """
    from sharcs_edge.render.evaluation import render_evaluation

    columns = Columns(text_column, pair_column, label_column)
    evaluate_folder = _evaluate_artifact if folder_kind(path) == "artifact" else _evaluate_bundle
    record = evaluate_folder(path, data, columns, limit, threads)
    emit(record.to_dict(), form, table=lambda: render_evaluation(record))


def _evaluate_artifact(
    path: Path, data: str, columns: Columns, limit: int | None, threads: int | None
) -> EvaluationRecord:
    from sharcs_edge_runtime.evaluate import evaluate as evaluate_session
    from sharcs_edge_runtime.session import Session

    session = Session.load(path, threads=threads or 1)
    rows = read_rows(data, columns, session.manifest.text_inputs, label_names=session.labels, limit=limit)
    split = Split.of(example for _, example in rows)
    talk(f"answering {len(split):,} texts at every width and routed")
    with progress("texts") as advance:
        return evaluate_session(session, [row.inputs for row in split], split.labels, progress=advance)


def _evaluate_bundle(
    path: Path, data: str, columns: Columns, limit: int | None, threads: int | None
) -> BundleEvaluation:
    from sharcs_edge.bundle import Bundle

    bundle = Bundle.open(path)
    rows = read_rows(data, columns, bundle.info.text_inputs, label_names=bundle.info.labels, limit=limit)
    split = Split.of(example for _, example in rows)
    quiet_libraries()
    with requires_extra("train", "evaluate"):
        import torch

        from sharcs_edge.evaluate import evaluate_bundle
    if threads is not None:
        torch.set_num_threads(threads)
    talk(f"answering {len(split):,} texts at every width")
    return evaluate_bundle(bundle, split)
