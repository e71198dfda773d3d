"""What this machine is and how it is doing: the facts without which a measured millisecond says nothing.

Read from `/proc`, `/sys` and `/etc`, so that a small device needs no further package. A fact that the machine does not
offer is the string "unavailable", never a guess. Every function takes the `root` that those folders hang from.
"""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import shutil
import struct
import subprocess
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sharcs_edge_runtime.version import __version__

UNAVAILABLE: Final = "unavailable"
ROOT: Final = Path("/")

# Kernel flag -> feature, in the words of the device profiles.
_FEATURES: Final = {
    "asimd": "neon",
    "crc32": "crc32",
    "aes": "aes",
    "asimddp": "dotprod",
    "asimdhp": "fp16",
    "bf16": "bf16",
    "i8mm": "i8mm",
    "sve": "sve",
    "sve2": "sve2",
    "sme": "sme",
    "sme2": "sme2",
    "avx2": "avx2",
    "fma": "fma",
    "avx512f": "avx512",
    "avx512_vnni": "vnni",
    "avx_vnni": "vnni",
    "amx_int8": "amx",
}

# (implementer, part) of the main ID register, as util-linux's lscpu names them.
_ARM_PARTS: Final = {
    ("0x41", "0xd03"): "Cortex-A53",
    ("0x41", "0xd04"): "Cortex-A35",
    ("0x41", "0xd05"): "Cortex-A55",
    ("0x41", "0xd07"): "Cortex-A57",
    ("0x41", "0xd08"): "Cortex-A72",
    ("0x41", "0xd09"): "Cortex-A73",
    ("0x41", "0xd0a"): "Cortex-A75",
    ("0x41", "0xd0b"): "Cortex-A76",
    ("0x41", "0xd0c"): "Neoverse-N1",
    ("0x41", "0xd0d"): "Cortex-A77",
    ("0x41", "0xd40"): "Neoverse-V1",
    ("0x41", "0xd41"): "Cortex-A78",
    ("0x41", "0xd42"): "Cortex-A78AE",
    ("0x41", "0xd44"): "Cortex-X1",
    ("0x41", "0xd46"): "Cortex-A510",
    ("0x41", "0xd47"): "Cortex-A710",
    ("0x41", "0xd48"): "Cortex-X2",
    ("0x41", "0xd49"): "Neoverse-N2",
    ("0x41", "0xd4d"): "Cortex-A715",
    ("0x41", "0xd4e"): "Cortex-X3",
    ("0x41", "0xd4f"): "Neoverse-V2",
    ("0x41", "0xd80"): "Cortex-A520",
    ("0x41", "0xd81"): "Cortex-A720",
    ("0x41", "0xd82"): "Cortex-X4",
}

# Bits of the Raspberry Pi firmware's `get_throttled`; 16 higher: the same, some time since boot.
_THROTTLED_BITS: Final = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}

_AT_HWCAP, _AT_HWCAP2 = 16, 26  # <linux/auxvec.h>


def read_device(root: Path = ROOT) -> dict[str, Any]:
    """What does not change while a program runs: model, CPU, memory, system."""
    processors = _processors(root)
    system = _os_release(root).get("PRETTY_NAME", UNAVAILABLE)
    libc, libc_version = platform.libc_ver()
    return {
        "model": _model(root),
        "machine": platform.machine() or UNAVAILABLE,
        "virtual": _virtual(processors),
        "cpu": _cpu_parts(processors),
        "cores": len(processors) or os.cpu_count() or UNAVAILABLE,
        "features": _features(processors),
        "hwcap": _hwcap(root),
        "ram_mb": _meminfo_mb(root, "MemTotal"),
        "os": system,
        "kernel": platform.release() or UNAVAILABLE,
        "libc": f"{libc} {libc_version}".strip() or UNAVAILABLE,
        "python": f"{platform.python_version()} ({struct.calcsize('P') * 8} bit)",
    }


def read_state(root: Path = ROOT) -> dict[str, Any]:
    """What may change from second to second: clocks, temperatures, throttling, load, free memory."""
    return {
        "clocks": _clocks(root),
        "temperatures": read_temperatures(root),
        "throttled": read_firmware(root),
        "throttle_events": read_throttle_events(root),
        "cooling": read_active_cooling(root),
        "load_1min": _load(root),
        "cpu_seconds": _cpu_seconds(root),
        "available_mb": _meminfo_mb(root, "MemAvailable"),
    }


