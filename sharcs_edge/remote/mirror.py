"""The facts of a device without Python: copies of its small files, read by `sharcs_edge_runtime.fingerprint` here."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, Final

from sharcs_edge.remote.bare import BareFacts, Program
from sharcs_edge.remote.transport import RemoteError
from sharcs_edge_runtime._thermal import ThermalGate
from sharcs_edge_runtime.fingerprint import UNAVAILABLE, read_device, read_memory, read_state, read_thread_seconds

_CPU: Final = "/sys/devices/system/cpu"
_HEAT: Final = "/sys/class/thermal"
_FILES: Final = (
    *(f"/proc/{name}" for name in ("cpuinfo", "meminfo", "stat", "loadavg", "device-tree/model")),
    *(f"/proc/self/{name}" for name in ("auxv", "status", "smaps_rollup", "task/*/schedstat")),
    "/etc/os-release",
    "/sys/firmware/devicetree/base/model",
    *(f"/sys/devices/virtual/dmi/id/{name}" for name in ("sys_vendor", "product_name")),
    "/sys/devices/platform/soc/soc:firmware/get_throttled",
    *(
        f"{_CPU}/cpufreq/policy*/{name}"
        for name in ("related_cpus", "scaling_governor", "scaling_cur_freq", "cpuinfo_max_freq")
    ),
    f"{_CPU}/cpu*/thermal_throttle/core_throttle_count",
    *(f"{_HEAT}/thermal_zone*/{name}" for name in ("type", "temp")),
    *(f"{_HEAT}/cooling_device*/{name}" for name in ("type", "cur_state")),
)
"""What `fingerprint` reads; ``*`` stands for the rest of a name."""


class Mirror:
    """`root`: a folder here that `refresh` fills with a device's files, as they are then.

    `program`: the one on the device that is asked for them; what is of a process is of that one.
    """

    def __init__(self, root: Path) -> None:
        self.program: Program
        self.root = root
        self.wall_seconds = 0.0
        """Of the device's steady clock, and the processor seconds of the program there, at the last refresh."""
        self.cpu_seconds = 0.0

    def refresh(self) -> None:
        """Raises RemoteError if the program has gone, or sends what it was not asked for."""
        answer = self.program.ask("read", patterns=_FILES)
        self.wall_seconds, self.cpu_seconds = answer["wall_seconds"], answer["cpu_seconds"]
        shutil.rmtree(self.root, ignore_errors=True)
        for name, text in answer["files"].items():
            path = PurePosixPath(name)
            if not path.is_absolute() or ".." in path.parts:
                raise RemoteError(f"the device sent a file {name!r} that it was not asked for: is it the one you mean?")
            target = self.root / path.relative_to("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text.encode("latin-1"))  # each character is a byte
        self.root.mkdir(exist_ok=True)

    def device(self, facts: BareFacts, c_library: str) -> dict[str, Any]:
        """As `fingerprint.read_device`."""
        read = read_device(self.root)
        android = {"os": f"Android {facts.android}"} if facts.android else {}
        model = {"model": facts.model} if facts.android and facts.model else {}
        return {
            **read,
            "machine": facts.machine,
            "cores": read["cores"] if (self.root / "proc/cpuinfo").is_file() else UNAVAILABLE,
            "kernel": facts.kernel,
            "libc": c_library or UNAVAILABLE,
            "python": UNAVAILABLE,
            **android,
            **model,
        }

    def state(self) -> dict[str, Any]:
        """As `fingerprint.read_state`, of this moment."""
        self.refresh()
        return read_state(self.root)

    def memory(self) -> dict[str, Any]:
        """As `fingerprint.read_memory` of the program, at this moment."""
        self.refresh()
        return read_memory(self.root)

    def thread_seconds(self) -> dict[int, float] | str:
        """As `fingerprint.read_thread_seconds` of the program, at the last refresh."""
        return read_thread_seconds(self.root)

    def affinity(self) -> list[int] | str:
        """The processors that the program may use."""
        try:
            lines = (self.root / "proc/self/status").read_text(encoding="utf-8").splitlines()
            words = next(line.split()[1] for line in lines if line.startswith("Cpus_allowed_list:"))
            spans = [[int(part) for part in span.split("-")] for span in words.split(",")]
        except (OSError, StopIteration, IndexError, ValueError):
            return UNAVAILABLE
        return [cpu for span in spans for cpu in range(span[0], span[-1] + 1)]


class RemoteGate(ThermalGate):
    """Waits here until the device is cool."""

    def __init__(
        self, mirror: Mirror, max_celsius: float, max_wait_seconds: float, talk: Callable[[str], None]
    ) -> None:
        self._mirror = mirror
        super().__init__(max_celsius, max_wait_seconds, talk, mirror.root, self._sleep_there)

    def wait(self, group: str) -> None:
        """See `ThermalGate.wait`."""
        self._mirror.refresh()
        super().wait(group)

    def _sleep_there(self, seconds: float) -> None:
        time.sleep(seconds)
        self._mirror.refresh()
