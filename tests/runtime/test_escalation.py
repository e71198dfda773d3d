"""Sessions of a calibrated artifact: who answers, against golden logits, one by one and in batches."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sharcs_edge_runtime import Budget, Prediction, Session
from sharcs_edge_runtime.errors import ArtifactError, DocumentError, UsageError
from sharcs_edge_runtime.evaluate import evaluate
from sharcs_edge_runtime.golden import Golden
from sharcs_edge_runtime.operating_points import OPERATING_POINTS_NAME, OperatingPoint
from sharcs_edge_runtime.verify import verify
from tests.runtime.conftest import TEXTS, ArtifactBuilder, point, write_points

EVERY = point([1e6, 5e5, 0], [2.0, 2.0])
"""Starts narrow and always hands on."""
SOME = point([0.5, 0, 0], [0.5, 0.55])


def softmax_top(logits: Any) -> float:
    powers = np.exp(logits.astype(np.float64) - logits.max())
    return float(powers.max() / powers.sum())


def expected_way(golden: Golden, row: int, one: OperatingPoint) -> list[int]:
    """The tails that a point asks for, from torch's stand-in."""
    index = int((golden.router_logits[row] + np.array(one.bias, dtype=np.float32)).argmax())
    ran = [index]
    while index < 2 and softmax_top(golden.logits[index, row]) < one.thresholds[index]:
        index += 1
        ran.append(index)
    return ran


@pytest.fixture
def calibrated(tiny_artifact: Path) -> Path:
    write_points(tiny_artifact, SOME)
    return tiny_artifact


def golden_of(session: Session) -> Golden:
    return Golden.load(session.artifact.golden_file, session.manifest)


def decisions(predictions: list[Prediction]) -> list[tuple[Any, ...]]:
    return [(one.label, one.width, one.reason, one.ran, one.point) for one in predictions]


def test_the_default_point_decides_who_answers(calibrated: Path) -> None:
    session = Session.load(calibrated)
    golden = golden_of(session)
    ways = [expected_way(golden, row, SOME) for row in range(len(golden))]
    assert {len(way) for way in ways} == {1, 2, 3}  # the texts show all
    for row, (way, (text,)) in enumerate(zip(ways, golden.texts.tolist(), strict=True)):
        prediction = session.predict(text)
        assert prediction.ran == tuple(session.widths[index] for index in way)
        assert prediction.width == prediction.ran[-1]
        assert prediction.reason == ("escalated" if len(way) > 1 else "router")
        assert prediction.point == 0
        logits = golden.logits[way[-1], row]
        assert prediction.label == session.labels[int(logits.argmax())]
        assert prediction.confidence == prediction.score == pytest.approx(softmax_top(logits), abs=1e-5)
        assert prediction.budget_met is None


@pytest.mark.parametrize("batch_size", [1, 3, 32])
@pytest.mark.parametrize("one", [SOME, EVERY], ids=["some", "every"])
def test_batches_hand_on_as_single_texts_do(one: OperatingPoint, batch_size: int, tiny_artifact: Path) -> None:
    write_points(tiny_artifact, one)
    session = Session.load(tiny_artifact)
    alone = [session.predict(text) for text in TEXTS]
    together = session.predict_batch(TEXTS, batch_size=batch_size)
    assert decisions(together) == decisions(alone)
    for prediction, other in zip(together, alone, strict=True):
        assert prediction.scores == pytest.approx(other.scores, abs=1e-5)
        assert prediction.milliseconds > 0


def test_every_width_runs_where_none_is_ever_sure(tiny_artifact: Path) -> None:
    write_points(tiny_artifact, EVERY)
    session = Session.load(tiny_artifact)
    assert {(one.ran, one.reason) for one in map(session.predict, TEXTS)} == {((0.25, 0.5, 1.0), "escalated")}
    held = session.predict(TEXTS[0], budget=Budget(max_width=0.5))
    assert (held.ran, held.reason) == ((0.25, 0.5), "max_width")
    held = session.predict_batch(TEXTS, budget=Budget(min_width=0.5))[0]
    assert (held.ran, held.reason) == ((0.5, 1.0), "escalated")


