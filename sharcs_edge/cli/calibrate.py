"""`sharcs-edge calibrate`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sharcs_edge.cli.failure import Interrupted
from sharcs_edge.cli.libraries import requires_extra
from sharcs_edge.cli.options import (
    ArtifactArgument,
    FormatOption,
    LabelColumnOption,
    PairColumnOption,
    TextColumnOption,
    ThreadsOption,
)
from sharcs_edge.cli.output import Format, emit, progress, shell_word, talk
from sharcs_edge.cli.rows import read_rows
from sharcs_edge.data import Columns, Example
from sharcs_edge.errors import DataError, UsageError
from sharcs_edge.latency import Timing, find_timing

if TYPE_CHECKING:
    from sharcs_edge_runtime.artifact import Artifact
    from sharcs_edge_runtime.session import Session


def calibrate(
    artifact: ArtifactArgument,
    data: Annotated[
        str,
        typer.Option(
            metavar="DATA",
            help="Held-out text, which training and the choice of the model never saw: JSONL, CSV, TSV, Parquet, `-` "
            "(JSONL from standard input) or `demo`.",
            show_default=False,
        ),
    ],
    max_drop: Annotated[
        float, typer.Option(metavar="SHARE", help="What an operating point may lose against the full width.")
    ] = 0.01,
    confidence: Annotated[
        float, typer.Option(metavar="SHARE", help="The probability that no certified point loses more.")
    ] = 0.95,
    against: Annotated[
        Literal["labels", "full"],
        typer.Option(help="What is lost: quality by the labels, or, without labels, agreement with the full width."),
    ] = "labels",
    cost: Annotated[
        Literal["time", "macs"],
        typer.Option(
            help="What makes a point cheap: its time on the device, as `sharcs-edge profile --save` measured it, else "
            "as the target's profile lets it be estimated, else its multiply-accumulates; or always these."
        ),
    ] = "time",
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Read the first N rows only.", show_default=False)
    ] = None,
    threads: ThreadsOption = 1,
    form: FormatOption = Format.TABLE,
    text_column: TextColumnOption = "text",
    pair_column: PairColumnOption = None,
    label_column: LabelColumnOption = "label",
) -> None:
    """Choose operating points, and certify what they lose.

    An operating point says where inputs start and how sure a narrow width must be of its answer, or the next wider one
    runs. Every width answers every text, with the artifact as it ships; a fifth of the texts, drawn at random, choose
    points from the cheapest to the dearest, the others test them. Those that pass are certified: with the asked
    confidence none of them loses more than `--max-drop` on texts like these. Where the texts are too few to show that,
    the command says how many would do; the full width alone is always certified.

    Which points are cheap depends on the device: a narrow tail takes more time than its arithmetic says. So measure
    first, with `sharcs-edge profile --save`. The promise holds whatever the costs, if they are fixed before: to measure
    or choose again until something is certified voids it.

    Against labels, what is lost is accuracy; for a multi-label task the F1 of each text; for a regression the quality
    of each value: 1 up to an error of 0.1 standard deviations, then e^-x at x more. Against the full width it is the
    share of texts that are answered otherwise than the full width does; for a regression the same quality, with the
    full width's value as the truth.

    The points are written to `operating_points.json` in the artifact, in one step; nothing else in it changes.

    Example: `sharcs-edge calibrate artifact/ --data held_out.jsonl --max-drop 0.01`

    Example: `sharcs-edge calibrate artifact/ --data unlabelled.jsonl --against full`
    """
    with requires_extra("calibrate", "calibrate"):
        from sharcs_edge.calibrate import run
        from sharcs_edge.calibrate.case import Promise
    from sharcs_edge.render.calibration import render_calibration, verdict
    from sharcs_edge_runtime.session import Session

    promise = Promise(max_drop, confidence, against)
    session = Session.load(artifact, threads=threads, calibrated=False)
    if not os.access(artifact, os.W_OK):
        raise UsageError(f"cannot write operating_points.json: {artifact} is read-only; calibrate a copy of it")
    timing, why = _timing(session.artifact) if cost == "time" else (None, "--cost macs")
    columns = Columns(text_column, pair_column, label_column if against == "labels" else None)
    rows = _read(session, data, columns, limit)
    texts = [row.inputs for row in rows]
    labels = [row.label for row in rows if row.label is not None] if against == "labels" else None
    try:
        talk(f"answering {len(rows):,} texts at every width")
        with progress("texts") as advance:
            calibration = run.calibrate(session, texts, labels, promise, timing=timing, progress=advance)
    except KeyboardInterrupt:
        raise Interrupted("nothing was written") from None
    emit(calibration.to_dict(), form, table=lambda: render_calibration(calibration))
    talk(verdict(calibration))
    talk(f"cheap: {_what_is_cheap(timing, why)}")
    talk(f"written: {calibration.file}")
    talk(f"next: sharcs-edge evaluate {shell_word(artifact)} --data TEST_TEXTS")


def _timing(artifact: Artifact) -> tuple[Timing | None, str]:
    """None, and the reason, where nothing was measured and the target's profile does not say enough."""
    try:
        return find_timing(artifact, None), ""
    except UsageError as error:
        return None, str(error.__cause__ or error)  # the profile's fault, without what `plan` could do


def _what_is_cheap(timing: Timing | None, why: str) -> str:
    if timing is None:
        return f"few multiply-accumulates ({why})"
    threads = f"{timing.threads} thread{'' if timing.threads == 1 else 's'}"
    kind = "" if timing.kind == "measured" else "estimated "
    return f"little {kind}time on {timing.device} with {threads} ({timing.source})"


def _read(session: Session, data: str, columns: Columns, limit: int | None) -> list[Example]:
    manifest = session.manifest
    rows = read_rows(data, columns, manifest.text_inputs, label_names=session.labels, task=manifest.task, limit=limit)
    try:
        return [example for _, example in rows]
    except DataError as error:
        if columns.label is not None and f"no column {columns.label!r}" in str(error):
            raise DataError(f"{error}, or give --against full, which needs no labels") from None
        raise
