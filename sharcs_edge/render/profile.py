"""A profile record (`sharcs_edge_runtime.profile`) for a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from sharcs_edge.profile import words
from sharcs_edge.profile.compare import Comparison, change_of, name_of
from sharcs_edge.profile.records import Record
from sharcs_edge.profile.words import milliseconds

_VERDICT_STYLE = {"stable": "bold green", "noisy": "bold yellow", "throttled": "bold red"}
_CHANGE_STYLE = {"same": "dim", "better": "green", "worse": "yellow", "regression": "bold red", "unclear": "yellow"}


def render_profile(record: Record, comparison: Comparison | None = None) -> RenderableType:
    """Machine, stages by length and width, the routed mix, start-up and memory, verdict, changes against a base."""
    parts: list[RenderableType] = [_heading(record), _stages(record)]
    if record["mix"] is not None:
        parts.append(_mix(record))
    unavailable = "unavailable" in record["cold_start"]
    parts.append(Text(words.start(record["cold_start"]), style="dim" if unavailable else ""))
    parity = words.parity(record)
    if parity is not None:
        parts.append(Text(parity, style="" if record["parity"]["passed"] else "bold red"))
    parts.append(_verdict(record))
    if comparison is not None:
        parts.append(render_comparison(comparison))
    return Group(*parts)


def render_comparison(comparison: Comparison) -> RenderableType:
    """Every figure that changed for sure or may have, and the result."""
    base = comparison.base
    table = Table(
        "", "base", "now", "change (range)", "", title=Text(f"against {base['artifact']} of {base['created']}")
    )
    for column in table.columns[1:4]:
        column.justify = "right"
    shown = [change for change in comparison.changes if change.judgement != "same"]
    for change in shown:
        figures = (f"{milliseconds(value)} {change.unit}" for value in (change.base, change.new))
        table.add_row(
            name_of(change), *figures, change_of(change), change.judgement, style=_CHANGE_STYLE[change.judgement]
        )
    same = len(comparison.changes) - len(shown)
    parts: list[RenderableType] = [table] if shown else []
    notes = [f"{same} of {len(comparison.changes)} figures are the same within their noise", *comparison.notes]
    parts += [Text(note) for note in notes]
    parts.append(Text(comparison.sentence, style="bold red" if comparison.regressions else "bold"))
    return Group(*parts)


def _heading(record: Record) -> RenderableType:
    device = record["device"]
    facts = Table.grid("", Column(overflow="fold"), padding=(0, 2))
    for name, fact in (
        ("artifact", f"{record['artifact']['name']} (for {record['artifact']['target']})"),
        ("machine", f"{device['model']}, {words.processor(record)}, {words.clock(record)}"),
        ("system", f"{device['os']}, {device['ram_mb']} MB RAM"),
        ("runtime", f"{record['runtime']['engine']}, {record['settings']['threads']} thread(s)"),
        ("heat", words.waiting(record)),
    ):
        if fact is not None:
            facts.add_row(name, Text(fact))
    return facts


def _stages(record: Record) -> RenderableType:
    table = Table("tokens", "stage", "width", "min ms", "p50 ms", "p95 ms", "CV", "n", "of full", title="stages")
    for column in table.columns[3:]:
        column.justify = "right"
    rows = record["stages"]
    full = max(record["artifact"]["widths"])
    whole = {row["tokens"]: row["ms"]["p50"] for row in rows if row["stage"] == "total" and row["width"] == full}
    last = None
    for row in rows:
        if last is not None and row["tokens"] != last:
            table.add_section()
        shown = str(row["tokens"]) if row["tokens"] != last else ""
        last = row["tokens"]
        ms = row["ms"]
        style = "bold" if row["stage"] == "total" else ""
        width = "" if row["width"] is None else f"{row['width']:.3g}"
        share = f"{ms['p50'] / whole[row['tokens']]:.0%}"
        times = (milliseconds(ms[name]) for name in ("min", "p50", "p95"))
        table.add_row(shown, row["stage"], width, *times, f"{ms['cv']:.0%}", str(ms["n"]), share, style=style)
    return table


def _mix(record: Record) -> RenderableType:
    mix = record["mix"]
    table = Table(
        "", "share", "mean ms", "p50 ms", "p95 ms", "p99 ms", "at full width", title=Text(words.mix_title(record))
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for row in mix["shares"]:
        ms = row.get("routed") or {"mean": row["routed_ms"]}
        times = (milliseconds(ms.get(name)) for name in ("mean", "p50", "p95", "p99"))
        table.add_row(words.width_name(row["width"]), f"{row['share']:.1%}", *times, milliseconds(row["full_ms"]))
    table.add_section()
    for name in ("routed", "full"):
        times = (milliseconds(mix[name][figure]) for figure in ("mean", "p50", "p95", "p99"))
        table.add_row(name, "", *times, "", style="bold")
    return Group(table, Text("the last column: mean ms of the same texts"), Text(words.mix_notes(mix)))


def _verdict(record: Record) -> RenderableType:
    verdict = record["verdict"]
    text = Text.assemble("verdict: ", (verdict["state"], _VERDICT_STYLE[verdict["state"]]))
    for reason in verdict["reasons"]:
        text.append(f"\n  {reason}")
    return text
