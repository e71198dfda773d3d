"""`sharcs-edge export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from sharcs_edge.bundle import Bundle
from sharcs_edge.cli.libraries import quiet_libraries, requires_extra
from sharcs_edge.cli.options import BundleArgument, FormatOption, OverwriteOption, PairColumnOption, TextColumnOption
from sharcs_edge.cli.output import Format, emit, shell_word, talk
from sharcs_edge.config import parse_widths
from sharcs_edge.data import Columns
from sharcs_edge.errors import UsageError


def export(
    bundle: BundleArgument,
    target: Annotated[
        str,
        typer.Option(metavar="NAME", help="The device: a name from `sharcs-edge devices list`.", show_default=False),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="The artifact's folder.", show_default=False),
    ] = None,
    widths: Annotated[
        str | None, typer.Option(metavar="LIST", help="Some of the bundle's widths; all unless given.")
    ] = None,
    backend: Annotated[str, typer.Option(metavar="NAME", help="The format of the graphs.")] = "onnx",
    quantization: Annotated[
        str | None,
        typer.Option(
            metavar="RECIPE|FILE",
            help="Instead of what the target's profile says: none, int8_dynamic, int8_static, or a quantization "
            "configuration of Hugging Face Optimum.",
        ),
    ] = None,
    calibration_data: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="For int8_static: training texts that the scales of activations are taken from (JSONL, CSV, TSV, "
            "Parquet, `-`).",
            show_default=False,
        ),
    ] = None,
    layout: Annotated[
        Literal["shared", "separate"] | None,
        typer.Option(help="One set of weights for all graphs, or a copy in each. Instead of the target's."),
    ] = None,
    embeddings: Annotated[
        Literal["float32", "int8", "int4"] | None,
        typer.Option(help="How the word embeddings are stored, instead of what the target's profile says."),
    ] = None,
    trim_vocab: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Keep only the tokens that these texts use (JSONL, CSV, TSV, Parquet, `-`, `demo`) and those that "
            "other words fall back to.",
            show_default=False,
        ),
    ] = None,
    optimum: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Also write the widest width as Hugging Face Optimum loads it.", show_default=False
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be written, and stop.")] = False,
    overwrite: OverwriteOption = False,
    form: FormatOption = Format.TABLE,
    text_column: TextColumnOption = "text",
    pair_column: PairColumnOption = None,
) -> None:
    """Write an artifact for a device.

    Logits, labels and routes of the graphs, run by the runtime that ships, are compared with torch's. Exit code 3 if
    they disagree; then nothing is written.

    Example: `sharcs-edge export bundle/ --target rpi4 --output artifact/`
    """
    chosen = None if widths is None else parse_widths(widths)
    if output is None and not dry_run:
        raise UsageError("--output is missing; name the artifact's folder, or ask for the plan alone with --dry-run")
    quiet_libraries()
    with requires_extra("export", "export"):
        from sharcs_edge.export import ExportOptions, export_bundle, plan_export
        from sharcs_edge.export.optimum import check_optimum, write_optimum
        from sharcs_edge.export.options import parse_quantization
        from sharcs_edge.render.export import render_export, render_plan
    if optimum is not None:
        check_optimum(optimum, backend)
    recipe = None if quantization is None else parse_quantization(quantization)
    columns = Columns(text_column, pair_column, label=None)
    options = ExportOptions(target, chosen, backend, recipe, embeddings, layout, trim_vocab, columns, calibration_data)
    if output is None or dry_run:
        plan = plan_export(bundle, options)
        emit(plan.to_dict(), form, table=lambda: render_plan(plan))
        return
    report = export_bundle(bundle, output, options, overwrite=overwrite, progress=talk)
    emit(report.to_dict(), form, table=lambda: render_export(report))
    if optimum is not None:
        talk(f"for Optimum: {write_optimum(Bundle.open(bundle), output, optimum, overwrite=overwrite)}")
    name = shell_word(output)
    talk(f"next: sharcs-edge profile {name} --save && sharcs-edge calibrate {name} --data HELD_OUT_TEXTS")
