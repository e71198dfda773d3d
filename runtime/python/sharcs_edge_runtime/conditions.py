"""The condition of the device, as rules of a budget ask for it: read from the system, or pushed by the program.

The system is read from `/sys`; where that offers nothing (macOS, Windows), through psutil if it is installed
(`pip install "sharcs-edge-runtime[conditions]"`). What neither offers stays unknown.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import fields, replace
from pathlib import Path
from time import monotonic
from typing import Any, Final

from sharcs_edge_runtime.budget import Conditions, condition_problem
from sharcs_edge_runtime.errors import UsageError
from sharcs_edge_runtime.fingerprint import (
    ROOT,
    read_active_cooling,
    read_battery,
    read_firmware,
    read_temperatures,
    read_throttle_events,
)

INTERVAL: Final = 1.0
"""Seconds between two readings, at least; in these terms batteries and heat are slow."""
SHARE: Final = 0.001
"""Of the time, readings may take: where sensors are slow to read, they are read less often."""
PLAY: Final = {"battery": 0.01, "temperature": 1.0}
"""A reading is followed once it differs by more than this: a sensor that trembles at a limit must not switch it."""

_NAMES: Final = tuple(field.name for field in fields(Conditions))
_ANDROID_BACKGROUND: Final = ("/background", "/system-background", "/restricted")


class ConditionReader:
    """The present conditions. Thread-safe; reads the system now and then in `read`, on the caller's thread."""

    def __init__(self, root: Path = ROOT, clock: Callable[[], float] = monotonic) -> None:
        """`root`: that `/sys` and `/proc` hang from; `clock`: seconds."""
        self._root = root
        self._clock = clock
        self._lock = threading.Lock()
        self._pushed: dict[str, Any] = {}
        self._sensors: dict[str, Any] = {}
        self._asked: frozenset[str] = frozenset()
        self._due = clock()
        self._events: int | None = None
        self._now = Conditions()

    def push(self, **values: float | bool | None) -> None:
        """Say how the device is doing, by the names of `Conditions`; from then on the system is not asked for these.

        None takes a value back. UsageError for another name or a value that cannot be.
        """
        for name, value in values.items():
            if name not in _NAMES:
                raise UsageError(f"there is no condition {name}: there are {', '.join(_NAMES)}")
            if value is not None and (expected := condition_problem(name, value)) is not None:
                raise UsageError(f"the condition {name} is {value!r}; expected {expected}")
        with self._lock:
            kept = {**self._pushed, **values}
            self._pushed = {name: value for name, value in kept.items() if value is not None}
            self._asked = frozenset()  # read again now what is no longer pushed
            self._update()

    def read(self, names: Collection[str]) -> Conditions:
        """The present values of these conditions; the same object as before if none has changed."""
        if self._clock() < self._due and self._asked.issuperset(names):
            return self._now
        with self._lock:
            start = self._clock()
            if start >= self._due or not self._asked.issuperset(names):
                self._asked = self._asked | frozenset(names)
                self._poll(self._asked - self._pushed.keys())
                end = self._clock()
                self._due = end + max(INTERVAL, (end - start) / SHARE)
                self._update()
        return self._now

    def _poll(self, names: Iterable[str]) -> None:
        readers: dict[str, Callable[[], Any]] = {
            "battery": self._battery,
            "temperature": self._temperature,
            "throttled": self._throttled,
            "background": self._background,
        }
        for name in names:
            value, held = readers[name](), self._sensors.get(name)
            if name in PLAY and value is not None and held is not None:
                value = min(max(held, value - PLAY[name]), value + PLAY[name])
            self._sensors[name] = value

    def _update(self) -> None:
        now = replace(Conditions(), **{**self._sensors, **self._pushed})
        if now != self._now:
            self._now = now

    def _battery(self) -> float | None:
        charge = read_battery(self._root)
        if isinstance(charge, float):
            return charge
        battery = _ask_psutil("sensors_battery")
        return None if battery is None else min(max(float(battery.percent) / 100, 0.0), 1.0)

    def _temperature(self) -> float | None:
        zones = read_temperatures(self._root)
        if not isinstance(zones, str):
            return float(max(zone["celsius"] for zone in zones))
        chips = _ask_psutil("sensors_temperatures") or {}
        return max((sensor.current for sensors in chips.values() for sensor in sensors), default=None)

    def _throttled(self) -> bool | None:
        """Held back at this moment, or, for x86, since the last reading."""
        firmware = read_firmware(self._root, ask=False)
        cooling, events = read_active_cooling(self._root), read_throttle_events(self._root)
        signs = []
        if isinstance(firmware, dict):
            signs.append(bool(firmware["now"]))
        if isinstance(cooling, list):
            signs.append(bool(cooling))
        if isinstance(events, int):
            signs.append(self._events is not None and events > self._events)
            self._events = events
        return any(signs) if signs else None

    def _background(self) -> bool | None:
        """Android: the process is in a cpuset for the background; elsewhere: it was given less than usual priority."""
        try:
            cpuset = (self._root / "proc/self/cpuset").read_text(encoding="utf-8").strip()
        except OSError:
            cpuset = ""
        if cpuset in _ANDROID_BACKGROUND:
            return True
        if not hasattr(os, "getpriority"):
            return None
        return os.getpriority(os.PRIO_PROCESS, 0) > 0


def _ask_psutil(function: str) -> Any:
    """What a sensor function of psutil says; None where there is no psutil, no such function or no sensor."""
    try:
        import psutil
    except ImportError:
        return None
    return getattr(psutil, function, lambda: None)()
