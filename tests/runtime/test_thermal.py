"""The profiler lets a hot machine cool down, for a bounded time, and says when it could not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharcs_edge_runtime._thermal import ThermalGate, processor_celsius
from sharcs_edge_runtime._verdict import judge

UNKNOWN = dict.fromkeys(("throttled", "throttle_events", "cooling", "cpu_seconds"), "unavailable")


class Machine:
    """A `/sys` whose processor cools by some degrees per second of sleep."""

    def __init__(self, root: Path, celsius: float, per_second: float = 0.0) -> None:
        self.root, self.celsius, self.per_second, self.slept = root, celsius, per_second, 0.0
        self.put("sys/class/thermal/thermal_zone0/type", "cpu-thermal")
        self._show()

    def put(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        self.celsius -= self.per_second * seconds
        self._show()

    def gate(self, talk: Callable[[str], None] = lambda message: None, max_wait: float = 60.0) -> ThermalGate:
        return ThermalGate(70.0, max_wait, talk, self.root, self.sleep)

    def _show(self) -> None:
        self.put("sys/class/thermal/thermal_zone0/temp", f"{self.celsius * 1000:.0f}")


def test_a_cool_machine_is_not_kept_waiting(tmp_path: Path) -> None:
    gate = Machine(tmp_path, 69.9).gate()
    gate.wait("stages at 16 tokens")
    assert gate.passages == [
        {"group": "stages at 16 tokens", "waited_seconds": 0.0, "celsius": 69.9, "held_back": None}
    ]


def test_a_hot_one_cools_to_well_below_the_limit(tmp_path: Path) -> None:
    machine, said = Machine(tmp_path, 75.0, per_second=0.5), list[str]()
    gate = machine.gate(said.append)
    gate.wait("routed mix")
    (passage,) = gate.passages
    assert (passage["waited_seconds"], passage["celsius"], passage["held_back"]) == (20.0, 65.0, None)
    assert said == ["waiting for the machine to cool down: the processor is at 75 °C (limit 70 °C)"]


def test_the_wait_is_bounded_over_all_groups_and_the_verdict_says_so(tmp_path: Path) -> None:
    machine, said = Machine(tmp_path, 90.0), list[str]()
    gate = machine.gate(said.append, max_wait=10.0)
    for group in ("stages at 16 tokens", "routed mix"):
        gate.wait(group)
    assert machine.slept == 10.0
    assert [passage["waited_seconds"] for passage in gate.passages] == [10.0, 0.0]
    assert said[1] == "going on with stages at 16 tokens although the processor is at 90 °C (limit 65 °C)"
    rows = [{"stage": "total", "width": 1.0, "tokens": 16, "ms": {"samples": [1.0] * 4, "p50": 1.0, "p90": 1.0}}]
    verdict = judge(rows, UNKNOWN, UNKNOWN, {"wall_seconds": 1.0, "own_cpu_seconds": 1.0}, gate.passages)
    assert verdict["state"] == "noisy"
    assert verdict["reasons"] == ["stages at 16 tokens began although the processor is at 90 °C (limit 65 °C)"]


@pytest.mark.parametrize(
    ("path", "hot", "cool", "reason"),
    [
        (
            "sys/devices/platform/soc/soc:firmware/get_throttled",
            "c",
            "0",
            "the firmware reports: throttled, soft temperature limit",
        ),
        (
            "sys/class/thermal/cooling_device0/cur_state",
            "1",
            "0",
            "the cooling device cpufreq-cpu0 holds the clock down",
        ),
    ],
)
def test_throttling_is_waited_out_too(tmp_path: Path, path: str, hot: str, cool: str, reason: str) -> None:
    machine, said = Machine(tmp_path, 50.0), list[str]()
    machine.put("sys/class/thermal/cooling_device0/type", "cpufreq-cpu0")
    machine.put(path, hot)
    gate = ThermalGate(70.0, 60.0, said.append, tmp_path, lambda seconds: machine.put(path, cool))
    gate.wait("routed mix")
    assert said == [f"waiting for the machine to cool down: {reason}"]
    assert gate.passages[0]["held_back"] is None


def test_under_voltage_is_not_waited_for(tmp_path: Path) -> None:
    machine = Machine(tmp_path, 50.0)
    machine.put("sys/devices/platform/soc/soc:firmware/get_throttled", "1")
    machine.gate().wait("routed mix")
    assert machine.slept == 0.0


def test_a_machine_without_sensors_is_measured_at_once(tmp_path: Path) -> None:
    gate = ThermalGate(70.0, 60.0, lambda message: None, tmp_path, lambda seconds: pytest.fail("it slept"))
    gate.wait("routed mix")
    assert gate.passages[0]["celsius"] == "unavailable"


@pytest.mark.parametrize(
    ("zones", "celsius"),
    [
        ({"acpitz": 27.8, "x86_pkg_temp": 61.0, "iwlwifi_1": 95.0}, 61.0),
        ({"battery": 31.0, "acpitz": 27.8}, 31.0),
        ({"soc-thermal": 55.0, "bigcore0-thermal": 58.5, "gpu-thermal": 70.0}, 58.5),
    ],
)
def test_the_processors_own_sensors_count(zones: dict[str, float], celsius: float) -> None:
    rows: list[dict[str, Any]] = [{"zone": name, "celsius": value} for name, value in zones.items()]
    assert processor_celsius(rows) == celsius


@given(st.floats(20, 120), st.floats(0, 3), st.integers(0, 40))
def test_it_never_sleeps_longer_than_allowed(celsius: float, per_second: float, max_wait: int) -> None:
    temperature, slept = celsius, 0.0

    class Sensor(ThermalGate):
        def _heat(self, limit: float) -> str | None:
            return f"{temperature}" if temperature > limit else None

    def sleep(seconds: float) -> None:
        nonlocal temperature, slept
        slept += seconds
        temperature -= per_second * seconds

    gate = Sensor(70.0, float(max_wait), lambda message: None, Path("/nonexistent"), sleep)
    for group in "abc":
        gate.wait(group)
    assert slept <= max_wait
    assert sum(passage["waited_seconds"] for passage in gate.passages) == pytest.approx(slept)
    assert (gate.passages[-1]["held_back"] is None) == (temperature <= 70 or temperature <= 65)
