"""`sharcs-edge run`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sharcs_edge.cli.budget import UNLIMITED, takes_budget, warn_of_blind_rules
from sharcs_edge.cli.options import ArtifactArgument, PairColumnOption, TextColumnOption, ThreadsOption
from sharcs_edge.cli.output import Format, open_output, talk
from sharcs_edge.cli.rows import read_rows, require_inputs
from sharcs_edge.data import Columns
from sharcs_edge.errors import DataError, InputError, UsageError
from sharcs_edge_runtime.budget import Budget

if TYPE_CHECKING:
    from sharcs_edge_runtime.tokenization import Text

# What to call a row in an error, and the row.
Row = tuple[str, "Text"]


@takes_budget
def run(
    artifact: ArtifactArgument,
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT", help="What to answer. Without any: one text per line of standard input."),
    ] = None,
    pair: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="The second text of a pair, one for each TEXT.")
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--input",
            "-i",
            metavar="FILE",
            help="Rows to answer, instead of TEXT: JSONL, CSV, TSV or Parquet; `-` is JSONL from standard input.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write JSON lines there; `-` is standard output."),
    ] = None,
    threads: ThreadsOption = 1,
    form: Annotated[
        Format, typer.Option("--format", help="How to print the answers: aligned, or one JSON object per line.")
    ] = Format.TABLE,
    budget: Budget = UNLIMITED,
    text_column: TextColumnOption = "text",
    pair_column: PairColumnOption = None,
) -> None:
    """Answer texts with an artifact.

    For each text: the label and its score (multi-label: the labels that hold; regression: the value), the width that
    gave it and why that one: the router chose it, a narrower one was not sure and it was escalated, or a limit decided.
    With a limit on time or drop, also whether it was met. Every answer is printed as soon as it is there, so `run` can
    stand in a pipe. A file of `--output` appears when all rows are answered: a row that cannot be answered ends the
    command, and nothing is written.

    Example: `sharcs-edge run artifact/ "Play some jazz from the 1960s"`

    Example: `sharcs-edge run artifact/ --input texts.jsonl --output answers.jsonl`

    Example: `sharcs-edge run artifact/ --input texts.jsonl --mean-ms 4 --deadline-ms 12 --max-drop 0.01`
    """
    from sharcs_edge.render.predictions import JsonLines, PredictionTable, render_summary
    from sharcs_edge_runtime.session import Session

    _check_usage(texts or [], pair or [], source)
    session = Session.load(artifact, threads=threads, budget=budget)
    warn_of_blind_rules(budget, session.conditions)
    takes = session.manifest.text_inputs
    if texts:
        rows = _given(texts, pair or [], takes)
    elif source is None:
        rows = _lines(takes)
    else:
        columns = Columns(text_column, pair_column, label=None)
        rows = ((where, row.inputs) for where, row in read_rows(str(source), columns, takes))
    as_json = form is Format.JSON or output is not None
    answers = []
    truncated = 0
    with open_output(output) as stream:
        labels, task = session.labels, session.manifest.task
        printer = JsonLines(stream, labels) if as_json else PredictionTable(stream, labels, task)
        for where, text in rows:
            try:
                answer = session.predict(text)
            except InputError as error:
                raise InputError(f"{where}: {error}") from None
            printer.print(text, answer)
            answers.append((answer.width, answer.milliseconds, answer.budget_met))
            truncated += answer.truncated
    if len(answers) > 1:
        talk(render_summary(answers, truncated))


def _check_usage(texts: Sequence[str], pairs: Sequence[str], source: Path | None) -> None:
    if texts and source is not None:
        raise UsageError("TEXT and --input were both given; expected one of them")
    if pairs and len(pairs) != len(texts):
        raise UsageError(f"{len(texts)} TEXT and {len(pairs)} --pair were given; expected one --pair for each TEXT")


def _given(texts: Sequence[str], pairs: Sequence[str], text_inputs: int) -> Iterator[Row]:
    inputs: Sequence[Text] = list(zip(texts, pairs, strict=True)) if pairs else texts
    for number, text in enumerate(inputs, start=1):
        where = f"TEXT {number}"
        require_inputs(where, text, text_inputs)
        yield where, text


def _lines(text_inputs: int) -> Iterator[Row]:
    if text_inputs == 2:
        raise UsageError("this artifact takes pairs, which plain lines cannot hold; give TEXT and --pair, or --input")
    if sys.stdin.isatty():
        talk("one text per line; Ctrl-D ends")
    number = 0
    for number, line in enumerate(sys.stdin.buffer, start=1):
        where = f"standard input, line {number}"
        try:
            yield where, line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{where}: byte 0x{line[error.start]:02x} is not UTF-8; convert the text, for example with iconv"
            ) from None
    if number == 0:
        raise DataError("standard input: no text; expected one per line, or give TEXT or --input")
