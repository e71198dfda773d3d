"""What a bundle or an artifact holds, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from sharcs_edge.inspection import Summary
from sharcs_edge.render._table import FigureTable, file_size, mega_macs
from sharcs_edge.render.training import render_dev_quality

_LABELS_SHOWN = 8
_READS = {0: "images", 1: "single texts", 2: "pairs of texts"}


def render_inspection(summary: Summary) -> RenderableType:
    """Facts, the trunk and the tails with their compute, the files with their sizes."""
    facts = Table.grid("", Column(overflow="fold"), padding=(0, 2))  # a path is shown whole
    for name, fact in _facts(summary):
        facts.add_row(name, Text(fact))
    if summary.kind == "artifact":
        return Group(facts, _graphs_and_files(summary))
    return Group(facts, _parts(summary), _files(summary), render_dev_quality(summary.provenance))


def _facts(summary: Summary) -> Iterator[tuple[str, str]]:
    yield summary.kind, summary.path
    yield "task", f"{summary.task.replace('_', '-')} of {_READS[summary.text_inputs]}"
    yield ("value" if summary.task == "regression" else "labels"), _shorten(summary.labels)
    yield "layers", f"trunk {summary.trunk_layers}, tails {summary.tail_layers}"
    yield "longest input" if summary.modality == "text" else "input", f"{summary.max_length} tokens"
    origin = summary.provenance
    if summary.kind == "artifact":
        yield "family", origin["family"]
        yield "target", f"{origin['target']} ({origin['backend']}, manifest version {origin['schema_version']})"
        yield "made with", _versions(origin["tools"])
        return
    yield "trained from", f"{origin['model']} on {origin['data']} ({origin['samples']['train']:,} samples)"
    yield (
        "recipe",
        (
            f"{origin['recipe']}, width_dims {origin['width_dims']}, best epoch {origin['best_epoch']} of "
            f"{origin['epochs']}, seed {origin['seed']}"
        ),
    )
    yield "made with", _versions({"sharcs-edge": origin["sharcs_edge"], **origin["versions"]})


def _shorten(labels: Sequence[str]) -> str:
    more = f", ... ({len(labels)} in all)" if len(labels) > _LABELS_SHOWN else ""
    return ", ".join(labels[:_LABELS_SHOWN]) + more


def _versions(tools: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in tools.items())


def _graphs_and_files(summary: Summary) -> Table:
    """Of an artifact: what each file is for, and the rest of the files."""
    table = FigureTable("file", "weights", "size", _macs_heading(summary), text_columns=2)
    for part in summary.parts:
        int8 = f"int8 in {part.int8_share:.1%} of MatMuls" if part.quantization == "int8_dynamic" else "float32"
        table.add(part.file or part.name, int8, file_size(part.bytes or 0), mega_macs(part.macs))
    table.add_section()
    graphs = {part.file for part in summary.parts}
    for name, size in summary.files.items():
        if name not in graphs:
            table.add(name, "", file_size(size), "")
    table.add_section()
    table.add("all", "", file_size(sum(summary.files.values())), "")
    return table


def _macs_heading(summary: Summary) -> str:
    return f"MACs M at {summary.macs_tokens} tokens"


def _parts(summary: Summary) -> Table:
    table = FigureTable("part", "width", _macs_heading(summary))
    for part in summary.parts:
        table.add(part.name, "" if part.width is None else f"{part.width:g}", mega_macs(part.macs))
    return table


def _files(summary: Summary) -> Table:
    table = FigureTable("file", "size")
    for name, size in summary.files.items():
        table.add(name, file_size(size))
    table.add_section()
    table.add("all", file_size(sum(summary.files.values())))
    return table
