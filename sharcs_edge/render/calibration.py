"""A calibration for people: the points in a table, and in plain words what is promised and what more it would take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from sharcs_edge.render._table import FigureTable, percent, score_cell, score_heading
from sharcs_edge_runtime.manifest import format_widths
from sharcs_edge_runtime.tasks import metrics_with

if TYPE_CHECKING:
    from sharcs_edge.calibrate.run import Calibration
    from sharcs_edge_runtime.operating_points import OperatingPoint

_QUALITY = {"classification": "accuracy", "multi_label": "F1 per text", "regression": "quality per text"}


def render_calibration(calibration: Calibration) -> RenderableType:
    """One line per operating point, the cheapest first; the last one is the full width."""
    points = calibration.points
    metric = metrics_with(points.metric)[0]
    scored = points.full.score is not None
    scores = (score_heading(metric),) if scored else ()
    table = FigureTable(
        "MACs %", "mean ms", *scores, "answered by %", "drop %", "at most %", "certified", text_columns=0
    )
    for point, needed in zip(points.points, calibration.samples_needed, strict=True):
        table.add(
            f"{point.macs / points.full.macs:.1%}".rstrip("%"),
            "" if point.mean_ms is None else f"{point.mean_ms:.2f}",
            *((score_cell(metric, point.score),) if point.score is not None else ()),
            " ".join(f"{share:.0%}".rstrip("%") for share in point.shares),
            percent(point.drop),
            percent(point.drop_bound),
            "yes" if point.certified else "no" if needed is None else f"at {_about(needed)}",
        )
    measured = (
        f"answered by: widths {format_widths(calibration.widths)}; drop: against the full width, on "
        f"{points.tested:,} of the {points.samples:,} texts; at most: of this point by itself, with confidence "
        f"{points.confidence:g}; certified at: so many texts would do, at the losses seen"
    )
    return Group(table, Text(measured))


def verdict(calibration: Calibration) -> str:
    """One sentence: what is certified, or why nothing is; and what it would take to certify more."""
    points = calibration.points
    cheaper = points.points[:-1]
    if not cheaper and len(calibration.widths) == 1:
        return "the artifact has one width, so that there is nothing to choose: its one operating point runs it"
    if not cheaper:
        return (
            "no operating point takes less time than the full width, by the times below: the default is the full width "
            "alone; measure with `sharcs-edge profile --save` while the device is quiet, or give --cost macs"
        )
    certified = [index for index, point in enumerate(cheaper) if point.certified]
    if not certified:
        return f"not certified: {_obstacle(calibration)}; the default is the full width alone"
    first = certified[0]
    text = (
        f"certified: {len(certified)} of {len(cheaper)} operating points, for {_promise(calibration)}; the cheapest of "
        f"them, the default, costs {_cost(cheaper[first], points.full)}"
    )
    if first and (needed := calibration.samples_needed[first - 1]) is not None:
        text += f"; at the losses seen, the next cheaper one would take about {_about(needed)} texts"
    return text


def _cost(point: OperatingPoint, full: OperatingPoint) -> str:
    macs = f"{point.macs / full.macs:.1%} of the full width's multiply-accumulates"
    if not point.mean_ms or not full.mean_ms:
        return macs
    return f"{macs}, and {point.mean_ms / full.mean_ms:.0%} of its time while calibrating"


def _promise(calibration: Calibration) -> str:
    points = calibration.points
    if points.against == "full" and calibration.task != "regression":
        what = f"a share of at most {points.max_drop:g} of answers that differ from the full width's"
    else:
        truth = "" if points.against == "labels" else ", whose values count as the truth"
        name = _QUALITY[calibration.task]
        what = f"a drop of at most {points.max_drop:g} in {name} against the full width{truth}"
    return f"{what}, with confidence {points.confidence:g}"


def _obstacle(calibration: Calibration) -> str:
    points, least = calibration.points, calibration.least_samples
    few = f"{points.samples:,} texts are too few for {_promise(calibration)}"
    if least is None:
        return f"{few}: it takes more than a million even where no answer differs"
    found = [max(least, needed) for needed in calibration.samples_needed if needed is not None]
    seen = (
        f"; at the losses seen, about {_about(min(found))} texts would do for a first operating point" if found else ""
    )
    if points.samples < least:
        return f"{few}: it takes {least:,} even where no answer differs{seen}"
    if found:
        return f"{few}{seen}"
    return (
        f"every operating point lost --max-drop {points.max_drop:g} or more on these texts, or too little less for any "
        "number of texts to show; allow a larger drop"
    )


def _about(count: int) -> str:
    """``1,234`` -> ``1,300``: two figures, never fewer texts."""
    unit = 10 ** max(0, len(str(count)) - 2)
    return f"{-(-count // unit) * unit:,}"
