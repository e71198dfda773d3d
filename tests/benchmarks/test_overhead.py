"""The decision's cost: what is timed, and that watching a session leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.overhead import BUDGETS, NO_DECISION, Apart, as_markdown, calibrated_copy, measure
from sharcs_edge_runtime.onnx_backend import OnnxGraph
from sharcs_edge_runtime.session import Session
from sharcs_edge_runtime.tokenization import TextEncoder
from tests.runtime.conftest import TEXTS, build_artifact


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("overhead")
    return calibrated_copy(build_artifact(folder / "built"), folder, TEXTS)


def test_the_copy_hands_on_every_second_text(artifact: Path) -> None:
    session = Session.load(artifact)
    handed = [len(session.predict(text).ran) > 1 for text in TEXTS]
    assert sum(handed) == len(TEXTS) // 2


def test_every_budget_has_a_row(artifact: Path) -> None:
    rows = measure(artifact, TEXTS[:4], rounds=1)
    assert [row.budget for row in rows] == [*BUDGETS, NO_DECISION]
    assert rows[-1].tails == rows[0].tails
    assert rows[-1].cold_decision == rows[-1].warm_decision == 0
    for row in rows:
        assert 1 <= row.tails <= 3
        assert 0 < row.cold_p50 <= row.cold_p95
        assert 0 < row.warm_p50 <= row.warm_p95
    assert as_markdown(rows).count("\n") == 1 + len(rows)


def test_graphs_answer_from_memory_as_they_would(artifact: Path) -> None:
    session, apart = Session.load(artifact), Apart()
    originals = OnnxGraph.run, TextEncoder.encode, TextEncoder.batch
    expected = [session.predict(text).scores for text in TEXTS]
    with apart.watching():
        apart.remember = True
        for _ in range(2):
            assert [session.predict(text).scores for text in TEXTS] == expected
        assert apart.seconds > 0
    assert (OnnxGraph.run, TextEncoder.encode, TextEncoder.batch) == originals
