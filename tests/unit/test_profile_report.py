"""Profile records as HTML and Markdown: valid, self-contained, with the record's figures, and never with its markup."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import html5lib
import pytest
from rich.console import Console

from sharcs_edge.profile.compare import compare
from sharcs_edge.profile.frontier import front_of, quality_name
from sharcs_edge.render.fleet import render_fleet
from sharcs_edge.render.profile import render_profile
from sharcs_edge.render.profile_markdown import fleet_markdown, profile_markdown
from sharcs_edge.report import render_report, write_report
from sharcs_edge.report.axes import spread, tick_text, ticks
from sharcs_edge.report.charts import share_chart
from sharcs_edge.report.markup import Markup, element
from tests.unit.profile_records import make_record, rescale

EVIL = "<script>alert('x')</script> & \"y\" ](http://z)"


def worse_record() -> dict[str, Any]:
    record = make_record(seed=50)
    for row in record["stages"]:
        row["ms"] = rescale(row["ms"], 1.5)
    return record


def fleet() -> list[dict[str, Any]]:
    return [{**make_record(seed=seed), "remote": name} for seed, name in enumerate(("kitchen", "hall"))]


def parsed(page: str) -> Any:
    """The document; html5lib raises at the first error of the syntax."""
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(page)


def words(page: str) -> str:
    """The text that a reader sees."""
    body = parsed(page).find("body")
    return " ".join(" ".join(body.itertext()).split())


def without(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda record: record.update(changes)


PAGES: dict[str, Callable[[], str]] = {
    "one": lambda: render_report([make_record()]),
    "compared": lambda: render_report([worse_record()], [compare(make_record(), worse_record())]),
    "fleet": lambda: render_report(fleet()),
    "uncalibrated": lambda: render_report([make_record(without(operating_points=None))]),
    "little": lambda: render_report(
        [make_record(without(mix=None, texts=None, cold_start={"unavailable": "no child"}, parity=None))]
    ),
    "disturbed": lambda: render_report([make_record(without(verdict={"state": "noisy", "reasons": ["a", "b"]}))]),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_report_is_valid_and_needs_no_network_and_no_script(name: str) -> None:
    page = PAGES[name]()
    document = parsed(page)
    tags = {node.tag for node in document.iter()}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    assert "http" not in re.sub(r'http-equiv="[^"]*"', "", page).replace("http://www.w3.org/2000/svg", "")
    assert "url(" not in page and "@import" not in page and "NaN" not in page and " inf" not in page
    for node in document.iter():
        assert not [key for key in node.attrib if key.startswith("on") or key in ("src", "style")]
        assert node.attrib.get("href", "#").startswith("#")
    (policy,) = [node for node in document.iter("meta") if "http-equiv" in node.attrib]
    assert policy.attrib["content"].startswith("default-src 'none'")
    ids = [node.attrib["id"] for node in document.iter() if "id" in node.attrib]
    assert len(ids) == len(set(ids))
    assert {node.attrib["href"][1:] for node in document.iter("a")} <= set(ids)


@pytest.mark.parametrize("name", PAGES)
def test_every_picture_has_a_name_and_every_column_a_heading(name: str) -> None:
    document = parsed(PAGES[name]())
    for picture in document.iter():
        if picture.tag.endswith("svg"):
            assert picture.attrib["role"] == "img" and picture.attrib["aria-label"]
    for grid in document.iter("table"):
        heads = len(grid.findall("./thead/tr/th"))
        for row in grid.findall("./tbody/tr"):
            assert len(row) == heads and row[0].tag == "th"


def test_what_a_reader_decides_by_is_there() -> None:
    text = words(render_report([make_record()]))
    mix = make_record()["mix"]
    for part in (
        "intents on Raspberry Pi 4 Model B",
        "● stable",
        f"{mix['speedup']:.2f} times",
        f"{mix['routed']['mean']:.1f}",
        "98.5 %",
        "4 x Cortex-A72",
        "ondemand 1500 -> 1500 MHz, 48 -> 48 °C",
        "onnxruntime 1.31.1 (CPUExecutionProvider), sharcs-edge-runtime 0.1.0, Python 3.11.2 (64 bit)",
        "hwcap 0x8ff, hwcap2 unavailable",
        "1 requested, 1 active, processors 0, 1, 2, 3",
        "Verified here on 64 golden texts: same label as torch 100.0%, same route 98.4%.",
        "10.5 9.0",
        "load, from the disk 412",
        "ESTIMATED",
        "point 0 in use",
        "0, in use 88.00",
        "Certified points lose at most 1.00%",
        "20 of 700 texts (texts.jsonl)",
        "pays off from a narrow share of 0.1%",
    ):
        assert part in text, part


def test_the_verdict_and_its_reasons_come_first() -> None:
    reason = "other processes kept 1.0 cores busy (limit 0.5)"
    record = make_record(without(verdict={"state": "noisy", "reasons": [reason]}))
    text = words(render_report([record]))
    assert text.index("▲ noisy") < text.index(reason) < text.index("Latency by width and length")


def test_a_comparison_is_part_of_the_report() -> None:
    comparison = compare(make_record(), worse_record())
    text = words(render_report([worse_record()], [comparison]))
    assert comparison.sentence in text
    assert "total p50 of width 1 at 64 tokens +50" in text
    assert "regression" in text


def test_wrong_answers_are_said_loudly() -> None:
    record = make_record()
    record["parity"].update(passed=False, failures=["tail_w025: 3 of 64 labels differ"])
    assert "WRONG ANSWERS here: tail_w025: 3 of 64 labels differ" in words(render_report([record]))
    assert "WRONG ANSWERS here" in profile_markdown(record)


def test_without_calibration_the_report_says_how_to_get_the_front() -> None:
    record = make_record(without(operating_points=None))
    assert front_of(record) == []
    assert "sharcs-edge calibrate ARTIFACT" in words(render_report([record]))


def test_several_machines_stand_side_by_side() -> None:
    text = words(render_report(fleet()))
    assert text.startswith("2 machines")
    assert text.index("Side by side") < text.index("In short")
    assert text.count("Machine and artifact") == 2
    assert "different artifacts" not in text
    records = fleet()
    records[1]["artifact"]["manifest_sha256"] = "00" * 32
    assert "The machines ran different artifacts." in words(render_report(records))


def test_names_and_texts_are_never_markup() -> None:
    record = make_record()
    record["artifact"]["name"] = record["texts"]["source"] = record["device"]["model"] = EVIL
    record["runtime"]["engine"] = record["created"] = record["device"]["os"] = record["artifact"]["target"] = EVIL
    record["verdict"] = {"state": "noisy", "reasons": [EVIL]}
    record["remote"] = EVIL
    for page in (
        render_report([record]),
        render_report([record, record]),
        render_report([record], [compare(record, record)]),
    ):
        assert "<script" not in page
        assert EVIL in words(page)
        parsed(page)
    markdown = profile_markdown(record, compare(record, record))
    assert "<script" not in markdown.replace("\\<script", "")
    assert "](http" not in markdown.replace("\\](http", "")


def test_a_report_is_written_in_one_piece(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    write_report([make_record()], file)
    assert file.read_text(encoding="utf-8") == render_report([make_record()])
    assert list(tmp_path.iterdir()) == [file]
    assert file.stat().st_size < 200_000


def test_the_front_takes_its_times_from_the_measured_stages() -> None:
    record = make_record()
    narrow, half, full = front_of(record)
    times = {(row["stage"], row["width"], row["tokens"]): row["ms"]["mean"] for row in record["stages"]}
    share = (24 - 16) / (64 - 16)  # the texts' mean length between the measured ones

    def at(stage: str, width: float | None) -> float:
        return float(times[stage, width, 16] * (1 - share) + times[stage, width, 64] * share)

    shared = at("tokenise", None) + at("trunk", None)
    assert full.ms == pytest.approx(shared + at("tail", 1.0))
    assert half.ms == pytest.approx(shared + 0.5 * at("tail", 0.25) + 0.5 * at("tail", 1.0))
    assert (narrow.quality, narrow.certified, narrow.used, half.used) == (0.88, True, 1.0, 0.0)


def test_an_escalated_text_pays_for_both_tails() -> None:
    record = make_record()
    record["operating_points"]["points"][0].update(starts=[1.0, 0.0], shares=[0.75, 0.25])
    rows = {(row["stage"], row["width"]): row["ms"]["mean"] for row in record["stages"] if row["tokens"] == 16}
    record["texts"]["tokens_mean"] = 16.0
    expected = rows["tokenise", None] + rows["trunk", None] + rows["tail", 0.25] + 0.25 * rows["tail", 1.0]
    assert front_of(record)[0].ms == pytest.approx(expected)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("accuracy", 100.0)),
        ({"metric": "micro_f1"}, ("micro F1", 100.0)),
        ({"metric": "spearman"}, ("Spearman", 1.0)),
        ({"metric": "of a later version"}, ("of a later version", 1.0)),
    ],
)
def test_quality_is_named_as_everywhere_else(changes: dict[str, str], expected: tuple[str, float]) -> None:
    record = make_record(lambda record: record["operating_points"].update(changes))
    assert quality_name(record) == expected
    assert expected[0] in words(render_report([record]))


def test_without_labels_the_quality_is_the_agreement_with_full_width() -> None:
    record = make_record()
    for point in record["operating_points"]["points"]:
        point["score"] = None
    assert quality_name(record) == ("agreement with full width", 100.0)
    assert front_of(record)[0].quality == pytest.approx(0.98)


def test_markdown_has_tables_with_equal_rows() -> None:
    text = profile_markdown(worse_record(), compare(make_record(), worse_record()))
    assert text.startswith("### intents on Raspberry Pi 4 Model B\n")
    assert "❌ against intents of 2026-11-22" in text
    assert "| width 0.25 | 75.0% |" in text
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(blocks) == 3
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block}) == 1
    assert "✅" in profile_markdown(make_record(), compare(make_record(), make_record(seed=50)))


def test_a_fleet_as_markdown_and_on_a_terminal() -> None:
    records = fleet()
    text = fleet_markdown(records, [None, None])
    assert text.startswith("| machine | verdict |")
    assert text.count("### intents on ") == 2
    console = Console(width=80, color_system=None)
    comparisons = [compare(make_record(), record) for record in records]
    with console.capture() as capture:
        console.print(render_fleet(records, comparisons))
    shown = capture.get()
    assert "kitchen" in shown and "hall" in shown and "…" not in shown
    assert shown.count("is clearly worse by more") == 2


def test_a_comparison_on_a_terminal() -> None:
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(render_profile(worse_record(), compare(make_record(), worse_record())))
    shown = " ".join(capture.get().split())
    assert "against intents of 2026-11-22T12:00:00+00:00" in shown
    assert "regression" in shown and "most of all" in shown
    assert max(map(len, capture.get().splitlines())) <= 80


def test_elements_escape_what_is_not_markup() -> None:
    assert element("p", "a < b", class_="x") == '<p class="x">a &lt; b</p>'
    assert element("p", Markup("<b>a</b>"), None, "&") == "<p><b>a</b>&amp;</p>"
    assert element("a", href='"&<', hidden=True, title=None) == '<a href="&quot;&amp;&lt;" hidden></a>'
    assert element("rect", x=1.005, stroke_width=2.0) == '<rect x="1" stroke-width="2"></rect>'
    assert element("meta", http_equiv="x") == '<meta http-equiv="x">'


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [
        (0, 60, ["0", "20", "40", "60"]),
        (0.5, 2.0, ["0.5", "1.0", "1.5", "2.0"]),
        (94.2, 95.6, ["94.0", "94.5", "95.0", "95.5", "96.0"]),
        (0, 0.0031, ["0.000", "0.001", "0.002", "0.003", "0.004"]),
        (5, 5, ["5", "6"]),
    ],
)
def test_ticks_are_round_and_cover_the_data(low: float, high: float, shown: list[str]) -> None:
    found = ticks(low, high)
    assert [tick_text(tick, found) for tick in found] == shown
    assert found[0] <= low and found[-1] >= high


def test_labels_do_not_lie_on_each_other() -> None:
    assert spread([10, 11, 50], 15, 0, 100) == [10, 25, 50]
    places = spread([95, 96, 97], 15, 0, 100)
    assert sorted(places) == places == [70, 85, 100]


def test_a_legend_of_many_widths_takes_more_lines() -> None:
    widths = [round(0.05 * step, 2) for step in range(1, 21)]
    record = make_record()
    record["mix"]["shares"] = [{**record["mix"]["shares"][0], "width": width, "share": 0.05} for width in widths]
    drawing = share_chart(record["mix"]["shares"])
    places = [
        (float(x), float(y)) for x, y in re.findall(r'<text x="([\d.]+)" y="([\d.]+)" text-anchor="start"', drawing)
    ]
    assert len(places) == len(set(places)) == 20
    assert max(x for x, _ in places) < 400
    height = float(re.findall(r'viewBox="0 0 420 (\d+)"', drawing)[0])
    assert 50 < max(y for _, y in places) < height
