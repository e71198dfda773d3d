"""Memory budgets: tails come when they are needed, the least recently used go, and what cannot fit is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sharcs_edge_runtime import Budget, Session
from sharcs_edge_runtime.artifact import Artifact
from sharcs_edge_runtime.errors import ArtifactError, UsageError
from sharcs_edge_runtime.manifest import Manifest
from sharcs_edge_runtime.memory import GraphMemory, graph_mb
from sharcs_edge_runtime.onnx_backend import OnnxBackend
from sharcs_edge_runtime.tails import Tails
from tests.runtime.conftest import TEXTS, point, write_points

MEMORY = GraphMemory((0.25, 0.5, 1.0), trunk=50.0, tails=(5.0, 8.0, 15.0))


def loaded(source: Tails | Session) -> tuple[int, ...]:
    """Indices of the widths whose tails are in memory."""
    return source.loaded if isinstance(source, Tails) else source._tails.loaded


@pytest.fixture
def tails(tiny_artifact: Path) -> Tails:
    artifact = Artifact.open(tiny_artifact)
    return Tails(artifact.manifest, OnnxBackend(artifact, threads=1, cache=None), MEMORY, trunk_ms_per_mb=2.0)


def test_a_tail_is_loaded_once_when_it_is_needed(tails: Tails) -> None:
    assert loaded(tails) == ()
    graph = tails.get(1)
    assert loaded(tails) == (1,)
    assert tails.get(1) is graph
    assert graph.name == "tail_w050"


def test_without_a_limit_all_stay(tails: Tails) -> None:
    for index in (2, 0, 1):
        tails.get(index)
    assert loaded(tails) == (2, 0, 1)


def test_the_least_recently_used_goes(tails: Tails) -> None:
    limit = 50 + 5 + 15
    tails.get(0, limit)
    tails.get(1, limit)
    tails.get(0, limit)
    tails.get(2, limit)  # room for 5 beside it: 1 goes, 0 stays
    assert loaded(tails) == (0, 2)
    tails.get(1, limit)  # room for 12: both go, the older first, until it fits
    assert loaded(tails) == (1,)


def test_a_limit_that_falls_takes_effect_at_the_next_use(tails: Tails) -> None:
    tails.load_all()
    tails.get(2, 50 + 15)
    assert loaded(tails) == (2,)
    tails.load_all()
    tails.get(0, 50 + 5 + 8)
    assert sum(MEMORY.tails[index] for index in loaded(tails)) <= 13
    assert 0 in loaded(tails)


def test_loading_counts_only_for_a_tail_that_is_not_there(tails: Tails) -> None:
    assert tails.load_ms(2) == 30.0  # a guess from the trunk's
    tails.get(2)
    assert tails.load_ms(2) == 0.0
    tails.get(0, 50 + 5)
    assert tails.load_ms(2) not in (0.0, 30.0)  # it was measured


@pytest.mark.parametrize(
    ("limits", "memory_mb", "expected"),
    [((0, 2), 65, 2), ((0, 2), 64.9, 1), ((0, 2), 55, 0), ((1, 2), 58, 1), ((0, 0), 500, 0), ((1, 1), 58, 1)],
)
def test_widths_whose_tail_does_not_fit_beside_the_trunk_do_not_run(
    limits: tuple[int, int], memory_mb: float, expected: int
) -> None:
    assert MEMORY.widest(*limits, memory_mb) == expected


def test_what_cannot_fit_is_refused_with_the_number_that_would() -> None:
    with pytest.raises(UsageError, match=r"memory_mb is 54, and the trunk with tail_w025 takes 55\.0 \(estimated\)"):
        MEMORY.widest(0, 2, 54)
    with pytest.raises(UsageError, match=r"trunk with tail_w100 takes 65\.0"):
        MEMORY.widest(2, 2, 60)


def needed(artifact: Path, *widths: float) -> float:
    manifest = Manifest.parse((artifact / "manifest.json").read_bytes())
    return graph_mb(manifest.trunk) + sum(graph_mb(manifest.tail(width)) for width in widths)


def test_a_session_loads_lazily_under_a_limit_alone(tiny_artifact: Path) -> None:
    assert loaded(Session.load(tiny_artifact)) == (0, 1, 2)
    session = Session.load(tiny_artifact, budget=Budget(memory_mb=needed(tiny_artifact, 1.0) + 0.1))
    assert loaded(session) == ()
    for width in (0.25, 1.0, 0.5):
        session.predict(TEXTS[0], budget=Budget(width=width, memory_mb=needed(tiny_artifact, 1.0) + 0.1))
        assert loaded(session) == (session.widths.index(width),)


def test_a_session_that_cannot_hold_trunk_and_one_tail_is_refused(tiny_artifact: Path) -> None:
    with pytest.raises(UsageError, match=rf"memory_mb is 5, .*takes {needed(tiny_artifact, 0.25):.1f} "):
        Session.load(tiny_artifact, budget=Budget(memory_mb=5))
    session = Session.load(tiny_artifact)
    with pytest.raises(UsageError, match="memory_mb is 5, "):
        session.predict(TEXTS[0], budget=Budget(memory_mb=5))
    with pytest.raises(UsageError, match="memory_mb is 5, "):
        session.predict_batch(TEXTS, budget=Budget(memory_mb=5))


def test_memory_is_named_where_it_decided(tiny_artifact: Path) -> None:
    # The tiny tails differ by some hundred bytes of 5 MB.
    between = (needed(tiny_artifact, 0.25) + needed(tiny_artifact, 0.5)) / 2
    write_points(tiny_artifact, point([0, 0, 1e6], [2.0, 2.0]))
    session = Session.load(tiny_artifact, budget=Budget(memory_mb=between))
    prediction = session.predict(TEXTS[0])
    assert (prediction.ran, prediction.reason) == ((0.25,), "memory")


def test_answers_do_not_depend_on_the_limit(tiny_artifact: Path) -> None:
    write_points(tiny_artifact, point([1e6, 0, 0], [0.5, 0.55]))
    session = Session.load(tiny_artifact)
    tight = Session.load(tiny_artifact, budget=Budget(memory_mb=needed(tiny_artifact, 1.0) + 0.1))

    def shown(text: str, session: Session) -> tuple[object, ...]:
        prediction = session.predict(text)
        return prediction.label, prediction.scores, prediction.ran

    expected = [shown(text, session) for text in TEXTS]
    assert {len(ran) for _, _, ran in expected if isinstance(ran, tuple)} >= {1, 2}
    assert [shown(text, tight) for text in TEXTS] == expected
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda text: shown(text, tight), TEXTS * 5)) == expected * 5
    assert len(loaded(tight)) == 1


def test_a_tail_that_cannot_be_loaded_later_is_one_sentence(tiny_artifact: Path) -> None:
    session = Session.load(tiny_artifact, budget=Budget(memory_mb=100))
    (tiny_artifact / "tail_w050.onnx").write_bytes(b"overwritten while the program runs")
    with pytest.raises(ArtifactError, match=r"tail_w050\.onnx \(tail_w050\) cannot be loaded by onnxruntime"):
        session.predict(TEXTS[0], budget=Budget(width=0.5, memory_mb=100))
    assert session.predict(TEXTS[0], budget=Budget(width=0.25)).label
