"""Forecasts for deadlines: what they rest on, what they learn, and that a deadline is missed only without a choice."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharcs_edge_runtime import Budget, Session, profile
from sharcs_edge_runtime.artifact import Artifact
from sharcs_edge_runtime.forecast import Forecast, LatencySource, time_graphs
from sharcs_edge_runtime.keeper import BudgetKeeper
from sharcs_edge_runtime.latency import LatencyTable
from sharcs_edge_runtime.manifest import Macs
from sharcs_edge_runtime.memory import GraphMemory
from sharcs_edge_runtime.policy import Escalation
from tests.runtime.conftest import point, write_points

LENGTHS = [10, 30]
TIMES = [[1.0, 2.0], [1.0, 3.0], [4.0, 10.0]]
MACS = [Macs(0, 0, 0), Macs(0, 100, 0), Macs(0, 0, 10)]
FIRST_SLOWNESS = 1.5


def forecast() -> Forecast:
    return Forecast(LENGTHS, TIMES, MACS)


@pytest.mark.parametrize(
    ("index", "tokens", "milliseconds"),
    [
        (0, 1, 1.0),  # shorter than measured: as the shortest
        (0, 10, 1.0),
        (0, 20, 2.0),
        (0, 30, 3.0),
        (0, 60, 6.0),  # longer: as the MACs grow
        (1, 25, 8.5),
        (1, 60, 40.0),
    ],
)
def test_times_between_and_beyond_the_measured_lengths(index: int, tokens: int, milliseconds: float) -> None:
    assert forecast().tail_ms(index, tokens) == pytest.approx(FIRST_SLOWNESS * milliseconds)


def test_a_graph_without_macs_grows_with_the_tokens() -> None:
    one = Forecast([10], [[1.0], [1.0]], [Macs(0, 0, 0), Macs(0, 0, 0)])
    assert one.tail_ms(0, 30) == pytest.approx(FIRST_SLOWNESS * 3.0)


def test_exact_times_are_believed_in_the_end() -> None:
    one = forecast()
    for _ in range(60):
        one.learn([0, 1], 10, 6.0)
    assert one.slowness == pytest.approx(1.0, abs=1e-4)


def test_a_machine_that_slows_down_is_noticed_within_a_few_inputs() -> None:
    one = forecast()
    for _ in range(60):
        one.learn([0], 10, 2.0)
    needed = 0
    while one.slowness < 5.0:
        one.learn([0], 10, 10.0)
        needed += 1
    assert needed <= 4
    for _ in range(100):
        one.learn([0], 10, 10.0)
    assert one.slowness == pytest.approx(5.0, rel=1e-3)


def test_one_pause_is_soon_forgotten() -> None:
    one = forecast()
    for _ in range(60):
        one.learn([0], 10, 2.0)
    one.learn([0], 10, 5000.0)
    assert one.slowness < 4.0
    for _ in range(12):
        one.learn([0], 10, 2.0)
    assert one.slowness < 1.5


class Known(LatencySource):
    """Times that are known, without a session."""

    def __init__(self, known: Forecast, watts: float | None = None) -> None:
        self._known, self._watts = known, watts

    def watts(self) -> float | None:
        return self._watts

    def forecast(self) -> Forecast:
        return self._known


@given(st.integers(0, 10_000), st.floats(2.5, 40))
def test_a_deadline_is_missed_only_where_the_narrowest_path_cannot_make_it(seed: int, deadline: float) -> None:
    """With times that are what was forecast: for any route, any confidence, any length."""
    draw = random.Random(seed)
    keeper = BudgetKeeper(GraphMemory((0.25, 1.0), 1.0, (1.0, 1.0)), None, Known(forecast()))
    budget = Budget(deadline_ms=deadline)
    plain = Forecast(LENGTHS, TIMES, MACS)
    for _ in range(40):
        tokens = draw.randint(1, 60)
        trunk, *tails = (plain._expected(graph, tokens) for graph in range(3))
        elapsed = trunk
        allowance = keeper.start(budget)

        def startable(index: int, spent: float = elapsed, tokens: int = tokens) -> bool:
            return keeper.startable(allowance, index, tokens, spent)  # noqa: B023

        logits = np.array([draw.random(), draw.random()], dtype=np.float32).tolist()
        way = Escalation(logits, allowance, startable)
        elapsed += tails[way.index]
        met = keeper.finish(allowance, elapsed, tokens, [way.index], elapsed)
        assert met == (elapsed <= deadline)
        if not met:
            assert way.index == 0
            assert trunk + tails[0] > deadline


def test_what_fits_is_not_held_back() -> None:
    """Once the forecast is exact, the wide tail runs on every input that leaves time for it."""
    keeper = BudgetKeeper(GraphMemory((0.25, 1.0), 1.0, (1.0, 1.0)), None, Known(forecast()))
    allowance = keeper.start(Budget(deadline_ms=5.01))
    for _ in range(60):
        keeper.finish(allowance, 2.0, 10, [0], 2.0)
    assert keeper.startable(allowance, 1, 10, 1.0)
    assert not keeper.startable(allowance, 1, 11, 1.0)
    assert not keeper.startable(allowance, 1, 10, 1.0, load_ms=0.1)  # a tail that must be loaded first


def test_the_session_times_itself_if_nobody_did(tiny_artifact: Path) -> None:
    session = Session.load(tiny_artifact)
    lengths, times = time_graphs(session)
    assert lengths == sorted(lengths) and len(lengths) == 2
    assert [len(column) for column in times] == [2] * 4
    assert all(value > 0 for column in times for value in column)
    answer = session.predict("turn on the light", budget=Budget(deadline_ms=10_000))
    assert (answer.budget_met, answer.reason) == (True, "router")
    late = session.predict("turn on the light", budget=Budget(deadline_ms=1e-6))
    assert (late.width, late.budget_met) == (0.25, False)


def test_latency_json_is_used_where_it_was_made(tiny_artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "COLD_STARTS", 1)
    record = profile.profile(tiny_artifact, settings=profile.Settings((8, 12), min_samples=3, min_seconds=0))
    profile.save(tiny_artifact, record, watts=5.0)
    table = LatencyTable.load(Artifact.open(tiny_artifact))
    assert table is not None
    session = Session.load(tiny_artifact)
    source = LatencySource(session)
    assert source.watts() == 5.0
    expected = FIRST_SLOWNESS * table.graphs[3].mean_ms[1]
    assert source.forecast().tail_ms(2, 12) == pytest.approx(expected)
    # Other threads, or another machine: measured anew, and its watts are not ours.
    assert LatencySource(Session.load(tiny_artifact, threads=2)).forecast().tail_ms(2, 12) != pytest.approx(expected)
    elsewhere = {**record, "device": {**record["device"], "model": "another board"}}
    profile.save(tiny_artifact, elsewhere, watts=5.0)
    assert LatencySource(session).watts() is None
    assert LatencySource(session).forecast().tail_ms(2, 12) != pytest.approx(expected)


def test_energy_is_time_at_the_watts_of_the_device(tiny_artifact: Path) -> None:
    points = write_points(tiny_artifact, point([1e6, 0, 0], [0, 0]))
    memory = GraphMemory.of(Artifact.open(tiny_artifact).manifest)
    keeper = BudgetKeeper(memory, points, Known(forecast(), watts=4.0))
    assert keeper.start(Budget(energy_mj=20)).target_ms == 5.0
    assert keeper.start(Budget(energy_mj=20, watts=2.0)).target_ms == 10.0
    assert keeper.start(Budget(energy_mj=20, mean_ms=3.0)).target_ms == 3.0
