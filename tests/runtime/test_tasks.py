"""Multi-label and regression artifacts from end to end, and the metrics of every task against plain definitions."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharcs_edge_runtime import Session
from sharcs_edge_runtime.errors import InputError, ManifestError
from sharcs_edge_runtime.evaluate import answers_of, evaluate
from sharcs_edge_runtime.golden import Golden
from sharcs_edge_runtime.manifest import MANIFEST_NAME, Manifest, TaskName
from sharcs_edge_runtime.profile import Settings, profile
from sharcs_edge_runtime.session import Prediction
from sharcs_edge_runtime.tasks import (
    METRICS,
    decide,
    encode_labels,
    measure,
    measure_random,
    metrics_with,
    same_answers,
)
from sharcs_edge_runtime.verify import verify
from tests.runtime.conftest import ArtifactBuilder

TASKS: dict[TaskName, tuple[str, ...]] = {
    "multi_label": ("home", "music", "weather"),
    "regression": ("warmth",),
}


@pytest.fixture(params=TASKS)
def session(request: pytest.FixtureRequest, make_artifact: ArtifactBuilder) -> Session:
    return Session.load(make_artifact(task=request.param, labels=TASKS[request.param]))


def texts_of(session: Session) -> list[Any]:
    return [text for (text,) in golden_of(session).texts.tolist()]


def golden_of(session: Session) -> Golden:
    return Golden.load(session.artifact.golden_file, session.manifest)


def test_predictions_are_what_the_golden_logits_mean(session: Session) -> None:
    golden = golden_of(session)
    seen = set()
    for row, text in enumerate(texts_of(session)):
        prediction = session.predict(text)
        logits = golden.logits[golden.routes[row], row].astype(np.float64)
        if session.manifest.task == "regression":
            assert prediction.value == pytest.approx(logits[0], abs=1e-5)
            assert (prediction.scores, prediction.labels) == (None, None)
        else:
            holds = tuple(label for label, logit in zip(session.labels, logits, strict=True) if logit >= 0)
            seen.add(holds)
            assert prediction.labels == holds
            assert prediction.scores == pytest.approx((1 / (1 + np.exp(-logits))).tolist(), abs=1e-6)
            assert prediction.value is None
        assert (prediction.label, prediction.score) == (None, None)
    assert session.manifest.task == "regression" or len(seen) > 2


def test_a_batch_answers_alike(session: Session) -> None:
    texts = texts_of(session)
    fields = {"multi_label": "labels", "regression": "value"}
    name = fields[session.manifest.task]
    alone = [getattr(session.predict(text), name) for text in texts]
    batch = [getattr(prediction, name) for prediction in session.predict_batch(texts)]
    assert batch == (pytest.approx(alone, abs=1e-5) if name == "value" else alone)


def test_to_dict_holds_the_fields_of_the_task_alone(session: Session) -> None:
    prediction = session.predict("play some music")
    plain = json.loads(json.dumps(prediction.to_dict()))
    common = {"width", "reason", "ran", "milliseconds", "tokens", "truncated"}
    assert plain.keys() - common == (
        {"value"} if session.manifest.task == "regression" else {"labels", "scores", "confidence"}
    )
    lists = {name: tuple(value) for name, value in plain.items() if isinstance(value, list)}
    assert Prediction(**(dict.fromkeys(Prediction._fields) | plain | lists)) == prediction


def test_verify(session: Session) -> None:
    report = verify(session)
    assert report.passed
    assert {check.label_agreement for check in report.widths} == {1.0}


@pytest.mark.parametrize(("task", "shift"), [("multi_label", 30.0), ("regression", 0.01)])
def test_verify_finds_another_answer(task: TaskName, shift: float, make_artifact: ArtifactBuilder, resign: Any) -> None:
    artifact = make_artifact(task=task, labels=TASKS[task])
    with np.load(artifact / "golden.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays["logits"][1, 3, 0] += np.copysign(shift, -arrays["logits"][1, 3, 0])
    np.savez(artifact / "golden.npz", **arrays)
    resign(artifact)
    failures = verify(artifact).failures
    assert any("tail_w050: label agreement 0.875 < 1 (golden row 3)" in failure for failure in failures)


def test_evaluate(session: Session) -> None:
    texts, task = texts_of(session), session.manifest.task
    labels: list[Any] = [("home",), (), ("music",), ("weather", "home"), (), ("music",), ("home",), ()]
    if task == "regression":
        labels = [0.5, -1.0, 2.0, 0.0, 1.5, 3.25, -0.5, 1.0]
    record = evaluate(session, texts, labels)
    assert record.task == task
    truth = encode_labels(task, labels, session.labels)
    routed = [session.predict(text) for text in texts]
    answers = answers_of(session, routed)
    (row,) = [row for row in record.rows if row.name == "routed"]
    assert row.scores == measure(task, answers, truth)
    assert tuple(row.scores) == tuple(metric.name for metric in METRICS[task])
    plain = json.loads(json.dumps(record.to_dict()))
    assert ("mean_difference" in plain, "agreement" in plain) == (task == "regression", task != "regression")
    assert [METRICS[task][0].name in row for row in plain["rows"]] == [True] * 5
    assert "accuracy" not in plain["rows"][0]


@pytest.mark.parametrize(
    ("task", "label", "complaint"),
    [
        ("multi_label", "home", "label 'home' of text 0 is no tuple of labels"),
        ("multi_label", ("home", "garden"), "label 'garden' of text 0 is not one that the artifact knows"),
        ("regression", "3.5", "label '3.5' of text 0 is no number"),
        ("regression", True, "label True of text 0 is no number"),
        ("regression", math.nan, "label nan of text 0 is no number"),
    ],
)
def test_labels_of_another_task_are_refused(
    task: TaskName, label: Any, complaint: str, make_artifact: ArtifactBuilder
) -> None:
    artifact = make_artifact(task=task, labels=TASKS[task])
    with pytest.raises(InputError, match=complaint):
        evaluate(Session.load(artifact), ["a table"], [label])


def test_profile(session: Session) -> None:
    record = profile(session.artifact.path, settings=Settings((8,), min_samples=2, min_seconds=0))
    assert record["artifact"]["task"] == session.manifest.task
    assert ("mean_difference" in record["mix"]) == (session.manifest.task == "regression")
    json.dumps(record, allow_nan=False)


@pytest.mark.parametrize(
    ("task", "labels", "complaint"),
    [
        ("regression", ("a", "b"), r"regression has one value, and so 1 label that names it @ \$\.labels"),
        ("classification", ("a",), r"a classifier needs at least 2 labels @ \$\.labels"),
    ],
)
def test_the_number_of_labels_fits_the_task(
    task: TaskName, labels: tuple[str, ...], complaint: str, make_artifact: ArtifactBuilder
) -> None:
    with pytest.raises(ManifestError, match=complaint):
        make_artifact(task=task, labels=labels)


def test_a_single_label_may_hold_or_not(make_artifact: ArtifactBuilder) -> None:
    session = Session.load(make_artifact(task="multi_label", labels=("urgent",)))
    assert {session.predict(text).labels for text in texts_of(session)} == {(), ("urgent",)}


@pytest.mark.parametrize("task", TASKS)
def test_manifests_of_every_task_round_trip(task: TaskName, make_artifact: ArtifactBuilder) -> None:
    data: bytes = (make_artifact(task=task, labels=TASKS[task]) / MANIFEST_NAME).read_bytes()
    manifest = Manifest.parse(data)
    assert (manifest.task, manifest.schema_version) == (task, 1)
    assert manifest.to_json() == data


def test_a_logit_of_zero_holds() -> None:
    """As a sigmoid of 0.5 does; of logits that nearly are, binary64 rounds the sigmoid and not the answer."""
    logits = np.array([[0.0, -0.0, -1e-30, 1e-30]], dtype=np.float32)
    assert decide("multi_label", logits).tolist() == [[True, True, False, True]]


# --- metrics against plain definitions

values = st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), min_size=2, max_size=12)
label_sets = st.lists(
    st.tuples(st.tuples(st.booleans(), st.booleans()), st.tuples(st.booleans(), st.booleans())), min_size=1, max_size=10
)


def correlation(x: list[float], y: list[float]) -> float:
    mx, my = sum(x) / len(x), sum(y) / len(y)
    spread = sum((a - mx) ** 2 for a in x) * sum((b - my) ** 2 for b in y)
    return sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True)) / math.sqrt(spread) if spread else 0.0


def ranks(x: list[int]) -> list[float]:
    return [sum(b < a for b in x) + (sum(b == a for b in x) + 1) / 2 for a in x]


@given(values)
def test_correlations(pairs: list[tuple[int, int]]) -> None:
    x, y = ([pair[side] for pair in pairs] for side in (0, 1))
    found = measure("regression", np.array(x, dtype=np.float32), np.array(y, dtype=np.float32))
    assert found["pearson"] == pytest.approx(correlation([*map(float, x)], [*map(float, y)]), abs=1e-9)
    assert found["spearman"] == pytest.approx(correlation(ranks(x), ranks(y)), abs=1e-9)
    assert found["mean_absolute_error"] == pytest.approx(sum(abs(a - b) for a, b in pairs) / len(pairs))


def test_answers_that_never_change_have_no_correlation() -> None:
    """Their deviations from a rounded mean would give one out of nothing."""
    constant, truth = np.full(7, 0.1, dtype=np.float32), np.arange(7, dtype=np.float32)
    assert measure("regression", constant, truth)["pearson"] == 0.0
    assert measure("regression", constant, truth)["spearman"] == 0.0


@given(label_sets)
def test_label_sets(rows: list[Any]) -> None:
    given_, truth = (np.array([row[side] for row in rows]) for side in (0, 1))
    found = measure("multi_label", given_, truth)
    cells = [*zip(given_.ravel().tolist(), truth.ravel().tolist(), strict=True)]
    right, missed = cells.count((True, True)), cells.count((False, True))
    wrong = cells.count((True, False))
    precision = right / (right + wrong) if right + wrong else 0.0
    recall = right / (right + missed) if right + missed else 0.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else float(right + wrong + missed == 0)
    assert found["micro_f1"] == pytest.approx(f1)
    assert found["exact_match"] == sum(row[0] == row[1] for row in rows) / len(rows)
    assert same_answers("multi_label", given_, truth, 0.0).tolist() == [row[0] == row[1] for row in rows]


@pytest.mark.parametrize("task", METRICS)
def test_random_routes_are_the_mean_over_all_ways_to_give_them_out(task: TaskName) -> None:
    """All of 6 samples' 20 routings with equal shares, against the formula or the 32 shuffles."""
    draw = np.random.default_rng(3)
    logits = draw.normal(size=(2, 6, 1 if task == "regression" else 3)).astype(np.float32)
    answers = decide(task, logits)
    truth = decide(task, logits[0] + draw.normal(size=logits[0].shape))
    found = measure_random(task, answers, truth, np.array([0, 0, 0, 1, 1, 1]))
    rows = np.arange(6)
    ways = [np.isin(rows, chosen).astype(int) for chosen in itertools.combinations(range(6), 3)]
    scores = [measure(task, answers[way, rows], truth) for way in ways]
    for metric in METRICS[task]:
        every = [score[metric.name] for score in scores]
        exact = sum(every) / len(every)
        assert found[metric.name] == pytest.approx(exact, abs=1e-9 if metric.is_mean else float(np.std(every)))


def test_the_headline_names_the_task() -> None:
    assert [metrics_with(metrics[0].name) for metrics in METRICS.values()] == [*METRICS.values()]
    with pytest.raises(KeyError):
        metrics_with("exact_match")


def test_an_unknown_label_has_no_number() -> None:
    with pytest.raises(KeyError):
        encode_labels("multi_label", [("a",), ("c",)], ("a", "b"))


def test_a_task_that_this_runtime_does_not_know_is_named(make_artifact: ArtifactBuilder) -> None:
    manifest = Manifest.parse((make_artifact() / MANIFEST_NAME).read_bytes())
    tagging: Any = "tagging"
    with pytest.raises(ManifestError, match=r'got "tagging" @ \$\.task'):
        dataclasses.replace(manifest, task=tagging).to_json()
