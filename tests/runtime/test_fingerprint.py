"""The machine's facts, read from made-up `/proc` and `/sys` trees: a Raspberry Pi, a phone, a PC, and nothing."""

from __future__ import annotations

import json
import os
import struct
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharcs_edge_runtime.fingerprint import UNAVAILABLE, read_device, read_memory, read_runtime, read_state

ARM = """processor\t: {index}
BogoMIPS\t: 108.00
Features\t: {features}
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: {part}
CPU revision\t: 3
"""
X86 = """processor\t: {index}
vendor_id\t: GenuineIntel
model name\t: Intel(R) N100
flags\t\t: fpu sse2 avx2 fma avx_vnni {extra}
"""


def put(root: Path, path: str, content: str | bytes) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)


@pytest.fixture
def rpi4(tmp_path: Path) -> Path:
    """A Raspberry Pi 4 as its kernel shows it, throttled by a weak power supply."""
    processors = [ARM.format(index=index, features="fp asimd evtstrm crc32 cpuid", part="0xd08") for index in range(4)]
    put(
        tmp_path,
        "proc/cpuinfo",
        "\n".join(processors) + "\nRevision\t: c03111\nModel\t: Raspberry Pi 4 Model B Rev 1.1\n",
    )
    put(tmp_path, "proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.1\0")
    put(tmp_path, "proc/meminfo", "MemTotal:        3884248 kB\nMemFree: 1 kB\nMemAvailable:    3145728 kB\n")
    put(tmp_path, "proc/loadavg", "0.42 0.30 0.10 1/150 999\n")
    put(tmp_path, "proc/self/auxv", struct.pack("@8L", 33, 4096, 16, 0x887, 26, 0, 0, 0))
    put(tmp_path, "etc/os-release", 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n')
    policy = "sys/devices/system/cpu/cpufreq/policy0"
    put(tmp_path, f"{policy}/related_cpus", "0 1 2 3\n")
    put(tmp_path, f"{policy}/scaling_governor", "ondemand\n")
    put(tmp_path, f"{policy}/scaling_cur_freq", "1500345\n")
    put(tmp_path, f"{policy}/cpuinfo_max_freq", "1500000\n")
    put(tmp_path, "sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
    put(tmp_path, "sys/class/thermal/thermal_zone0/temp", "48199\n")
    put(tmp_path, "sys/class/thermal/cooling_device0/type", "cpufreq-cpu0\n")
    put(tmp_path, "sys/class/thermal/cooling_device0/cur_state", "0\n")
    put(tmp_path, "sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n")
    return tmp_path


def test_a_raspberry_pi_is_recognised(rpi4: Path) -> None:
    device = read_device(rpi4)
    assert device["model"] == "Raspberry Pi 4 Model B Rev 1.1"
    assert device["cpu"] == [{"part": "Cortex-A72", "count": 4}]
    assert device["cores"] == 4
    assert device["features"] == ["neon", "crc32"]
    assert device["hwcap"] == {"hwcap": "0x887", "hwcap2": "0x0"}
    assert device["ram_mb"] == 3793
    assert device["os"] == "Debian GNU/Linux 12 (bookworm)"
    assert device["virtual"] == UNAVAILABLE


def test_the_state_of_a_raspberry_pi(rpi4: Path) -> None:
    state = read_state(rpi4)
    assert state["clocks"] == [{"cpus": "0 1 2 3", "governor": "ondemand", "mhz": 1500, "max_mhz": 1500}]
    assert state["temperatures"] == [{"zone": "cpu-thermal", "celsius": 48.199}]
    assert state["throttled"] == {
        "bits": "0x50005",
        "now": ["under-voltage", "throttled"],
        "since_boot": ["under-voltage", "throttled"],
    }
    assert state["cooling"] == []
    assert state["load_1min"] == 0.42
    assert state["available_mb"] == 3072
    assert state["throttle_events"] == UNAVAILABLE


def test_the_firmware_is_asked_where_the_kernel_does_not_tell(rpi4: Path) -> None:
    (rpi4 / "sys/devices/platform/soc/soc:firmware/get_throttled").unlink()
    assert read_state(rpi4)["throttled"] == UNAVAILABLE
    put(rpi4, "usr/bin/vcgencmd", '#!/bin/sh\n[ "$1" = get_throttled ] && echo throttled=0x80008\n')
    (rpi4 / "usr/bin/vcgencmd").chmod(0o755)
    assert read_state(rpi4)["throttled"] == {
        "bits": "0x80008",
        "now": ["soft temperature limit"],
        "since_boot": ["soft temperature limit"],
    }
    put(rpi4, "usr/bin/vcgencmd", "#!/bin/sh\necho VCHI initialization failed\nexit 255\n")
    assert read_state(rpi4)["throttled"] == UNAVAILABLE


def test_a_processor_of_several_kinds_has_only_the_features_of_all(tmp_path: Path) -> None:
    big = "fp asimd crc32 asimdhp asimddp i8mm bf16 sve2"
    little = "fp asimd crc32 asimdhp asimddp i8mm bf16"
    kinds = [("0xd46", little)] * 4 + [("0xd47", little)] * 3 + [("0xd48", big), ("0xfff", big)]
    blocks = [ARM.format(index=index, part=part, features=features) for index, (part, features) in enumerate(kinds)]
    put(tmp_path, "proc/cpuinfo", "\n".join(blocks))
    device = read_device(tmp_path)
    assert device["cpu"] == [
        {"part": "Cortex-A510", "count": 4},
        {"part": "Cortex-A710", "count": 3},
        {"part": "Cortex-X2", "count": 1},
        {"part": "implementer 0x41 part 0xfff", "count": 1},
    ]
    assert device["features"] == ["neon", "crc32", "dotprod", "fp16", "bf16", "i8mm"]


def test_a_pc_and_a_guest_of_a_hypervisor(tmp_path: Path) -> None:
    put(tmp_path, "proc/cpuinfo", "\n".join(X86.format(index=index, extra="") for index in range(4)))
    put(tmp_path, "sys/devices/virtual/dmi/id/sys_vendor", "ACME\n")
    put(tmp_path, "sys/devices/virtual/dmi/id/product_name", "Mini PC\n")
    for index, count in enumerate((3, 4)):
        put(tmp_path, f"sys/devices/system/cpu/cpu{index}/thermal_throttle/core_throttle_count", f"{count}\n")
    put(tmp_path, "sys/class/thermal/cooling_device0/type", "Processor\n")
    put(tmp_path, "sys/class/thermal/cooling_device0/cur_state", "2\n")
    put(tmp_path, "sys/class/thermal/cooling_device1/type", "Fan\n")
    put(tmp_path, "sys/class/thermal/cooling_device1/cur_state", "1\n")
    device = read_device(tmp_path)
    assert (device["model"], device["virtual"]) == ("ACME Mini PC", False)
    assert device["cpu"] == [{"part": "Intel(R) N100", "count": 4}]
    assert device["features"] == ["avx2", "fma", "vnni"]
    state = read_state(tmp_path)
    assert (state["throttle_events"], state["cooling"]) == (7, ["Processor"])
    put(tmp_path, "proc/cpuinfo", X86.format(index=0, extra="hypervisor"))
    assert read_device(tmp_path)["virtual"] is True


def test_processor_time_in_seconds(tmp_path: Path) -> None:
    put(tmp_path, "proc/stat", "cpu  100 20 300 4000 50 6 7 80 9 10\ncpu0 1 2 3\n")
    tick = os.sysconf("SC_CLK_TCK")
    assert read_state(tmp_path)["cpu_seconds"] == {"busy": 433 / tick, "steal": 80 / tick}


def test_memory_is_counted_by_share_and_in_private(tmp_path: Path) -> None:
    fields = "Rss: 9999 kB\nPss: 1536 kB\nPrivate_Clean: 512 kB\nPrivate_Dirty: 512 kB\n"
    put(tmp_path, "proc/self/smaps_rollup", f"55d0-7ffd ---p 00000000 00:00 0 [rollup]\n{fields}")
    assert read_memory(tmp_path) == {"pss_mb": 1.5, "private_mb": 1.0}


def test_nothing_is_guessed_where_nothing_is_known(tmp_path: Path) -> None:
    device, state = read_device(tmp_path), read_state(tmp_path)
    for name in ("model", "virtual", "cpu", "features", "ram_mb", "os"):
        assert device[name] == UNAVAILABLE, name
    assert device["hwcap"] == {"hwcap": UNAVAILABLE, "hwcap2": UNAVAILABLE}
    assert set(state.values()) == {UNAVAILABLE}
    assert read_memory(tmp_path) == {"pss_mb": UNAVAILABLE, "private_mb": UNAVAILABLE}


@given(content=st.binary(max_size=200))
def test_no_content_of_these_files_stops_the_profiler(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    root = tmp_path_factory.mktemp("root")
    for path in (
        "proc/cpuinfo",
        "proc/meminfo",
        "proc/loadavg",
        "proc/stat",
        "proc/self/auxv",
        "proc/self/smaps_rollup",
        "etc/os-release",
        "proc/device-tree/model",
        "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq",
        "sys/class/thermal/thermal_zone0/temp",
        "sys/class/thermal/cooling_device0/type",
        "sys/class/thermal/cooling_device0/cur_state",
        "sys/devices/platform/soc/soc:firmware/get_throttled",
        "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count",
    ):
        put(root, path, content)
    json.dumps([read_device(root), read_state(root), read_memory(root)], allow_nan=False)


@pytest.mark.parametrize("content", ["nan", "-inf", "1e999"])
def test_a_load_that_is_no_number_is_unavailable(tmp_path: Path, content: str) -> None:
    put(tmp_path, "proc/loadavg", content)
    assert read_state(tmp_path)["load_1min"] == UNAVAILABLE


def test_this_machine_can_be_written_as_json() -> None:
    record = [read_device(), read_state(), read_memory(), read_runtime(2)]
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record[0]["python"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}.")
    assert record[3]["requested_threads"] == 2
    assert record[3]["onnxruntime"] != UNAVAILABLE
