"""A profile record (`sharcs_edge_runtime.profile`) for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

Record = Mapping[str, Any]

_VERDICT_STYLE = {"stable": "bold green", "noisy": "bold yellow", "throttled": "bold red"}


def render_profile(record: Record) -> RenderableType:
    """Machine, stages by length and width, the routed mix, start-up and memory, verdict."""
    return Group(
        _heading(record),
        _stages(record),
        _mix(record["mix"], record["texts"]),
        _start(record["cold_start"]),
        _verdict(record),
    )


def _heading(record: Record) -> RenderableType:
    device, runtime, settings = record["device"], record["runtime"], record["settings"]
    parts = device["cpu"]
    cpu = parts if isinstance(parts, str) else ", ".join(f"{part['count']} x {part['part']}" for part in parts)
    facts = Table.grid("", Column(overflow="fold"), padding=(0, 2))
    for name, fact in (
        ("artifact", f"{record['artifact']['name']} (for {record['artifact']['target']})"),
        ("machine", f"{device['model']}, {cpu}, {_clock(record)}"),
        ("system", f"{device['os']}, {device['ram_mb']} MB RAM"),
        ("runtime", f"{runtime['engine']}, {settings['threads']} thread(s)"),
    ):
        facts.add_row(name, Text(fact))
    return facts


def _clock(record: Record) -> str:
    """Governor, clock and temperature, before and after."""
    before, after = record["state"]["before"], record["state"]["after"]
    if isinstance(before["clocks"], str) or isinstance(after["clocks"], str):
        clock = f"clock {before['clocks']}"
    else:
        first, last = before["clocks"][0], after["clocks"][0]
        clock = f"{first['governor']} {first['mhz']} -> {last['mhz']} MHz"
    if isinstance(before["temperatures"], str) or isinstance(after["temperatures"], str):
        return f"{clock}, temperature {before['temperatures']}"
    first, last = before["temperatures"][0], after["temperatures"][0]
    return f"{clock}, {first['celsius']:.0f} -> {last['celsius']:.0f} °C"


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
        width = "" if row["width"] is None else f"{row['width']:g}"
        share = f"{ms['p50'] / whole[row['tokens']]:.0%}"
        numbers = (_ms(ms["min"]), _ms(ms["p50"]), _ms(ms["p95"]), f"{ms['cv']:.0%}", str(ms["n"]), share)
        table.add_row(shown, row["stage"], width, *numbers, style=style)
    return table


def _mix(mix: Record, texts: Record) -> RenderableType:
    title = Text(f"routed mix on {texts['used']} of {texts['given']} texts ({texts['source']})")
    table = Table("", "share", "mean ms", "p50 ms", "p95 ms", "same texts at full width, mean ms", title=title)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in mix["shares"]:
        table.add_row(
            f"width {row['width']:g}", f"{row['share']:.1%}", _ms(row["routed_ms"]), "", "", _ms(row["full_ms"])
        )
    table.add_section()
    for name in ("routed", "full"):
        ms = mix[name]
        table.add_row(name, "", _ms(ms["mean"]), _ms(ms["p50"]), _ms(ms["p95"]), "", style="bold")
    even = mix["break_even_share"]
    notes = Text.assemble(
        f"speed-up of the mean {mix['speedup']:.2f}x, {_agreement(mix)}, "
        f"routing decision {_ms(mix['decision']['mean'])} ms, "
        f"pays off from a narrow share of {'-' if even is None else format(even, '.1%')}"
    )
    return Group(table, notes)


def _agreement(mix: Record) -> str:
    if "mean_difference" in mix:  # of a regression
        return f"{mix['mean_difference']:.4g} from the full width's value on average"
    return f"same label as full width {mix['agreement']:.1%}"


def _start(cold: Record) -> RenderableType:
    if "unavailable" in cold:
        return Text(f"start-up unavailable: {cold['unavailable']}", style="dim")
    times = {name: cold[f"{name}_ms"]["p50"] for name in ("import", "load", "first_run", "warm_run")}
    loaded = cold["memory"]["after_runs"]
    return Text(
        f"fresh process: import {times['import']:.0f} ms, load {times['load']:.0f} ms, first run "
        f"{_ms(times['first_run'])} ms, then {_ms(times['warm_run'])} ms; "
        f"memory {loaded['pss_mb']} MB PSS, {loaded['private_mb']} MB private"
    )


def _verdict(record: Record) -> RenderableType:
    verdict = record["verdict"]
    text = Text.assemble("verdict: ", (verdict["state"], _VERDICT_STYLE[verdict["state"]]))
    for reason in verdict["reasons"]:
        text.append(f"\n  {reason}")
    return text


def _ms(value: float | None) -> str:
    """Three digits or so, and no exponent."""
    if value is None:
        return "-"
    decimals = next((count for count, limit in enumerate((100, 10, 1)) if value >= limit), 3)
    return f"{value:.{decimals}f}"
