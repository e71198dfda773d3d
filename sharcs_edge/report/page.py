"""The page: one record, or several machines side by side."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Final

import sharcs_edge
from sharcs_edge.profile import words
from sharcs_edge.profile.compare import Comparison
from sharcs_edge.profile.records import Record
from sharcs_edge.report import charts, tables
from sharcs_edge.report.markup import Child, Markup, element
from sharcs_edge.report.palette import width_styles
from sharcs_edge.report.sections import sections
from sharcs_edge_runtime.artifact import write_file_atomically

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"  # a browser holds the file to its promise


def write_report(records: Sequence[Record], path: Path, comparisons: Sequence[Comparison | None] = ()) -> None:
    """Write one HTML file, atomically. Raises ArtifactError if that cannot be done."""
    write_file_atomically(path, render_report(records, comparisons).encode("utf-8"))


def render_report(records: Sequence[Record], comparisons: Sequence[Comparison | None] = ()) -> str:
    """The HTML of one record, or of several machines side by side.

    `comparisons`: with a base, one for each record, None where there is none.
    """
    compared = list(zip(records, comparisons or [None] * len(records), strict=True))
    if len(records) == 1:
        record, comparison = compared[0]
        title = f"{record['artifact']['name']} on {words.place_name(record)}"
        head = _head(title, f"{words.device_name(record)}, {record['created']}, measured by sharcs-edge profile")
        return _page(title, records, head, element("main", *sections(record, comparison)))
    title = f"{len(records)} machines"
    links = [
        element("li", element("a", words.place_name(record), href=f"#machine-{place}"))
        for place, record in enumerate(records, start=1)
    ]
    nav = element("nav", element("ul", *links), aria_label="Machines")
    head = _head(title, "side by side, measured by sharcs-edge profile")
    return _page(title, records, head, nav, element("main", _side_by_side(records), *_articles(compared)))


def _side_by_side(records: Sequence[Record]) -> Markup:
    routed = [record for record in records if record["mix"] is not None]
    drawing = charts.fleet_chart(routed) if routed else None
    artifacts = {record["artifact"]["manifest_sha256"] for record in records}
    note = None if len(artifacts) == 1 else element("p", "The machines ran different artifacts.", class_="unclear")
    return element("section", element("h2", "Side by side"), note, drawing, tables.fleet_table(records))


def _articles(compared: Sequence[tuple[Record, Comparison | None]]) -> list[Markup]:
    articles = []
    for place, (record, comparison) in enumerate(compared, start=1):
        facts = f"{record['artifact']['name']}, {words.device_name(record)}, {record['created']}"
        head = element("header", element("h2", words.place_name(record)), element("p", facts, class_="soft"))
        articles.append(element("article", head, *sections(record, comparison), id=f"machine-{place}"))
    return articles


def _head(title: str, subtitle: str) -> Markup:
    return element("header", element("h1", title), element("p", subtitle, class_="soft"))


def _page(title: str, records: Sequence[Record], *body: Child) -> str:
    widths = max(len(record["artifact"]["widths"]) for record in records)
    css = resources.files(__package__).joinpath("style.css").read_text(encoding="utf-8")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("title", title),
        element("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("style", Markup(f"{css}\n{width_styles(widths)}\n")),
    )
    footer = element("footer", f"sharcs-edge {sharcs_edge.__version__}. This file needs no network and no script.")
    return f"<!doctype html>\n{element('html', head, element('body', *body, footer), lang='en')}\n"
