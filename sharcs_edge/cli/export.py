"""`sharcs-edge export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from sharcs_edge.cli.libraries import quiet_libraries, requires_extra
from sharcs_edge.cli.options import BundleArgument, FormatOption, OverwriteOption
from sharcs_edge.cli.output import Format, emit, talk
from sharcs_edge.config import parse_widths
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
        Literal["none", "int8_dynamic"] | None, typer.Option(help="Instead of what the target's profile says.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be written, and stop.")] = False,
    overwrite: OverwriteOption = False,
    form: FormatOption = Format.TABLE,
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
        from sharcs_edge.export import export_bundle, plan_export
        from sharcs_edge.render.export import render_export, render_plan
    if output is None or dry_run:
        plan = plan_export(bundle, target=target, widths=chosen, backend=backend, quantization=quantization)
        emit(plan.to_dict(), form, table=lambda: render_plan(plan))
        return
    report = export_bundle(
        bundle,
        output,
        target=target,
        widths=chosen,
        backend=backend,
        quantization=quantization,
        overwrite=overwrite,
        progress=talk,
    )
    emit(report.to_dict(), form, table=lambda: render_export(report))
    talk(f"next: sharcs-edge verify {output}")
