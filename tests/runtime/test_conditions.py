"""Reading the device's condition: only what is asked for, now and then, and what the program says goes first."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from sharcs_edge_runtime.budget import Conditions
from sharcs_edge_runtime.conditions import ConditionReader
from sharcs_edge_runtime.errors import UsageError

ALL = frozenset(("battery", "temperature", "throttled", "background"))


class Clock:
    """Seconds, moved by hand; `step`: what each look at it takes."""

    def __init__(self) -> None:
        self.now, self.step = 100.0, 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def put(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.fixture
def phone(tmp_path: Path) -> Path:
    """A device that tells everything."""
    put(tmp_path, "sys/class/power_supply/BAT0/type", "Battery\n")
    put(tmp_path, "sys/class/power_supply/BAT0/capacity", "50\n")
    put(tmp_path, "sys/class/power_supply/mouse/type", "Battery\n")
    put(tmp_path, "sys/class/power_supply/mouse/scope", "Device\n")
    put(tmp_path, "sys/class/power_supply/mouse/capacity", "5\n")
    put(tmp_path, "sys/class/power_supply/AC/type", "Mains\n")
    put(tmp_path, "sys/class/thermal/thermal_zone0/temp", "41000\n")
    put(tmp_path, "sys/class/thermal/thermal_zone1/temp", "55500\n")
    put(tmp_path, "sys/class/thermal/cooling_device0/type", "cpufreq-cpu0\n")
    put(tmp_path, "sys/class/thermal/cooling_device0/cur_state", "0\n")
    put(tmp_path, "proc/self/cpuset", "/foreground\n")
    return tmp_path


@pytest.fixture
def no_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)


def test_the_system_is_read(phone: Path, clock: Clock) -> None:
    reader = ConditionReader(phone, clock)
    assert reader.read(ALL) == Conditions(0.5, 55.5, throttled=False, background=os.getpriority(os.PRIO_PROCESS, 0) > 0)
    put(phone, "sys/class/thermal/cooling_device0/cur_state", "2\n")
    put(phone, "proc/self/cpuset", "/background\n")
    clock.now += 1
    now = reader.read(ALL)
    assert (now.throttled, now.background) == (True, True)


def test_only_what_is_asked_for_is_read(phone: Path, clock: Clock) -> None:
    reader = ConditionReader(phone, clock)
    assert reader.read({"temperature"}) == Conditions(temperature=55.5)
    assert reader.read({"battery"}) == Conditions(battery=0.5, temperature=55.5)  # another budget asks: at once


def test_between_two_readings_a_second_passes(phone: Path, clock: Clock) -> None:
    reader = ConditionReader(phone, clock)
    first = reader.read(ALL)
    put(phone, "sys/class/power_supply/BAT0/capacity", "30\n")
    clock.now += 0.99
    assert reader.read(ALL) is first
    clock.now += 0.02
    assert reader.read(ALL).battery == pytest.approx(0.31)


def test_slow_sensors_are_read_less_often(phone: Path, clock: Clock) -> None:
    reader = ConditionReader(phone, clock)
    clock.step = 0.01
    first = reader.read(ALL)
    clock.step = 0.0
    put(phone, "sys/class/thermal/thermal_zone1/temp", "99000\n")
    clock.now += 9.9
    assert reader.read(ALL) is first
    clock.now += 0.2
    assert reader.read(ALL) is not first


def test_a_sensor_that_trembles_switches_nothing(phone: Path, clock: Clock) -> None:
    reader = ConditionReader(phone, clock)
    seen = []
    for celsius in (69.8, 70.3, 69.6, 70.4, 69.9, 71.9, 71.0, 70.2, 69.4):
        put(phone, "sys/class/thermal/thermal_zone1/temp", f"{celsius * 1000:.0f}\n")
        clock.now += 1
        seen.append(reader.read({"temperature"}).temperature)
    assert seen == pytest.approx([69.8, 69.8, 69.8, 69.8, 69.8, 70.9, 70.9, 70.9, 70.4])


def test_pushed_values_win_until_they_are_taken_back(phone: Path, clock: Clock) -> None:
    reader = ConditionReader(phone, clock)
    reader.push(battery=0.1, background=True)
    assert reader.read(ALL) == Conditions(0.1, 55.5, throttled=False, background=True)
    put(phone, "sys/class/power_supply/BAT0/capacity", "90\n")
    clock.now += 5
    assert reader.read(ALL).battery == 0.1
    reader.push(battery=None)
    assert reader.read(ALL).battery == 0.9


def test_a_pushed_value_counts_at_once(phone: Path, clock: Clock) -> None:
    reader = ConditionReader(phone, clock)
    reader.read(ALL)
    reader.push(temperature=90)
    assert reader.read(ALL).temperature == 90


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"baterry": 0.5}, "there is no condition baterry: there are battery, temperature, throttled, background"),
        ({"battery": 50}, "the condition battery is 50; expected a share of the full battery from 0 to 1"),
        ({"throttled": 1}, "the condition throttled is 1; expected True or False"),
        ({"temperature": float("nan")}, "the condition temperature is nan; expected degrees Celsius"),
    ],
)
def test_bad_values_are_refused_and_change_nothing(
    phone: Path, clock: Clock, values: dict[str, float], message: str
) -> None:
    reader = ConditionReader(phone, clock)
    before = reader.read(ALL)
    with pytest.raises(UsageError, match=message):
        reader.push(**{"background": True, **values})
    assert reader.read(ALL) == before


@pytest.mark.usefixtures("no_psutil")
def test_what_the_machine_does_not_tell_stays_unknown(tmp_path: Path, clock: Clock) -> None:
    now = ConditionReader(tmp_path, clock).read(ALL)
    assert (now.battery, now.temperature, now.throttled) == (None, None, None)


def test_psutil_helps_where_sys_offers_nothing(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    library = ModuleType("psutil")
    chips = {"core": [SimpleNamespace(current=48.0), SimpleNamespace(current=61.0)], "disk": []}
    library.sensors_battery = lambda: SimpleNamespace(percent=80)  # type: ignore[attr-defined]
    library.sensors_temperatures = lambda: chips  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "psutil", library)
    assert ConditionReader(tmp_path, clock).read({"battery", "temperature"}) == Conditions(0.8, 61.0)
    del library.sensors_temperatures  # as on Windows and macOS
    library.sensors_battery = lambda: None  # type: ignore[attr-defined]
    assert ConditionReader(tmp_path, clock).read({"battery", "temperature"}) == Conditions()


def test_x86_counts_how_often_cores_were_slowed(tmp_path: Path, clock: Clock) -> None:
    counter = "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"
    reader = ConditionReader(tmp_path, clock)
    seen = []
    for count in (7, 7, 9, 9):
        put(tmp_path, counter, f"{count}\n")
        clock.now += 1
        seen.append(reader.read({"throttled"}).throttled)
    assert seen == [False, False, True, False]


def test_the_firmware_is_not_asked_by_a_process(tmp_path: Path, clock: Clock) -> None:
    put(tmp_path, "usr/bin/vcgencmd", "#!/bin/sh\ntouch $(dirname $0)/was_called\n")
    (tmp_path / "usr/bin/vcgencmd").chmod(0o755)
    assert ConditionReader(tmp_path, clock).read({"throttled"}).throttled is None
    assert not (tmp_path / "usr/bin/was_called").exists()
    put(tmp_path, "sys/devices/platform/soc/soc:firmware/get_throttled", "50004\n")
    clock.now += 1
    assert ConditionReader(tmp_path, clock).read({"throttled"}).throttled is True