def test_a_given_width_is_not_handed_on_and_has_no_point(tiny_artifact: Path) -> None:
    write_points(tiny_artifact, EVERY)
    session = Session.load(tiny_artifact)
    for prediction in (
        session.predict(TEXTS[0], budget=Budget(width=0.25)),
        *session.predict_batch(TEXTS[:1], budget=Budget(width=0.25)),
    ):
        assert (prediction.ran, prediction.reason, prediction.point) == ((0.25,), "explicit", None)


def test_a_drop_that_is_not_promised_runs_the_full_width(calibrated: Path) -> None:
    session = Session.load(calibrated, budget=Budget(max_drop=0.001))
    assert {(one.ran, one.point) for one in map(session.predict, TEXTS)} == {((1.0,), 1)}
    assert session.predict(TEXTS[0], budget=Budget(max_drop=0.01)).point == 0


def test_under_a_drop_a_narrower_limit_is_said_to_break_the_promise(tiny_artifact: Path) -> None:
    write_points(tiny_artifact, EVERY)
    session = Session.load(tiny_artifact, budget=Budget(max_drop=0.01))
    assert {one.budget_met for one in map(session.predict, TEXTS)} == {True}
    held = session.predict(TEXTS[0], budget=Budget(max_drop=0.01, max_width=0.5))
    assert (held.ran, held.reason, held.budget_met) == ((0.25, 0.5), "max_width", False)
    assert session.predict(TEXTS[0], budget=Budget(max_drop=0.01, min_width=1.0)).budget_met is True
    assert session.predict(TEXTS[0], budget=Budget(max_width=0.5)).budget_met is None


def test_without_points_nothing_is_handed_on(tiny_artifact: Path, calibrated: Path) -> None:
    plain = Session.load(calibrated, calibrated=False)
    golden = golden_of(plain)
    predictions = [plain.predict(text) for (text,) in golden.texts.tolist()]
    assert [plain.widths.index(one.width) for one in predictions] == golden.routes.tolist()
    assert all(one.point is None and one.ran == (one.width,) for one in predictions)
    assert plain.points is None
    for budget in (Budget(max_drop=0.01), Budget(mean_ms=5.0)):
        with pytest.raises(UsageError, match=r"has no operating_points\.json: run `sharcs-edge calibrate`"):
            plain.predict(TEXTS[0], budget=budget)


def test_a_mean_moves_between_the_points(tiny_artifact: Path) -> None:
    write_points(tiny_artifact, SOME)
    session = Session.load(tiny_artifact, budget=Budget(mean_ms=1e6))
    generous = [session.predict(TEXTS[0]) for _ in range(60)]
    assert (generous[-1].ran, generous[-1].point, generous[-1].budget_met) == ((1.0,), 1, True)
    session = Session.load(tiny_artifact, budget=Budget(mean_ms=1e-6))
    tight = session.predict_batch(TEXTS * 8, batch_size=4)
    assert min(one.point for one in tight if one.point is not None) == 0
    assert session.predict(TEXTS[0]).budget_met is False


def test_a_deadline_that_nothing_can_make_runs_the_narrowest_and_says_so(tiny_artifact: Path) -> None:
    write_points(tiny_artifact, point([0, 0, 1e6], [2.0, 2.0]))
    session = Session.load(tiny_artifact, budget=Budget(deadline_ms=1e-3))
    for prediction in (session.predict(TEXTS[0]), *session.predict_batch(TEXTS)):
        assert (prediction.ran, prediction.reason, prediction.budget_met) == ((0.25,), "deadline", False)
    easy = session.predict(TEXTS[0], budget=Budget(deadline_ms=1e6))
    assert (easy.ran, easy.reason, easy.budget_met) == ((1.0,), "router", True)


def test_deadlines_need_no_calibration(tiny_artifact: Path) -> None:
    prediction = Session.load(tiny_artifact, budget=Budget(deadline_ms=1e-3)).predict(TEXTS[0])
    assert (prediction.width, prediction.budget_met) == (0.25, False)