def read_memory(root: Path = ROOT) -> dict[str, Any]:
    """Memory of the calling process in MB of 1024 * 1024 bytes.

    `pss_mb`: its proportional share of all pages, `private_mb`: pages that no other process maps (what its end would
    give back).
    """
    fields = _key_values(root / "proc/self/smaps_rollup", ":")

    def megabytes(*names: str) -> float | str:
        try:
            return round(sum(int(fields[name].split()[0]) for name in names) / 1024, 2)
        except (KeyError, ValueError, IndexError):
            return UNAVAILABLE

    return {"pss_mb": megabytes("Pss"), "private_mb": megabytes("Private_Clean", "Private_Dirty")}


def read_thread_seconds(root: Path = ROOT) -> dict[int, float] | str:
    """Processor seconds of each thread of the calling process so far, by its id."""
    times = {int(path.parent.name): _text(path) for path in (root / "proc/self/task").glob("[0-9]*/schedstat")}
    try:
        return {thread: int((text or "").split()[0]) / 1e9 for thread, text in times.items()} or UNAVAILABLE
    except (IndexError, ValueError):
        return UNAVAILABLE


def read_runtime(threads: int) -> dict[str, Any]:
    """Versions of what computes, and the processors that this process may use; `threads` as requested."""
    packages = ("onnxruntime", "ai-edge-litert", "tokenizers", "numpy")
    return {
        "sharcs_edge_runtime": __version__,
        **{package: _version(package) for package in packages},
        "requested_threads": threads,
        "affinity": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else UNAVAILABLE,
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return UNAVAILABLE


def _text(path: Path) -> str | None:
    """A file's text without surrounding blanks and NULs; None where it cannot be read or is empty."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0 \t\r\n") or None
    except OSError:
        return None


def _number(path: Path) -> int | None:
    text = _text(path)
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None


def _key_values(path: Path, separator: str) -> dict[str, str]:
    lines = (_text(path) or "").splitlines()
    pairs = (line.split(separator, 1) for line in lines if separator in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _processors(root: Path) -> list[dict[str, str]]:
    """One mapping per processor of `/proc/cpuinfo`."""
    blocks = (_text(root / "proc/cpuinfo") or "").split("\n\n")
    parsed = (
        {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in block.splitlines())}
        for block in blocks
    )
    return [block for block in parsed if "processor" in block]


def _model(root: Path) -> str:
    for path in ("proc/device-tree/model", "sys/firmware/devicetree/base/model"):
        if text := _text(root / path):
            return text
    parts = [_text(root / "sys/devices/virtual/dmi/id" / name) for name in ("sys_vendor", "product_name")]
    return " ".join(part for part in parts if part) or UNAVAILABLE


def _virtual(processors: list[dict[str, str]]) -> bool | str:
    flags = [block["flags"].split() for block in processors if "flags" in block]
    return any("hypervisor" in names for names in flags) if flags else UNAVAILABLE


def _cpu_parts(processors: list[dict[str, str]]) -> list[dict[str, Any]] | str:
    """Kinds of core in the order of their first processor."""
    names = [name for name in map(_part_name, processors) if name is not None]
    return [{"part": name, "count": count} for name, count in Counter(names).items()] or UNAVAILABLE


def _part_name(block: Mapping[str, str]) -> str | None:
    if "CPU part" in block:
        key = (block.get("CPU implementer", ""), block["CPU part"])
        return _ARM_PARTS.get(key, f"implementer {key[0]} part {key[1]}")
    return block.get("model name")


def _features(processors: list[dict[str, str]]) -> list[str] | str:
    """Those that every processor has: a thread may run on any."""
    flags = [set((block.get("Features") or block.get("flags") or "").split()) for block in processors]
    if not any(flags):
        return UNAVAILABLE
    common = set.intersection(*flags)
    return list(dict.fromkeys(feature for flag, feature in _FEATURES.items() if flag in common))


def _hwcap(root: Path) -> dict[str, str]:
    """The kernel's hardware capability words from the auxiliary vector, in hexadecimal."""
    try:
        data = (root / "proc/self/auxv").read_bytes()
    except OSError:
        data = b""
    pair = struct.Struct("@LL")
    vector = dict(pair.iter_unpack(data[: len(data) - len(data) % pair.size]))
    words = (("hwcap", _AT_HWCAP), ("hwcap2", _AT_HWCAP2))
    return {name: hex(vector[key]) if key in vector else UNAVAILABLE for name, key in words}


def _meminfo_mb(root: Path, name: str) -> int | str:
    value = _key_values(root / "proc/meminfo", ":").get(name, "").split()
    return int(value[0]) // 1024 if value and value[0].isdecimal() else UNAVAILABLE


def _os_release(root: Path) -> dict[str, str]:
    return {key: value.strip("\"'") for key, value in _key_values(root / "etc/os-release", "=").items()}


def _clocks(root: Path) -> list[dict[str, Any]] | str:
    """Governor and clock per frequency domain; `mhz` is what the kernel asked for, which firmware may undercut."""

    def megahertz(path: Path) -> int | str:
        value = _number(path)
        return value // 1000 if value is not None else UNAVAILABLE

    policies = sorted(
        (root / "sys/devices/system/cpu/cpufreq").glob("policy[0-9]*"), key=lambda path: int(path.name[6:])
    )
    return [
        {
            "cpus": _text(policy / "related_cpus") or UNAVAILABLE,
            "governor": _text(policy / "scaling_governor") or UNAVAILABLE,
            "mhz": megahertz(policy / "scaling_cur_freq"),
            "max_mhz": megahertz(policy / "cpuinfo_max_freq"),
        }
        for policy in policies
    ] or UNAVAILABLE


def read_battery(root: Path = ROOT) -> float | str:
    """The charge of the machine's own batteries, 0 to 1; not that of a mouse (`scope` Device)."""
    supplies = sorted((root / "sys/class/power_supply").glob("*"))
    own = [path for path in supplies if _text(path / "type") == "Battery" and _text(path / "scope") != "Device"]
    charges = [charge for charge in (_number(path / "capacity") for path in own) if charge is not None]
    return sum(charges) / len(charges) / 100 if charges else UNAVAILABLE


def read_temperatures(root: Path = ROOT) -> list[dict[str, Any]] | str:
    """What the kernel's thermal zones measure."""
    zones = sorted((root / "sys/class/thermal").glob("thermal_zone*"))
    readings = ((_text(zone / "type") or zone.name, _number(zone / "temp")) for zone in zones)
    return [{"zone": name, "celsius": value / 1000} for name, value in readings if value is not None] or UNAVAILABLE


def read_firmware(root: Path = ROOT, *, ask: bool = True) -> dict[str, Any] | str:
    """The Raspberry Pi firmware's throttling bits, from sysfs or, with `ask`, `vcgencmd`, a process of some 10 ms."""
    text = _text(root / "sys/devices/platform/soc/soc:firmware/get_throttled") or (_ask_firmware(root) if ask else None)
    try:
        bits = int(text or "", 16)
    except ValueError:
        return UNAVAILABLE
    return {
        "bits": hex(bits),
        "now": [name for bit, name in _THROTTLED_BITS.items() if bits >> bit & 1],
        "since_boot": [name for bit, name in _THROTTLED_BITS.items() if bits >> (bit + 16) & 1],
    }


def _ask_firmware(root: Path) -> str | None:
    """`vcgencmd get_throttled` prints ``throttled=0x50005``."""
    command = shutil.which("vcgencmd", path=os.pathsep.join(str(root / folder) for folder in ("usr/bin", "opt/vc/bin")))
    if command is None:
        return None
    try:
        answer = subprocess.run([command, "get_throttled"], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip().partition("=")[2]


def read_throttle_events(root: Path = ROOT) -> int | str:
    """How often x86 cores were slowed for heat since boot."""
    files = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/core_throttle_count")
    counts = [count for count in map(_number, files) if count is not None]
    return sum(counts) if counts else UNAVAILABLE


def read_active_cooling(root: Path = ROOT) -> list[str] | str:
    """Cooling devices that hold a processor's clock down at this moment."""
    devices = [(_text(path / "type") or "", path) for path in (root / "sys/class/thermal").glob("cooling_device*")]
    slowing = [(name, path) for name, path in devices if "cpufreq" in name or name == "Processor"]
    return sorted(name for name, path in slowing if _number(path / "cur_state")) if slowing else UNAVAILABLE


def _load(root: Path) -> float | str:
    try:
        load = float((_text(root / "proc/loadavg") or "").split()[0])
    except (IndexError, ValueError):
        return UNAVAILABLE
    return load if math.isfinite(load) else UNAVAILABLE


def _cpu_seconds(root: Path) -> dict[str, float] | str:
    """Seconds of all processors since boot: `busy` for any process here, `steal` for other guests of the hypervisor."""
    first = (_text(root / "proc/stat") or "").splitlines()[:1]
    fields = first[0].split() if first else []
    if len(fields) < 9 or fields[0] != "cpu" or not all(field.isdecimal() for field in fields[1:9]):
        return UNAVAILABLE
    user, nice, system, _, _, irq, softirq, steal = map(int, fields[1:9])
    tick = os.sysconf("SC_CLK_TCK")
    return {"busy": (user + nice + system + irq + softirq) / tick, "steal": steal / tick}
