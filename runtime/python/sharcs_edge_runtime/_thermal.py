"""Cool before measured: a group of measurements begins only when heat does not hold the processor back."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from sharcs_edge_runtime.fingerprint import (
    ROOT,
    UNAVAILABLE,
    read_active_cooling,
    read_firmware,
    read_temperatures,
)

MAX_CELSIUS: Final = 70.0
"""Ten degrees below where a Raspberry Pi lowers its clock."""
MAX_WAIT_SECONDS: Final = 180.0

_COOL_DOWN: Final = 5.0  # below the limit once it was passed, or the next second would pass it again
_POLL_SECONDS: Final = 1.0
_PROCESSOR_ZONES: Final = ("cpu", "soc", "pkg", "package", "core", "cluster", "big", "little")
_OF_HEAT: Final = ("frequency capped", "throttled", "soft temperature limit")  # waiting cures no under-voltage


class ThermalGate:
    """Waits before each group while the machine is hot, for `max_wait_seconds` in all; then it goes on, and says so."""

    def __init__(
        self,
        max_celsius: float,
        max_wait_seconds: float,
        talk: Callable[[str], None],
        root: Path = ROOT,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._max_celsius = max_celsius
        self._left = max_wait_seconds
        self._talk = talk
        self._root = root
        self._sleep = sleep
        self.passages: list[dict[str, Any]] = []
        """Per group in order: its name, the seconds waited, the processor's temperature then, and what still held it
        back (None: nothing)."""

    def wait(self, group: str) -> None:
        """Return once the machine is cool, or no time to wait is left."""
        waited, limit = 0.0, self._max_celsius
        while (reason := self._heat(limit)) is not None and self._left > 0:
            if not waited:
                self._talk(f"waiting for the machine to cool down: {reason}")
                limit -= _COOL_DOWN
            step = min(_POLL_SECONDS, self._left)
            self._sleep(step)
            self._left -= step
            waited += step
        if reason is not None:
            self._talk(f"going on with {group} although {reason}")
        celsius = processor_celsius(read_temperatures(self._root))
        self.passages.append(
            {"group": group, "waited_seconds": round(waited, 1), "celsius": celsius, "held_back": reason}
        )

    def _heat(self, limit: float) -> str | None:
        celsius = processor_celsius(read_temperatures(self._root))
        if isinstance(celsius, float) and celsius > limit:
            return f"the processor is at {celsius:.0f} °C (limit {limit:.0f} °C)"
        firmware = read_firmware(self._root)
        if isinstance(firmware, Mapping) and (signs := [name for name in firmware["now"] if name in _OF_HEAT]):
            return f"the firmware reports: {', '.join(signs)}"
        cooling = read_active_cooling(self._root)
        if isinstance(cooling, list) and cooling:
            return f"the cooling device {cooling[0]} holds the clock down"
        return None


def processor_celsius(temperatures: list[dict[str, Any]] | str) -> float | str:
    """The hottest of the processor's zones in `fingerprint.read_temperatures`; of all zones where none is named so."""
    if isinstance(temperatures, str):
        return UNAVAILABLE
    own = [zone for zone in temperatures if any(name in zone["zone"].lower() for name in _PROCESSOR_ZONES)]
    return float(max(zone["celsius"] for zone in own or temperatures))
