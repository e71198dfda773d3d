"""`sharcs-edge inspect`."""

from __future__ import annotations

from sharcs_edge.cli.libraries import quiet_libraries, requires_extra
from sharcs_edge.cli.options import FormatOption, PathArgument
from sharcs_edge.cli.output import Format, emit


def inspect(path: PathArgument, form: FormatOption = Format.TABLE) -> None:
    """Show what a bundle or an artifact holds.

    Task, labels, widths, files, compute per width, quantization, and where it comes from.

    Example: `sharcs-edge inspect artifact/`
    """
    from sharcs_edge.inspection import inspect as inspect_folder
    from sharcs_edge.render.inspection import render_inspection

    quiet_libraries()
    with requires_extra("train", "inspect"):  # of the two, a bundle needs transformers
        summary = inspect_folder(path)
    emit(summary.to_dict(), form, table=lambda: render_inspection(summary))
