"""`sharcs-edge profile`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sharcs_edge.cli.budget import UNLIMITED, takes_budget
from sharcs_edge.cli.options import ArtifactArgument, FormatOption, PairColumnOption, TextColumnOption, ThreadsOption
from sharcs_edge.cli.output import Format, emit, open_output, talk
from sharcs_edge.cli.rows import read_rows
from sharcs_edge.data import Columns
from sharcs_edge.errors import UsageError
from sharcs_edge_runtime.budget import Budget


@takes_budget
def profile(
    artifact: ArtifactArgument,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Your texts (JSONL, CSV, TSV, Parquet, `-`, `demo`); without any, the artifact's golden ones.",
        ),
    ] = None,
    lengths: Annotated[
        str | None, typer.Option(metavar="LIST", help="Tokens of the inputs, such as 16,32,64,128.")
    ] = None,
    threads: ThreadsOption = 1,
    min_samples: Annotated[int, typer.Option(metavar="N", help="Samples behind every figure, at least.")] = 50,
    min_seconds: Annotated[float, typer.Option(metavar="S", help="Seconds behind every figure, at least.")] = 2.0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Also write the record (JSON) there.")
    ] = None,
    save: Annotated[
        bool,
        typer.Option("--save", help="Also put `latency.json` into the artifact, for deadlines here and for `plan`."),
    ] = False,
    budget: Budget = UNLIMITED,
    form: FormatOption = Format.TABLE,
    text_column: TextColumnOption = "text",
    pair_column: PairColumnOption = None,
) -> None:
    """Measure time and memory on this machine.

    Stages by width and length, the mix on your texts as the router and the budget choose, start-up and memory, with
    every sample in the record.

    Example: `sharcs-edge profile artifact/ --data demo --output profile.json`

    Example: `sharcs-edge profile artifact/ --data demo --save --watts 4.2`
    """
    from sharcs_edge.render._json import write_json
    from sharcs_edge.render.profile import render_profile
    from sharcs_edge_runtime import profile as profiler
    from sharcs_edge_runtime.artifact import Artifact

    settings = profiler.Settings(_parse_lengths(lengths), threads, min_samples, min_seconds)
    texts = None
    if data is not None:
        takes = Artifact.open(artifact, verify_hashes=False).manifest.text_inputs
        rows = read_rows(data, Columns(text_column, pair_column, label=None), takes)
        texts = profiler.Texts(tuple(row.inputs for _, row in rows), Path(data).name)
    record = profiler.profile(artifact, texts, settings, talk, budget)
    if save:
        talk(f"saved {profiler.save(artifact, record, budget.watts)}")
    if output is not None:
        with open_output(output) as stream:
            write_json(record, stream)
    emit(record, form, table=lambda: render_profile(record))


def _parse_lengths(text: str | None) -> tuple[int, ...] | None:
    try:
        return None if text is None else tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        raise UsageError(f"lengths are {text!r}; expected numbers of tokens such as 16,32,64") from None
