"""Profile records as Markdown, for a pull request or an issue."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sharcs_edge.profile import words
from sharcs_edge.profile.compare import Comparison, change_of, name_of
from sharcs_edge.profile.records import Record
from sharcs_edge.profile.words import milliseconds

_ESCAPED = str.maketrans({character: f"\\{character}" for character in "\\`*_[]<>|#~"} | {"\n": " ", "\r": " "})


def profile_markdown(record: Record, comparison: Comparison | None = None) -> str:
    """One record: verdict, latency by width and length, routed mix, start-up; with a base, what changed."""
    return "\n".join(_profile(record, comparison)) + "\n"


def fleet_markdown(records: Sequence[Record], comparisons: Sequence[Comparison | None]) -> str:
    """Several machines: one row each, then each by itself."""
    head = ["machine", "verdict", "routed mean ms", "p95", "full mean ms", "p95", "speed-up", "load ms", "private MB"]
    rows = [
        [_text(words.place_name(record)), record["verdict"]["state"], *words.fleet_figures(record)]
        for record in records
    ]
    parts = ["\n".join(_table(head, rows, text_columns=(0, 1))) + "\n"]
    parts += [profile_markdown(record, comparison) for record, comparison in zip(records, comparisons, strict=True)]
    return "\n".join(parts)


def _profile(record: Record, comparison: Comparison | None) -> Iterator[str]:
    artifact, verdict = record["artifact"], record["verdict"]
    yield f"### {_text(artifact['name'])} on {_text(words.place_name(record))}"
    yield ""
    reasons = "; ".join(verdict["reasons"])
    yield f"**{verdict['state']}**{': ' + _text(reasons) if reasons else ''}  "
    yield f"{_text(words.runtime(record))}; threads: {_text(words.threads(record))}; {_text(words.clock(record))}  "
    parity = words.parity(record)
    if parity is not None:
        yield f"{_text(parity)}  "
    if comparison is not None:
        yield ""
        yield from _comparison(comparison)
    yield ""
    yield from _latency(record)
    if record["mix"] is not None:
        yield ""
        yield from _mix(record)
    yield ""
    yield _text(words.start(record["cold_start"]))


def _latency(record: Record) -> Iterator[str]:
    lengths = record["settings"]["lengths"]
    totals = {(row["width"], row["tokens"]): row["ms"] for row in record["stages"] if row["stage"] == "total"}
    cells = [
        [
            words.width_name(width),
            *(f"{milliseconds(ms['p50'])} ({milliseconds(ms['p95'])})" for ms in (totals[width, n] for n in lengths)),
        ]
        for width in record["artifact"]["widths"]
    ]
    yield from _table(["p50 (p95) ms", *(f"{tokens} tokens" for tokens in lengths)], cells)


def _mix(record: Record) -> Iterator[str]:
    mix = record["mix"]
    rows = []
    for row in mix["shares"]:
        ms = row.get("routed") or {"mean": row["routed_ms"]}
        times = [milliseconds(ms.get(name)) for name in ("mean", "p50", "p95", "p99")]
        rows.append([words.width_name(row["width"]), f"{row['share']:.1%}", *times, milliseconds(row["full_ms"])])
    for name in ("routed", "full"):
        times = [milliseconds(mix[name][figure]) for figure in ("mean", "p50", "p95", "p99")]
        rows.append([f"**{name}**", "", *times, ""])
    yield f"{_text(words.mix_title(record))}:"
    yield ""
    yield from _table(["", "share", "mean ms", "p50", "p95", "p99", "same texts, full width"], rows)
    yield ""
    yield _text(words.mix_notes(mix))


def _comparison(comparison: Comparison) -> Iterator[str]:
    base = comparison.base
    mark = "❌" if comparison.regressions else "⚠️" if comparison.doubts else "✅"
    yield f"{mark} against {_text(base['artifact'])} of {_text(base['created'])}: {_text(comparison.sentence)}"
    shown = [change for change in comparison.changes if change.judgement != "same"]
    if shown:
        yield ""
        rows = [
            [
                name_of(change),
                *(f"{milliseconds(value)} {change.unit}" for value in (change.base, change.new)),
                change_of(change),
                f"**{change.judgement}**" if change.judgement == "regression" else change.judgement,
            ]
            for change in shown
        ]
        yield from _table(["", "base", "now", "change (range)", ""], rows, text_columns=(0, 4))
    same = len(comparison.changes) - len(shown)
    yield ""
    yield f"{same} of {len(comparison.changes)} figures are the same within their noise."
    yield from (f"- {_text(note)}" for note in comparison.notes)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], text_columns: Sequence[int] = (0,)) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'|'.join('---' if place in text_columns else '---:' for place in range(len(head)))}|"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def _text(value: str) -> str:
    """As it is read, whatever it holds."""
    return value.translate(_ESCAPED)
