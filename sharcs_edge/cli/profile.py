"""`sharcs-edge profile`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sharcs_edge.cli.budget import UNLIMITED, takes_budget
from sharcs_edge.cli.options import ArtifactArgument, PairColumnOption, TextColumnOption, ThreadsOption
from sharcs_edge.cli.output import Format, ReportFormat, emit, open_output, require_folder, talk
from sharcs_edge.cli.places import AdbOption, HostOption, HostsOption, RunnerOption, measure_there, named_place
from sharcs_edge.cli.rows import read_rows
from sharcs_edge.data import Columns
from sharcs_edge.errors import SharcsEdgeError, UsageError
from sharcs_edge_runtime.budget import Budget

if TYPE_CHECKING:
    from sharcs_edge.profile.compare import Comparison
    from sharcs_edge.profile.records import Record
    from sharcs_edge_runtime.profile import Settings, Texts

_AGAINST = "Against an earlier run"


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
        str | None,
        typer.Option(metavar="LIST", help="Tokens of the inputs, such as 16,32,64,128; with --compare those of then."),
    ] = None,
    threads: ThreadsOption = 1,
    min_samples: Annotated[int, typer.Option(metavar="N", help="Samples behind every figure, at least.")] = 50,
    min_seconds: Annotated[float, typer.Option(metavar="S", help="Seconds behind every figure, at least.")] = 2.0,
    max_celsius: Annotated[
        float, typer.Option(metavar="C", help="Let a hotter processor cool down before each group of measurements.")
    ] = 70.0,
    max_wait: Annotated[float, typer.Option(metavar="S", help="Seconds to wait for that, in all.")] = 180.0,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Also write the record (JSON) there; of several machines one a line."
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write a report there: one HTML file.", show_default=False),
    ] = None,
    save: Annotated[
        bool,
        typer.Option(
            "--save",
            help="Also put `latency.json` into the artifact, for `calibrate`, for `plan` and for deadlines here.",
        ),
    ] = False,
    compare: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="An earlier record (--output): say what changed since.",
            rich_help_panel=_AGAINST,
            show_default=False,
        ),
    ] = None,
    fail_over: Annotated[
        str,
        typer.Option(
            metavar="SHARE",
            help="With --compare: exit code 3 if a figure is clearly worse by more than that.",
            rich_help_panel=_AGAINST,
        ),
    ] = "10%",
    host: HostOption = None,
    adb: AdbOption = None,
    hosts: HostsOption = None,
    runner: RunnerOption = None,
    budget: Budget = UNLIMITED,
    form: Annotated[
        ReportFormat, typer.Option("--format", help="How to print the result on standard output.")
    ] = ReportFormat.TABLE,
    text_column: TextColumnOption = "text",
    pair_column: PairColumnOption = None,
) -> None:
    """Measure time and memory on this machine, or another one.

    Stages by width and length, the mix on your texts as the router and the budget choose, start-up and memory, with
    every sample in the record.

    Example: `sharcs-edge profile artifact/ --data demo --output profile.json --report report.html`

    Example: `sharcs-edge profile artifact/ --data demo --save --watts 4.2`
    """
    from sharcs_edge.profile.records import read_records
    from sharcs_edge_runtime import profile as profiler

    limit = _parse_share(fail_over)
    for path in (output, report):
        if path is not None:
            require_folder(path)
    bases = [] if compare is None else read_records(compare)
    tokens = tuple(bases[0]["settings"]["lengths"]) if bases and lengths is None else _parse_lengths(lengths)
    settings = profiler.Settings(tokens, threads, min_samples, min_seconds, max_celsius, max_wait)
    texts = _read_texts(artifact, data, Columns(text_column, pair_column, label=None))
    records: list[dict[str, Any]]
    failures = ""
    if named_place(host, adb, hosts, runner, save=save):
        from sharcs_edge.remote.profile import Job

        records, failures = measure_there(Job(artifact, texts, settings, budget, runner), host, adb, hosts)
    else:
        _check_base(bases, artifact, settings)
        records = [profiler.profile(artifact, texts, settings, talk, budget)]
    if save:
        talk(f"saved {profiler.save(artifact, records[0], budget.watts)}")
    _write(records, output)  # before anything is compared: what was measured is kept
    comparisons = _compare(bases, records, limit)
    if report is not None:
        from sharcs_edge.report import write_report

        write_report(records, report, comparisons)
        talk(f"the report: {report}")
    _print(records, comparisons, form)
    if failures:
        raise SharcsEdgeError(failures)
    for comparison in comparisons:
        if comparison is not None:
            comparison.raise_if_failed()


def _parse_lengths(text: str | None) -> tuple[int, ...] | None:
    try:
        return None if text is None else tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        raise UsageError(f"lengths are {text!r}; expected numbers of tokens such as 16,32,64") from None


def _parse_share(text: str) -> float:
    """``10%`` and ``0.1`` alike."""
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share < float("inf"):
        raise UsageError(f"--fail-over is {text!r}; expected a share such as 10% or 0.1")
    return share


def _read_texts(artifact: Path, data: str | None, columns: Columns) -> Texts | None:
    from sharcs_edge_runtime.artifact import Artifact
    from sharcs_edge_runtime.profile import Texts

    if data is None:
        return None
    takes = Artifact.open(artifact, verify_hashes=False).manifest.text_inputs
    return Texts(tuple(row.inputs for _, row in read_rows(data, columns, takes)), Path(data).name)


def _check_base(bases: Sequence[Record], artifact: Path, settings: Settings) -> None:
    """Refuses a base of another kind before minutes are spent on measuring."""
    from sharcs_edge.profile.compare import find_base, require_comparable
    from sharcs_edge_runtime.artifact import Artifact
    from sharcs_edge_runtime.fingerprint import read_device

    if not bases:
        return
    manifest = Artifact.open(artifact, verify_hashes=False).manifest
    shape = {"widths": list(manifest.widths), "trunk_layers": manifest.trunk_layers, "num_layers": manifest.num_layers}
    planned = {
        "device": read_device(),
        "artifact": {**shape, "task": manifest.task},
        "settings": {"lengths": list(settings.lengths or ()), "threads": settings.threads},
    }
    require_comparable(find_base(bases, planned), planned)


def _compare(bases: Sequence[Record], records: Sequence[Record], limit: float) -> list[Comparison | None]:
    from sharcs_edge.profile.compare import compare, find_base

    if not bases:
        return [None] * len(records)
    comparisons: list[Comparison | None] = []
    for record in records:
        comparison = compare(find_base(bases, record), record, limit)
        if comparison.doubts and not comparison.regressions:
            talk(comparison.sentence, style="yellow")  # passed, but not for sure
        comparisons.append(comparison)
    return comparisons


def _write(records: Sequence[Record], output: Path | None) -> None:
    from sharcs_edge.render._json import write_json

    if output is not None:
        with open_output(output) as stream:
            for record in records:
                write_json(record, stream)


def _print(records: Sequence[Record], comparisons: Sequence[Comparison | None], form: ReportFormat) -> None:
    from sharcs_edge.render.fleet import render_fleet
    from sharcs_edge.render.profile import render_profile
    from sharcs_edge.render.profile_markdown import fleet_markdown, profile_markdown

    alone = len(records) == 1
    if form is ReportFormat.MARKDOWN:
        text = profile_markdown(records[0], comparisons[0]) if alone else fleet_markdown(records, comparisons)
        sys.stdout.write(text)
        return
    plain: list[dict[str, Any]] = [
        {**record, **({} if comparison is None else {"comparison": comparison.to_dict()})}
        for record, comparison in zip(records, comparisons, strict=True)
    ]
    emit(
        plain[0] if alone else plain,
        Format(form.value),
        table=lambda: render_profile(records[0], comparisons[0]) if alone else render_fleet(records, comparisons),
    )
