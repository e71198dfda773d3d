"""The sections of one record's report."""

from __future__ import annotations

from collections.abc import Iterator

from sharcs_edge.profile import words
from sharcs_edge.profile.compare import Comparison
from sharcs_edge.profile.frontier import front_of, quality_name
from sharcs_edge.profile.records import Record
from sharcs_edge.profile.words import milliseconds
from sharcs_edge.report import charts, tables
from sharcs_edge.report.markup import Child, Markup, element, join

_MARKS = {"stable": "●", "noisy": "▲", "throttled": "■"}
_MEANING = {
    "stable": "The machine was quiet: these figures repeat.",
    "noisy": "Something disturbed the run: measure again before you rely on a difference of a few percent.",
    "throttled": "The processor was held back: cooled or powered better, this machine is faster.",
}


def sections(record: Record, comparison: Comparison | None) -> Iterator[Markup]:
    """In the order in which they are read."""
    yield _verdict(record)
    if comparison is not None:
        yield _comparison(comparison)
    yield _latency(record)
    if record["mix"] is not None:
        yield _mix(record)
    yield _frontier(record)
    yield _start(record)
    yield _section(
        "Machine and artifact",
        element(
            "div",
            element("div", element("h3", "Machine"), tables.facts(words.device_facts(record))),
            element("div", element("h3", "Artifact"), tables.facts(words.artifact_facts(record))),
            class_="two",
        ),
    )
    details = join(element("summary", element("h2", "Every stage that was measured")), tables.stage_table(record))
    yield element("section", element("details", details))


def _verdict_mark(record: Record) -> Markup:
    """The verdict, told by shape, word and colour."""
    state = record["verdict"]["state"]
    return element("span", f"{_MARKS[state]} {state}", class_=f"verdict {state}")


def _section(title: str, *children: Child) -> Markup:
    return element("section", element("h2", title), *children)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _figure(drawing: Markup, caption: str) -> Markup:
    return element("figure", drawing, element("figcaption", caption))


def _verdict(record: Record) -> Markup:
    verdict = record["verdict"]
    reasons = [element("li", reason) for reason in verdict["reasons"]]
    parity, waiting = words.parity(record), words.waiting(record)
    passed = parity is None or record["parity"]["passed"]
    told = element(
        "div",
        element("p", _verdict_mark(record), " ", _MEANING[verdict["state"]]),
        element("ul", *reasons, class_="reasons") if reasons else None,
        _headline(record),
        None if parity is None else element("p", _sentence(parity), class_="small soft" if passed else "wrong"),
        None if waiting is None else element("p", f"The profiler {waiting}.", class_="small soft"),
    )
    drift = _figure(
        charts.drift_chart(record),
        "Each dot is one prediction at full width, in order of time. A level band is a quiet machine; steps, slopes "
        "and outliers are other programs, heat or power.",
    )
    return _section("In short", element("div", told, drift, class_="two"))


def _headline(record: Record) -> Markup:
    """The figures that decide."""
    mix, cold = record["mix"], record["cold_start"]
    figures: list[tuple[str, str, str]] = []
    if mix is not None:
        figures += [
            ("faster than full width, on your texts", f"{mix['speedup']:.2f}", "times"),
            ("mean per text, routed", milliseconds(mix["routed"]["mean"]), "ms"),
            ("95 of 100 texts are done in", milliseconds(mix["routed"]["p95"]), "ms"),
        ]
        if "agreement" in mix:
            figures.append(("same label as full width", f"{mix['agreement'] * 100:.1f}", "%"))
        elif "mean_difference" in mix:
            figures.append(("mean difference from full width", f"{mix['mean_difference']:.3g}", ""))
    if "memory" in cold:
        private = cold["memory"]["after_runs"]["private_mb"]
        if not isinstance(private, str):
            figures.append(("private memory", f"{private:.0f}", "MB"))
        figures.append(("load", f"{cold['load_ms']['p50']:.0f}", "ms"))
    cells = [
        element("div", element("dt", name), element("dd", value, " ", element("small", unit)))
        for name, value, unit in figures
    ]
    return element("dl", *cells, class_="figures")


