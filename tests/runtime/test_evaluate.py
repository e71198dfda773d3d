"""evaluate: every figure against its own computation from single predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sharcs_edge_runtime import Budget, Session
from sharcs_edge_runtime.errors import InputError
from sharcs_edge_runtime.evaluate import EvaluationRecord, EvaluationRow, evaluate
from sharcs_edge_runtime.golden import Golden

LABELS = ["home", "home", "music", "weather", "home", "music", "weather", "home"]


@pytest.fixture
def session(tiny_artifact: Path) -> Session:
    return Session.load(tiny_artifact)


@pytest.fixture
def texts(session: Session) -> list[str]:
    return [text for (text,) in Golden.load(session.artifact.golden_file, session.manifest).texts.tolist()]


@pytest.fixture
def record(session: Session, texts: list[str]) -> EvaluationRecord:
    return evaluate(session, texts, LABELS)


def row(record: EvaluationRecord, name: str) -> EvaluationRow:
    (found,) = [row for row in record.rows if row.name == name]
    return found


def test_rows(record: EvaluationRecord) -> None:
    assert [row.name for row in record.rows] == ["w=0.25", "w=0.5", "full", "routed", "random"]
    assert [row.width for row in record.rows] == [0.25, 0.5, 1.0, None, None]
    assert record.texts == 8


@pytest.mark.parametrize(("name", "width"), [("w=0.25", 0.25), ("w=0.5", 0.5), ("full", 1.0), ("routed", None)])
def test_accuracy_and_macs(name: str, width: float | None, record: EvaluationRecord, session: Session) -> None:
    texts = [text for (text,) in Golden.load(session.artifact.golden_file, session.manifest).texts.tolist()]
    answers = [session.predict(text, budget=Budget(width=width)) for text in texts]
    right = sum(answer.label == label for answer, label in zip(answers, LABELS, strict=True))
    macs = [
        session.manifest.trunk.macs.count(answer.tokens) + session.manifest.tail(answer.width).macs.count(answer.tokens)
        for answer in answers
    ]
    found = row(record, name)
    assert found.scores == {"accuracy": right / 8}
    assert found.mean_macs == sum(macs) / 8
    assert not found.estimated
    assert found.mean_ms is not None and found.p50_ms is not None and found.p95_ms is not None
    assert 0 < found.p50_ms <= found.p95_ms


def test_shares_and_agreement(record: EvaluationRecord, session: Session, texts: list[str]) -> None:
    routed = [session.predict(text) for text in texts]
    for name, width in (("w=0.25", 0.25), ("w=0.5", 0.5), ("full", 1.0)):
        assert row(record, name).share == sum(answer.width == width for answer in routed) / 8
    full = [session.predict(text, budget=Budget(width=1.0)).label for text in texts]
    assert record.agreement.same == sum(answer.label == label for answer, label in zip(routed, full, strict=True)) / 8


def test_random_routing_is_computed_and_says_so(record: EvaluationRecord) -> None:
    random = row(record, "random")
    static = [row(record, name) for name in ("w=0.25", "w=0.5", "full")]
    assert random.scores["accuracy"] == pytest.approx(sum(way.scores["accuracy"] * (way.share or 0) for way in static))
    assert random.mean_macs == pytest.approx(sum(way.mean_macs * (way.share or 0) for way in static))
    assert random.estimated
    assert random.mean_ms is random.p50_ms is random.p95_ms is None


def test_routed_follows_the_budget_of_the_session(tiny_artifact: Path, texts: list[str]) -> None:
    record = evaluate(Session.load(tiny_artifact, budget=Budget(max_width=0.25)), texts, LABELS)
    assert [row.share for row in record.rows[:3]] == [1, 0, 0]
    assert row(record, "routed").scores == row(record, "w=0.25").scores


def test_without_a_full_width_no_row_claims_to_be_full(make_artifact: Any, texts: list[str]) -> None:
    record = evaluate(Session.load(make_artifact(widths=(0.25, 0.5))), texts, LABELS)
    assert [row.name for row in record.rows] == ["w=0.25", "w=0.5", "routed", "random"]


def test_progress_counts_texts(session: Session, texts: list[str]) -> None:
    calls: list[tuple[int, int]] = []
    evaluate(session, texts, LABELS, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 8) for done in range(1, 9)]


def test_the_record_is_plain_json(record: EvaluationRecord) -> None:
    again = json.loads(json.dumps(record.to_dict()))
    assert again["rows"][4]["estimated"] is True
    assert again["rows"][4]["mean_ms"] is None
    assert again["truncated"] == 1


def test_bad_input_is_named_before_anything_runs(session: Session, make_artifact: Any) -> None:
    def refuse(texts: list[Any], labels: list[Any], message: str, where: Session = session) -> None:
        with pytest.raises(InputError, match=message):
            evaluate(where, texts, labels, progress=lambda done, total: pytest.fail("something was timed"))

    refuse([], [], "there are no texts to evaluate")
    refuse(["a"], [], "there are 1 texts and 0 labels")
    refuse(["a", "b"], ["home", "garden"], "label 'garden' of text 1 is not one .*: home, music, weather$")
    refuse(["a"], [3], "label 3 of text 0")
    refuse(["a", " "], ["home", "home"], "text 1 is only white space")
    many = Session.load(make_artifact(labels=tuple(f"label{index}" for index in range(150))))
    refuse(["a"], ["x"], r"label0, .*, label9, \.\.\. \(150 in all\)$", many)
