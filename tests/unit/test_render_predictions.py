"""Predictions as lines: aligned, with a column for the budget where there is a limit on time."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from sharcs_edge.render.predictions import JsonLines, PredictionTable, render_summary
from sharcs_edge_runtime.session import Prediction


def prediction(**given: Any) -> Prediction:
    fields = {
        **dict.fromkeys(Prediction._fields),
        "label": "music",
        "score": 0.875,
        "scores": (0.125, 0.875),
        "confidence": 0.875,
        "width": 1.0,
        "reason": "escalated",
        "ran": (0.25, 1.0),
        "milliseconds": 3.5,
        "tokens": 5,
        "truncated": False,
    }
    return Prediction(**{**fields, **given})


def table(*predictions: Prediction) -> list[str]:
    stream = io.StringIO()
    printer = PredictionTable(stream, ["home", "music"], "classification")
    for one in predictions:
        printer.print("play some music", one)
    return stream.getvalue().splitlines()


def test_a_line_says_what_answered_and_why() -> None:
    assert table(prediction()) == [
        "label  score  width  route            ms  text",
        "music  0.875      1  escalated      3.50  play some music",
    ]


def test_a_limit_on_time_adds_whether_it_was_met() -> None:
    assert table(prediction(budget_met=True), prediction(budget_met=False, reason="deadline")) == [
        "label  score  width  route            ms  budget  text",
        "music  0.875      1  escalated      3.50  met     play some music",
        "music  0.875      1  deadline       3.50  missed  play some music",
    ]


def test_json_holds_everything_that_there_is() -> None:
    stream = io.StringIO()
    JsonLines(stream, ["home", "music"]).print("play", prediction(point=1, budget_met=False))
    record = json.loads(stream.getvalue())
    assert record["ran"] == [0.25, 1.0]
    assert (record["point"], record["budget_met"], record["confidence"]) == (1, False, 0.875)
    assert record["scores"] == {"home": 0.125, "music": 0.875}
    assert "value" not in record and "labels" not in record


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([(0.25, 1.0, None), (1.0, 3.0, None)], "2 texts: 50.0% at width 0.25, 50.0% at width 1; mean 2.00 ms"),
        ([(1.0, 1.0, True), (1.0, 3.0, False)], "2 texts: 100.0% at width 1; mean 2.00 ms; 50.0% within the budget"),
    ],
)
def test_the_summary(answers: list[tuple[float, float, bool | None]], expected: str) -> None:
    assert render_summary(answers) == expected
    assert render_summary(answers, truncated=2) == f"{expected}; 2 longer than the artifact's longest input and cut"
