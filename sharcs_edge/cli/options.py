"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sharcs_edge.bundle import BUNDLE_FILE
from sharcs_edge.cli.output import Format, shell_word
from sharcs_edge.errors import UsageError
from sharcs_edge_runtime.manifest import MANIFEST_NAME


def _no_bundle(path: Path) -> Path:
    if (path / BUNDLE_FILE).is_file() and not (path / MANIFEST_NAME).exists():
        command = f"sharcs-edge export {shell_word(path)} --target NAME --output ARTIFACT"
        raise UsageError(f"{path} is a bundle, and this command takes an artifact; make one: {command}")
    return path


ArtifactArgument = Annotated[
    Path,
    typer.Argument(
        metavar="ARTIFACT", help="Folder written by `sharcs-edge export`.", show_default=False, callback=_no_bundle
    ),
]
BundleArgument = Annotated[
    Path, typer.Argument(metavar="BUNDLE", help="Folder written by `sharcs-edge train`.", show_default=False)
]
PathArgument = Annotated[Path, typer.Argument(metavar="PATH", help="A bundle or an artifact.", show_default=False)]

FormatOption = Annotated[Format, typer.Option("--format", help="How to print the result on standard output.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace what is there, once the new one is done.")]
ThreadsOption = Annotated[
    int, typer.Option("--threads", metavar="N", min=1, help="Threads that compute one prediction.")
]

COLUMNS = "Columns of the data"
TextColumnOption = Annotated[
    str, typer.Option("--text-column", metavar="NAME", help="The text.", rich_help_panel=COLUMNS)
]
PairColumnOption = Annotated[
    str | None,
    typer.Option(
        "--pair-column",
        metavar="NAME",
        help="The second text of a pair; `text_pair` is used where the data has it.",
        rich_help_panel=COLUMNS,
        show_default=False,
    ),
]
LabelColumnOption = Annotated[
    str, typer.Option("--label-column", metavar="NAME", help="The label.", rich_help_panel=COLUMNS)
]