def _comparison(comparison: Comparison) -> Markup:
    base, changes = comparison.base, comparison.changes
    state = "regression" if comparison.regressions else "unclear" if comparison.doubts else "better"
    notes = [element("li", note) for note in comparison.notes]
    told = [change for change in changes if change.judgement != "same"]
    same = len(changes) - len(told)
    every = element("summary", f"All {len(changes)} figures; {same} of them are the same within their noise")
    return _section(
        "Against a previous run",
        element("p", element("span", comparison.sentence, class_=state)),
        element("p", f"Base: {base['artifact']}, {base['created']}, {base['verdict']}.", class_="small soft"),
        element("ul", *notes, class_="reasons small") if notes else None,
        tables.comparison_table(comparison, told) if told else None,
        element("details", every, tables.comparison_table(comparison, changes)),
    )


def _latency(record: Record) -> Markup:
    tokens = record["texts"]["tokens_mean"] if record["texts"] is not None else 0.0
    nearest = min(record["settings"]["lengths"], key=lambda length: abs(length - tokens))
    usual = "the length nearest to your texts" if record["texts"] is not None else "the shortest length"
    return _section(
        "Latency by width and length",
        element(
            "div",
            _figure(charts.latency_chart(record), "One prediction, from text to answer, at each fixed width."),
            _figure(
                charts.stage_chart(record, nearest),
                f"Where the mean time goes at {nearest} tokens, {usual}. All widths share tokenising and trunk.",
            ),
            class_="two",
        ),
        tables.latency_table(record),
    )


def _mix(record: Record) -> Markup:
    mix, texts = record["mix"], record["texts"]
    return _section(
        "The routed mix",
        element(
            "p",
            f"{texts['used']} of {texts['given']} texts ({texts['source']}), {texts['tokens_mean']:.1f} tokens on "
            "average, each answered as the router and the budget choose, and at full width in turn.",
        ),
        _figure(charts.share_chart(mix["shares"]), "Share of the texts that each width answered."),
        element(
            "div",
            _figure(
                charts.histogram(mix, record["artifact"]["widths"]),
                "Each text's time, coloured by the width that answered. The slowest 1 % are not shown.",
            ),
            _figure(charts.distribution(mix), "The same samples, added up. Dots: p50 and p95."),
            class_="two",
        ),
        tables.mix_table(mix),
        element("p", _sentence(words.mix_notes(mix)), class_="small soft"),
    )


def _frontier(record: Record) -> Markup:
    front = front_of(record)
    if not front:
        return _section(
            "Accuracy and latency",
            element(
                "p",
                "This artifact is not calibrated, or no texts were routed. ",
                element("code", "sharcs-edge calibrate ARTIFACT --data held_out.jsonl"),
                " finds its operating points on held-out texts; a profile after that shows what each costs here.",
            ),
        )
    found = record["operating_points"]
    metric, scale = quality_name(record)
    promise = (
        f"Certified points lose at most {found['max_drop']:.2%} against the full width, with {found['confidence']:.0%} "
        f"confidence, on texts like the {found['samples']:,} that calibration saw."
    )
    return _section(
        "Accuracy and latency",
        element("p", promise),
        element(
            "div",
            _figure(
                charts.frontier_chart(front, metric, scale),
                "Quality as calibration measured it. Times are ESTIMATED: the mean stage times of this machine at the "
                "mean length of your texts, weighted by how often each width runs at that point.",
            ),
            tables.front_table(record, front),
            class_="two",
        ),
    )


def _start(record: Record) -> Markup:
    cold = record["cold_start"]
    if "unavailable" in cold:
        return _section("Start-up and memory", element("p", f"Unavailable: {cold['unavailable']}"))
    return _section(
        "Start-up and memory",
        element("div", tables.start_table(cold), tables.memory_table(cold["memory"]), class_="two"),
        element(
            "p",
            "PSS is the process's fair share of all its pages; private pages are those that its end would give back.",
            class_="small soft",
        ),
    )