def test_several_labels_hand_on_by_the_least_sure(make_artifact: ArtifactBuilder) -> None:
    artifact = make_artifact(task="multi_label")
    write_points(artifact, point([1e6, 0, 0], [0.515, 0.0]))
    session = Session.load(artifact)
    golden = golden_of(session)
    sure = 1 / (1 + np.exp(-np.abs(golden.logits.astype(np.float64)).min(axis=2)))  # (widths, rows)
    assert {True, False} == set((sure[0] < 0.515).tolist())
    for row, (text,) in enumerate(golden.texts.tolist()):
        prediction = session.predict(text)
        index = int(sure[0, row] < 0.515)
        assert prediction.width == session.widths[index]
        assert prediction.confidence == pytest.approx(sure[index, row], abs=1e-5)
        assert prediction.score is None


def test_a_value_is_as_sure_as_it_is_close_to_the_narrower_one(make_artifact: ArtifactBuilder) -> None:
    artifact = make_artifact(task="regression", labels=("grade",))
    write_points(artifact, point([1e6, 0, 0], [0.1, 0.5]), value_scale=1.0)
    session = Session.load(artifact)
    golden = golden_of(session)
    values = golden.logits[:, :, 0].astype(np.float64)
    close = np.exp(-np.abs(values[1] - values[0]))
    assert {True, False} == set((close < 0.5).tolist())
    for row, (text,) in enumerate(golden.texts.tolist()):
        prediction = session.predict(text)
        # One tail alone is never sure; then the next one is compared with it.
        assert prediction.ran == ((0.25, 0.5, 1.0) if close[row] < 0.5 else (0.25, 0.5))
        if len(prediction.ran) == 2:
            assert prediction.confidence == pytest.approx(close[row], abs=1e-4)
    only = session.predict(TEXTS[0], budget=Budget(width=0.5))
    assert only.confidence is None
    assert "confidence" not in only.to_dict()


def test_damaged_points_stop_the_load_and_can_be_left_aside(calibrated: Path) -> None:
    file = calibrated / OPERATING_POINTS_NAME
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(DocumentError, match=r"operating_points\.json: 1 problem: it is not UTF-8 JSON .*calibrate"):
        Session.load(calibrated)
    assert Session.load(calibrated, calibrated=False).predict(TEXTS[0]).point is None


def test_points_of_another_artifact_stop_the_load(calibrated: Path, make_artifact: ArtifactBuilder) -> None:
    other = make_artifact(seed=5)
    (other / OPERATING_POINTS_NAME).write_bytes((calibrated / OPERATING_POINTS_NAME).read_bytes())
    with pytest.raises(ArtifactError, match="was made for another artifact"):
        Session.load(other)


def test_verify_checks_the_graphs_as_they_were_exported(tiny_artifact: Path) -> None:
    write_points(tiny_artifact, EVERY)
    assert verify(tiny_artifact).passed


def test_evaluate_counts_every_tail_that_ran_and_shares_by_who_answered(calibrated: Path) -> None:
    session = Session.load(calibrated)
    record = evaluate(session, TEXTS, ["home"] * len(TEXTS))
    predictions = [session.predict(text) for text in TEXTS]
    manifest = session.manifest
    macs = [
        manifest.trunk.macs.count(one.tokens) + sum(manifest.tail(width).macs.count(one.tokens) for width in one.ran)
        for one in predictions
    ]
    (routed,) = [row for row in record.rows if row.name == "routed"]
    assert routed.mean_macs == sum(macs) / len(macs)
    answered = [one.width for one in predictions]
    assert [row.share for row in record.rows[:3]] == [answered.count(width) / len(TEXTS) for width in session.widths]
    assert record.budget_met is None
    strict = evaluate(Session.load(calibrated, budget=Budget(deadline_ms=1e-3)), TEXTS, ["home"] * len(TEXTS))
    assert strict.budget_met == 0.0


def test_many_threads_share_one_calibrated_session(calibrated: Path) -> None:
    session = Session.load(calibrated)
    texts = TEXTS * 20
    expected = decisions([session.predict(text) for text in texts])
    with ThreadPoolExecutor(8) as pool:
        assert decisions(list(pool.map(session.predict, texts))) == expected
        for batch in pool.map(lambda _: session.predict_batch(texts, batch_size=7), range(4)):
            assert decisions(batch) == expected


def test_a_prediction_as_plain_values(calibrated: Path) -> None:
    prediction = Session.load(calibrated).predict(TEXTS[0])
    plain = prediction.to_dict()
    assert plain["ran"] == list(prediction.ran)
    assert "budget_met" not in plain
