"""`sharcs-edge plan`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sharcs_edge.cli.libraries import requires_extra
from sharcs_edge.cli.options import ArtifactArgument, FormatOption, PairColumnOption, TextColumnOption
from sharcs_edge.cli.output import Format, emit, talk
from sharcs_edge.cli.rows import read_rows
from sharcs_edge.data import Columns
from sharcs_edge.errors import UsageError

if TYPE_CHECKING:
    from sharcs_edge.plan.run import Tokens


def _limit(help: str, metavar: str) -> Any:
    return typer.Option(help=help, metavar=metavar, rich_help_panel="Budget", show_default=False)


def plan(
    artifact: ArtifactArgument,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A name from `sharcs-edge devices list`. Without it: the machine of `latency.json`, else the target "
            "of the artifact.",
            show_default=False,
        ),
    ] = None,
    mean_ms: Annotated[float | None, _limit("Mean milliseconds per input.", "MS")] = None,
    deadline_ms: Annotated[float | None, _limit("Milliseconds of each input.", "MS")] = None,
    max_drop: Annotated[
        float | None, _limit("Use only points that calibration certified for this loss, such as 0.01.", "SHARE")
    ] = None,
    energy_mj: Annotated[float | None, _limit("Mean millijoules per input: mean time x watts.", "MJ")] = None,
    watts: Annotated[float | None, _limit("What the device draws; its profile may say it.", "W")] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Texts as long as yours (JSONL, CSV, TSV, Parquet, `-`, `demo`); without any, those of calibration.",
            show_default=False,
        ),
    ] = None,
    tokens: Annotated[
        float | None,
        typer.Option(metavar="N", min=1, help="Mean tokens per input, instead of --data.", show_default=False),
    ] = None,
    frontier: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also draw the front there, as a PNG.", show_default=False),
    ] = None,
    form: FormatOption = Format.TABLE,
    text_column: TextColumnOption = "text",
    pair_column: PairColumnOption = None,
) -> None:
    """Say what a budget will buy on a device.

    Quality, the share of each width and the mean time, by playing the runtime's own decisions over the operating points
    that `calibrate` found. Times are measured where `profile --save` was run on such a device; else they are estimated
    from the device's profile and may be off by a factor of two. Exit code 3 if the budget buys nothing.

    Example: `sharcs-edge plan artifact/ --device rpi4 --mean-ms 4`
    """
    from sharcs_edge.plan.run import make_plan
    from sharcs_edge.render.plan import render_plan
    from sharcs_edge_runtime.artifact import write_file_atomically
    from sharcs_edge_runtime.budget import Budget

    budget = Budget(mean_ms=mean_ms, deadline_ms=deadline_ms, max_drop=max_drop, energy_mj=energy_mj, watts=watts)
    length = _length(artifact, data, tokens, Columns(text_column, pair_column, label=None))
    made = make_plan(artifact, budget, device=device, tokens=length)
    if frontier is not None:
        with requires_extra("report", "plan --frontier"):
            from sharcs_edge.render.frontier import draw_frontier
        write_file_atomically(frontier, draw_frontier(made))
        talk(f"the front: {frontier}")
    emit(made.to_dict(), form, table=lambda: render_plan(made))


def _length(artifact: Path, data: str | None, tokens: float | None, columns: Columns) -> Tokens | None:
    """The mean length that the user gave, as a number or as texts."""
    from sharcs_edge.plan.run import Tokens, count_tokens

    if data is not None and tokens is not None:
        raise UsageError("--data and --tokens were both given; expected one of them")
    if tokens is not None:
        return Tokens(tokens, "--tokens")
    if data is None:
        return None
    return count_tokens(
        artifact, lambda takes: (row.inputs for _, row in read_rows(data, columns, takes)), Path(data).name
    )
