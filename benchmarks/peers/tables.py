"""The head to head as CSV and as Markdown."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from io import StringIO

from benchmarks.curves.tables import table
from benchmarks.peers.contenders import Contender
from benchmarks.peers.floor import Floor
from benchmarks.peers.measure import HARD, REAL, Row
from sharcs_edge_runtime.manifest import Manifest, find_width

_DIFFERS = 0.95
"""Below this share of equal labels a row says that the engine answers otherwise."""


def as_csv(rows: Sequence[Row]) -> str:
    text = StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Row)], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        values = asdict(row).items()
        writer.writerow({name: f"{value:.4f}" if isinstance(value, float) else value for name, value in values})
    return text.getvalue()


def as_markdown(rows: Sequence[Row], contenders: Mapping[str, Contender], floors: Mapping[int, Floor]) -> str:
    """For each number of threads: times on the data's texts, on fixed lengths, and ours by width; then footprints."""
    parts = []
    for threads, floor in floors.items():
        some = [row for row in rows if row.threads == threads]
        title = f"**{some[0].data}, {threads} thread{'s' if threads > 1 else ''}, one text at a time**"
        parts += [title, _times(some, contenders), _lengths(some, contenders, floor)]
        parts += [_widths(some, one) for one in contenders.values() if one.manifest and not one.same_model]
    parts += ["**Footprint**", _footprint([row for row in rows if row.threads == min(floors)])]
    return "\n\n".join(part for part in parts if part)


def _times(rows: Sequence[Row], contenders: Mapping[str, Contender]) -> str:
    """Milliseconds on the data's texts; `x`: of the fastest engine that is not ours."""
    real = [row for row in rows if row.inputs in (REAL, HARD)]
    peers = [
        row.mean_ms for row in real if row.mean_ms and row.engine in contenders and not contenders[row.engine].manifest
    ]
    lines = []
    for row in real:
        if row.mean_ms is None:
            lines.append([row.title, f"not measured: {row.note}", *["-"] * 6])
            continue
        way = contenders[row.engine].ways[row.way] + (f", {row.inputs}" if row.inputs == HARD else "")
        differs = row.agreement is not None and row.agreement < _DIFFERS
        lines.append(
            [
                row.title,
                way,
                f"{row.mean_ms:.2f}",
                _number(row.p95_ms, 2),
                _number(row.cpu_ms, 2),
                f"{row.mean_ms / min(peers):.2f}" if peers and row.inputs == REAL else "-",
                _percent(row.accuracy),
                _percent(row.agreement) + (": answers otherwise than torch" if differs else ""),
            ]
        )
    heads = ["engine", "way", "mean ms", "p95 ms", "CPU ms", "× fastest peer", "accuracy %", "label as torch's %"]
    return table(heads, lines, texts=2)


def _lengths(rows: Sequence[Row], contenders: Mapping[str, Contender], floor: Floor) -> str:
    """Mean ms at fixed lengths, full width; and of ours, the narrower ones."""
    lengths = list(dict.fromkeys(row.inputs for row in rows if row.inputs not in (REAL, HARD)))
    found = {(row.engine, row.way, row.inputs): row.mean_ms for row in rows}
    lines = []
    for name, one in contenders.items():
        for way, title in one.ways.items():
            times = [found.get((name, way, length)) for length in lengths]
            if way != "routed" and any(times):
                lines.append([one.title, title, *("-" if ms is None else f"{ms:.2f}" for ms in times)])
    manifests = [one.manifest for one in contenders.values() if one.manifest and one.same_model]
    if manifests:
        macs = [graph.macs for graph in manifests[0].graphs]
        times = [floor.ms(macs, int(length.split()[0])) for length in lengths]
        rates = f"{floor.int8 / 1e6:.0f} int8, {floor.float32 / 1e6:.0f} float32 GMAC/s"
        lines.append(["arithmetic floor", rates, *(f"{ms:.2f}" for ms in times)])
    return table(["ms per text of", "", *lengths], lines, texts=2) if lengths and lines else ""


def _widths(rows: Sequence[Row], one: Contender) -> str:
    """Of ours: the time of each width over the full one's, beside its share of the multiply-accumulates."""
    assert one.manifest is not None
    found = {(row.way, row.inputs): row.mean_ms for row in rows if row.engine == one.name}
    lines = []
    for (way, inputs), ms in found.items():
        full = found.get(("full", inputs))
        if not way.startswith("width") or inputs == REAL or ms is None or full is None:
            continue
        share = _share(one.manifest, float(way.split()[1]), int(inputs.split()[0]))
        lines.append([one.ways[way], inputs, f"{ms / full:.3f}", f"{share:.3f}", f"{ms / full / share:.2f}"])
    heads = [one.title, "of", "time, of full width", "MACs, of full width", "time over MACs"]
    return table(heads, lines, texts=2) if lines else ""


def _share(manifest: Manifest, width: float, tokens: int) -> float:
    exact = manifest.widths[find_width(manifest.widths, width)]
    trunk = manifest.trunk.macs.count(tokens)
    narrow, full = (manifest.tail(one).macs.count(tokens) for one in (exact, manifest.widths[-1]))
    return (trunk + narrow) / (trunk + full)


def _footprint(rows: Sequence[Row]) -> str:
    lines = [
        [
            row.title,
            row.versions,
            _number(row.flash_mb),
            _number(row.model_mb),
            _number(row.private_mb),
            *(_number(part, 0) for part in (row.import_ms, row.load_ms, row.first_ms, row.start_ms)),
        ]
        for row in rows
        if row.flash_mb is not None
    ]
    heads = ["engine", "versions", "files MB", "model MB", "process MB", "import ms", "load ms", "first ms", "start ms"]
    return table(heads, lines, texts=2)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _number(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
