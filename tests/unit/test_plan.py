"""Plans: times from facts or measurements, the points placed in time, and the budget keeper's own choice among them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharcs_edge.device import Cores, Peak, load_device
from sharcs_edge.errors import CheckFailed, DeviceError, UsageError
from sharcs_edge.latency import MeasuredLatency, find_timing, was_made_on
from sharcs_edge.latency.estimate import EstimatedLatency
from sharcs_edge.plan.deadline import deadline_paths
from sharcs_edge.plan.front import PlannedPoint, calibration_tokens, plan_points, settle
from sharcs_edge.plan.run import Tokens, count_tokens, make_plan
from sharcs_edge_runtime.artifact import Artifact
from sharcs_edge_runtime.budget import Budget
from sharcs_edge_runtime.latency import GraphLatency, Watts
from sharcs_edge_runtime.manifest import Graph, Manifest, Quantization
from sharcs_edge_runtime.operating_points import OperatingPoint, OperatingPoints
from tests.runtime.conftest import RPI4, build_artifact, full_point, point, save_latency, write_points

LENGTHS = np.array([3, 4, 5, 6, 8, 12, 16, 16])
# Which width each of the texts starts at and which one answers it: the longer ones go further.
ROUTES = {
    "narrow": ([0] * 8, [0] * 8),
    "mixed": ([0] * 8, [0, 0, 0, 0, 0, 1, 2, 1]),
    "wide": ([0, 0, 0, 0, 1, 2, 2, 2], [0, 0, 0, 1, 2, 2, 2, 2]),
}


class Proportional:
    """As long as the multiply-accumulates, 1,000 of them in 1 ms; tokenizing takes no time."""

    def tokenise_ms(self, tokens: float) -> float:
        return 0.0

    def graph_ms(self, graph: Graph, tokens: float) -> float:
        macs = graph.macs
        return (macs.per_row + tokens * (macs.per_token + tokens * macs.per_token_squared)) / 1000


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_artifact(tmp_path_factory.mktemp("plan") / "artifact")


@pytest.fixture(scope="module")
def manifest(built: Path) -> Manifest:
    return Artifact.open(built).manifest


def mean_macs(manifest: Manifest, starts: Sequence[int], answers: Sequence[int]) -> float:
    """Counted input by input."""
    graphs = [manifest.tail(width) for width in manifest.widths]
    total = 0
    for tokens, start, answer in zip(LENGTHS.tolist(), starts, answers, strict=True):
        ran = [manifest.trunk, *graphs[start : answer + 1]]
        total += sum(graph.macs.count(tokens) for graph in ran)
    return total / len(LENGTHS)


def observed(manifest: Manifest, routes: tuple[list[int], list[int]], **figures: Any) -> OperatingPoint:
    """A point as calibration would note it down for inputs of `LENGTHS` with these routes."""
    starts, answers = routes
    shares, begun = ([float(np.mean(np.equal(places, i))) for i in range(3)] for places in (answers, starts))
    macs = mean_macs(manifest, starts, answers)
    return point([0.0, 0.0, 0.0], [0.5, 0.5], macs, shares=tuple(shares), starts=tuple(begun), **figures)


@pytest.fixture
def calibrated(built: Path, manifest: Manifest) -> OperatingPoints:
    full = full_point(3, mean_macs(manifest, [2] * 8, [2] * 8))
    chosen = [
        observed(manifest, ROUTES["narrow"], score=0.80, drop=0.10, certified=False),
        observed(manifest, ROUTES["mixed"], score=0.88, drop=0.02),
        observed(manifest, ROUTES["wide"], score=0.89, drop=0.01),
    ]
    full = dataclasses.replace(full, score=0.90)
    return write_points(built, points=(*chosen, full), max_drop=0.02)


@pytest.fixture
def placed(calibrated: OperatingPoints, manifest: Manifest) -> tuple[PlannedPoint, ...]:
    tokens = calibration_tokens(calibrated, manifest)
    return plan_points(calibrated, manifest, Proportional(), tokens)


class TestEstimate:
    def test_a_faster_clock_takes_less_time_in_proportion(self, manifest: Manifest) -> None:
        slow = load_device("rpi4")
        fast = dataclasses.replace(slow, cores=(dataclasses.replace(slow.cores[0], max_mhz=3000),))
        for graph in manifest.graphs:
            ratio = EstimatedLatency(manifest, slow).graph_ms(graph, 8) / EstimatedLatency(manifest, fast).graph_ms(
                graph, 8
            )
            assert ratio == pytest.approx(2.0)

    def test_the_int8_peak_counts_for_int8_graphs_alone(self, manifest: Manifest) -> None:
        device = load_device("rpi4")
        stronger = dataclasses.replace(device, peak=Peak(64, 4, "test"))
        plain = manifest.trunk
        int8 = dataclasses.replace(plain, quantization=Quantization("int8_dynamic", 1.0))
        weak, strong = EstimatedLatency(manifest, device), EstimatedLatency(manifest, stronger)
        assert strong.graph_ms(plain, 8) == weak.graph_ms(plain, 8)
        assert strong.graph_ms(int8, 8) < weak.graph_ms(int8, 8) < weak.graph_ms(plain, 8)

    @given(first=st.floats(1, 512), second=st.floats(1, 512))
    def test_longer_inputs_take_longer(self, manifest: Manifest, first: float, second: float) -> None:
        latency = EstimatedLatency(manifest, load_device("rpi5"))
        low, high = sorted((first, second))
        for graph in manifest.graphs:
            assert 0 < latency.graph_ms(graph, low) <= latency.graph_ms(graph, high)

    @pytest.mark.parametrize(("name", "missing"), [("x86-64", "no clock"), ("apple-arm64", "no clock")])
    def test_a_profile_without_facts_gives_no_estimate(self, manifest: Manifest, name: str, missing: str) -> None:
        with pytest.raises(DeviceError, match=f"{missing}.*profile ARTIFACT --save"):
            EstimatedLatency(manifest, load_device(name))

    def test_a_clock_without_a_peak_gives_none_either(self, manifest: Manifest) -> None:
        device = dataclasses.replace(load_device("x86-64"), cores=(Cores(4, "Some core", "test", 2000),))
        with pytest.raises(DeviceError, match="no peak"):
            EstimatedLatency(manifest, device)


class TestMeasured:
    def test_linear_between_the_lengths_and_beyond(self, built: Path, manifest: Manifest) -> None:
        latency = MeasuredLatency(save_latency(built))
        for tokens in (1, 4, 7.5, 16, 30):
            assert latency.graph_ms(manifest.trunk, tokens) == pytest.approx(0.1 * tokens)
        assert latency.tokenise_ms(10) == pytest.approx(0.015)

    def test_noise_is_not_extrapolated_into_nothing(self, built: Path) -> None:
        steep = MeasuredLatency(save_latency(built, tokenise_ms=(0.01, 0.2)))
        assert steep.tokenise_ms(1) == pytest.approx(0.01 / 4)
        falling = MeasuredLatency(save_latency(built, tokenise_ms=(0.2, 0.1)))
        assert falling.tokenise_ms(10) == pytest.approx(0.15)
        assert falling.tokenise_ms(100) == pytest.approx(0.1)

    def test_one_length_goes_by_compute(self, built: Path, manifest: Manifest) -> None:
        table = dataclasses.replace(
            save_latency(built),
            lengths=(8,),
            tokenise_ms=(0.08,),
            graphs=(GraphLatency("trunk", (1.0,), (1.0,)),),
        )
        latency = MeasuredLatency(table)
        macs = manifest.trunk.macs
        assert latency.graph_ms(manifest.trunk, 16) == pytest.approx(macs.count(16) / macs.count(8))
        assert latency.tokenise_ms(4) == pytest.approx(0.04)


class TestTiming:
    def test_measured_where_the_table_was_made_on_such_a_device(self, built: Path) -> None:
        save_latency(built)
        timing = find_timing(Artifact.open(built), "rpi4")
        assert (timing.kind, timing.error_factor, timing.assumption) == ("measured", 1.0, None)
        assert timing.device == RPI4["model"]
        assert timing.watts == 3  # of the profile: the table does not say

    def test_estimated_for_another_device_and_it_says_so(self, built: Path) -> None:
        save_latency(built)
        timing = find_timing(Artifact.open(built), "rpi5")
        assert (timing.kind, timing.device, timing.error_factor) == ("estimated", "Raspberry Pi 5", 2.0)
        assert "2400 MHz" in timing.source and "2 times more or less" in (timing.assumption or "")

    def test_without_a_device_the_measured_one_then_the_target(self, built: Path) -> None:
        save_latency(built, watts=Watts(2.5, "a meter"))
        timing = find_timing(Artifact.open(built), None)
        assert (timing.kind, timing.watts, timing.watts_source) == ("measured", 2.5, "a meter")
        (built / "latency.json").unlink()
        with pytest.raises(UsageError, match=r"no latency\.json .* exported for gives no estimate .*--device"):
            find_timing(Artifact.open(built), None)  # its target, x86-64, is a class of machines

    @pytest.mark.parametrize(
        ("facts", "name"),
        [
            (RPI4 | {"model": "unavailable"}, "Cortex-A72"),
            ({"model": "unavailable", "cpu": "unavailable"}, "the measured machine"),
        ],
    )
    def test_a_machine_without_a_model_has_a_name_too(self, built: Path, facts: dict[str, Any], name: str) -> None:
        save_latency(built, device=facts)
        assert find_timing(Artifact.open(built), None).device == name

    def test_a_noisy_measurement_is_called_one(self, built: Path) -> None:
        save_latency(built, verdict="noisy")
        assert "noisy" in find_timing(Artifact.open(built), None).source

    @pytest.mark.parametrize(
        ("facts", "name", "same"),
        [
            (RPI4, "rpi4", True),
            (RPI4, "rpi3", False),
            (RPI4 | {"cpu": [{"part": "Cortex-A72", "count": 2}]}, "rpi4", False),
            (RPI4 | {"cpu": "unavailable"}, "rpi4", False),
            ({"features": ["avx2", "fma", "vnni"]}, "x86-64", True),
            ({"features": ["avx2"]}, "x86-64", False),
            ({"features": "unavailable"}, "x86-64", False),
        ],
    )
    def test_which_machine_a_profile_speaks_of(self, facts: dict[str, Any], name: str, same: bool) -> None:
        assert was_made_on(facts, load_device(name)) is same


class TestPoints:
    def test_the_length_of_the_calibration_texts_is_recovered(
        self, calibrated: OperatingPoints, manifest: Manifest
    ) -> None:
        assert calibration_tokens(calibrated, manifest) == pytest.approx(LENGTHS.mean())

    def test_the_mean_time_is_that_of_the_inputs_one_by_one(self, placed: tuple[PlannedPoint, ...]) -> None:
        """Though the file knows nothing of single inputs, of which the long ones run more tails."""
        assert [point.mean_ms for point in placed] == pytest.approx([point.macs / 1000 for point in placed])

    def test_who_runs_follows_from_who_starts_and_who_answers(self, placed: tuple[PlannedPoint, ...]) -> None:
        expected = np.array([[1, 0, 0], [1, 3 / 8, 1 / 8], [4 / 8, 2 / 8, 4 / 8], [0, 0, 1]])
        assert np.allclose(np.array([point.runs for point in placed]), expected)

    @given(routes=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=8, max_size=8))
    def test_runs_of_any_routes(self, manifest: Manifest, routes: list[tuple[int, int]]) -> None:
        starts, answers = [min(pair) for pair in routes], [max(pair) for pair in routes]
        chosen = observed(manifest, (starts, answers))
        full = full_point(3, mean_macs(manifest, [2] * 8, [2] * 8))
        points = OperatingPoints(**{**_plain(), "points": (chosen, full)})
        found = plan_points(points, manifest, Proportional(), calibration_tokens(points, manifest))[0]
        expected = [np.mean([s <= w <= a for s, a in zip(starts, answers, strict=True)]) for w in range(3)]
        assert found.runs == pytest.approx(expected)
        assert found.mean_ms == pytest.approx(chosen.macs / 1000)

    def test_longer_inputs_than_calibrated_take_longer(self, calibrated: OperatingPoints, manifest: Manifest) -> None:
        short, long = (plan_points(calibrated, manifest, Proportional(), tokens) for tokens in (8.0, 16.0))
        assert all(b.mean_ms > 1.5 * a.mean_ms for a, b in zip(short, long, strict=True))


def _plain() -> dict[str, Any]:
    """The fields of a file of operating points that nothing here depends on."""
    return {
        "schema_version": 1,
        "manifest_sha256": "0" * 64,
        "created": "2026",
        "tools": {},
        "against": "labels",
        "samples": 8,
        "tested": 8,
        "metric": "accuracy",
        "max_drop": 0.02,
        "confidence": 0.95,
        "method": None,
        "value_scale": None,
    }


class TestSettle:
    def test_a_mean_between_two_points_is_met_by_taking_turns(
        self, calibrated: OperatingPoints, placed: tuple[PlannedPoint, ...], manifest: Manifest
    ) -> None:
        target = 0.25 * placed[1].mean_ms + 0.75 * placed[2].mean_ms
        mix = settle(calibrated, placed, manifest, Budget(mean_ms=target), None)
        assert mix.points == pytest.approx({1: 0.25, 2: 0.75}, abs=0.002)
        assert mix.mean_ms == pytest.approx(target, rel=0.001)
        assert mix.quality == pytest.approx(0.25 * 0.88 + 0.75 * 0.89, abs=1e-4)
        assert mix.certified
        assert sum(mix.shares) == pytest.approx(1.0)

    @settings(deadline=None, max_examples=15)
    @given(share=st.floats(0.02, 0.98), left=st.integers(0, 2))
    def test_any_reachable_mean_is_met_by_neighbours(self, manifest: Manifest, share: float, left: int) -> None:
        full = full_point(3, mean_macs(manifest, [2] * 8, [2] * 8))
        chosen = tuple(observed(manifest, routes) for routes in ROUTES.values())
        points = OperatingPoints(**{**_plain(), "points": (*chosen, full)})
        placed = plan_points(points, manifest, Proportional(), 8.75)
        target = (1 - share) * placed[left].mean_ms + share * placed[left + 1].mean_ms
        mix = settle(points, placed, manifest, Budget(mean_ms=target), None)
        assert set(mix.points) <= {left, left + 1}
        assert mix.mean_ms == pytest.approx(target, rel=0.005)

    def test_more_than_enough_time_buys_the_full_width(
        self, calibrated: OperatingPoints, placed: tuple[PlannedPoint, ...], manifest: Manifest
    ) -> None:
        mix = settle(calibrated, placed, manifest, Budget(mean_ms=10 * placed[-1].mean_ms), None)
        assert mix.points == {3: 1.0}

    def test_without_a_limit_the_cheapest_certified_point(
        self, calibrated: OperatingPoints, placed: tuple[PlannedPoint, ...], manifest: Manifest
    ) -> None:
        assert settle(calibrated, placed, manifest, Budget(), None).points == {1: 1.0}

    def test_a_promise_keeps_to_certified_points(
        self, calibrated: OperatingPoints, placed: tuple[PlannedPoint, ...], manifest: Manifest
    ) -> None:
        loose = settle(calibrated, placed, manifest, Budget(mean_ms=placed[1].mean_ms - 1e-6), None)
        assert 0 in loose.points and not loose.certified
        with pytest.raises(CheckFailed, match=r"max_drop 0\.02 leaves points of which the cheapest takes"):
            settle(calibrated, placed, manifest, Budget(mean_ms=placed[1].mean_ms - 1e-3, max_drop=0.02), None)
        with pytest.raises(CheckFailed, match=r"max_drop 0\.01 leaves only the full width, which takes"):
            settle(calibrated, placed, manifest, Budget(mean_ms=placed[2].mean_ms, max_drop=0.01), None)

    def test_energy_is_time_at_so_many_watts(
        self, calibrated: OperatingPoints, placed: tuple[PlannedPoint, ...], manifest: Manifest
    ) -> None:
        energy = 4.0 * placed[2].mean_ms
        assert settle(calibrated, placed, manifest, Budget(energy_mj=energy), 4.0).mean_ms == pytest.approx(
            placed[2].mean_ms, rel=0.001
        )
        with pytest.raises(UsageError, match="watts"):
            settle(calibrated, placed, manifest, Budget(energy_mj=energy), None)
        with pytest.raises(CheckFailed, match=r"energy_mj .* ms\) buys nothing"):
            settle(calibrated, placed, manifest, Budget(energy_mj=placed[0].mean_ms / 2, watts=1.0), 4.0)


class TestDeadline:
    def test_what_fits_and_up_to_which_length(self, manifest: Manifest) -> None:
        latency = Proportional()
        takes = latency.graph_ms(manifest.trunk, 8) + latency.graph_ms(manifest.tail(1.0), 8)
        paths = deadline_paths(manifest, latency, 4.0, takes, start=0, end=2)
        assert [path.widths for path in paths] == [(0.25,), (0.5,), (1.0,), (0.25, 0.5, 1.0)]
        assert paths[2].most_tokens == 8
        assert paths[0].most_tokens > paths[1].most_tokens > paths[2].most_tokens > paths[3].most_tokens
        assert deadline_paths(manifest, latency, 4.0, 1e9, 2, 2)[-1].most_tokens == manifest.tokenizer.max_length

    def test_too_short_for_the_narrowest_is_refused(self, manifest: Manifest) -> None:
        with pytest.raises(CheckFailed, match=r"deadline_ms 0\.01 buys nothing: the narrowest width alone takes"):
            deadline_paths(manifest, Proportional(), 4.0, 0.01, 0, 0)


class TestMakePlan:
    def test_a_plan_as_plain_values(self, built: Path, calibrated: OperatingPoints) -> None:
        save_latency(built)
        plan = make_plan(built, Budget(mean_ms=1.9, deadline_ms=50.0), tokens=Tokens(8.0, "a guess"))
        record = plan.to_dict()
        assert record["timing"]["kind"] == "measured" and "latency" not in record["timing"]
        assert record["tokens"] == {"mean": 8.0, "source": "a guess"}
        assert record["budget"]["mean_ms"] == 1.9
        assert record["plan"]["mean_ms"] == pytest.approx(1.9, rel=0.01)
        assert sum(one["share"] for one in record["plan"]["points"]) == pytest.approx(1.0)
        assert record["quality"] == "accuracy"
        assert len(record["front"]) == 4 and len(record["deadline"]) == 4

    def test_without_labels_the_quality_is_agreement(self, built: Path, manifest: Manifest) -> None:
        chosen = observed(manifest, ROUTES["mixed"], score=None, drop=0.04)
        full = dataclasses.replace(full_point(3, mean_macs(manifest, [2] * 8, [2] * 8)), score=None)
        write_points(built, points=(chosen, full), against="full")
        plan = make_plan(built, Budget(), device="rpi4")
        assert (plan.metric, plan.quality_title) == (None, "agreement with the full width")
        assert plan.mix.quality == pytest.approx(0.96)
        assert plan.full.quality == 1.0

    def test_a_refusal_names_device_and_assumption(self, built: Path, calibrated: OperatingPoints) -> None:
        with pytest.raises(CheckFailed) as caught:
            make_plan(built, Budget(mean_ms=1e-6), device="rpi5")
        message = str(caught.value)
        assert message.startswith("mean_ms 1e-06 buys nothing: the cheapest operating point takes ")
        assert "on Raspberry Pi 5 (estimated, for 8.8 tokens); allow more" in message

    def test_limits_that_calibration_knows_nothing_of(self, built: Path, calibrated: OperatingPoints) -> None:
        with pytest.raises(UsageError, match="nothing of max_width, memory_mb"):
            make_plan(built, Budget(max_width=0.5, memory_mb=10.0, mean_ms=1.0), device="rpi4")

    def test_an_artifact_that_was_never_calibrated(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"no operating_points\.json.*sharcs-edge calibrate"):
            make_plan(build_artifact(tmp_path / "plain"), Budget(mean_ms=4.0), device="rpi4")

    def test_tokens_of_texts(self, built: Path) -> None:
        found = count_tokens(built, lambda takes: ["turn on the light"] * takes + ["light"] * takes, "texts.jsonl")
        assert found == Tokens((6 + 3) / 2, "2 texts of texts.jsonl")
