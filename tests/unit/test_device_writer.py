"""A profile from what a machine says of itself: valid, every number with its source, nothing that it cannot know."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharcs_edge.device import DeviceProfile, list_devices, parse_device
from sharcs_edge.device_writer import write_profile
from sharcs_edge.errors import DeviceError
from sharcs_edge_runtime.fingerprint import UNAVAILABLE

PI4: dict[str, Any] = {
    "model": "Raspberry Pi 4 Model B Rev 1.5",
    "machine": "aarch64",
    "virtual": UNAVAILABLE,
    "cpu": [{"part": "Cortex-A72", "count": 4}],
    "cores": 4,
    "features": ["neon", "crc32"],
    "hwcap": {"hwcap": "0x887", "hwcap2": "0x0"},
    "ram_mb": 3794,
    "os": "Debian GNU/Linux 12 (bookworm)",
    "kernel": "6.6.31+rpt-rpi-v8",
    "libc": "glibc 2.36",
    "python": "3.11.2 (64 bit)",
    "clocks": [{"cpus": "0 1 2 3", "governor": "ondemand", "mhz": 600, "max_mhz": 1800}],
}
KNOWN = list_devices()
READ = "read from user@pi on 2026-11-22"


def built(facts: dict[str, Any], name: str = "kiosk") -> DeviceProfile:
    return parse_device(write_profile(name, facts, KNOWN, READ), Path(f"{name}.toml"))


def test_a_raspberry_pi_4() -> None:
    profile = built(PI4)
    (core,) = profile.cores
    assert (core.count, core.part, core.max_mhz, core.source) == (4, "Cortex-A72", 1800, READ)
    assert profile.title == "Raspberry Pi 4 Model B Rev 1.5"
    assert profile.isa.base == "armv8.0-a"
    assert profile.memory is not None
    assert profile.memory.ram_mb == (3794,)
    assert profile.kernels.source.startswith("as for rpi4: ")
    assert profile.peak is not None, "a peak belongs to the core, which is that of rpi4"
    assert profile.power is None, "what another board draws says nothing"
    assert profile.blocked_by("onnxruntime", "1.21.0") is not None


def test_features_choose_what_is_taken_over() -> None:
    facts = PI4 | {"features": ["neon", "crc32", "aes", "dotprod", "fp16"], "cpu": [{"part": "Cortex-A78", "count": 8}]}
    profile = built(facts)
    assert profile.isa.base == "armv8.2-a"
    assert "UDOT" in profile.kernels.int8
    assert profile.peak is None, "the peak of another core"


def test_the_fastest_cores_come_first() -> None:
    facts = PI4 | {
        "cpu": [{"part": "Cortex-A55", "count": 4}, {"part": "Cortex-A76", "count": 2}],
        "clocks": [
            {"cpus": "0 1 2 3", "governor": "schedutil", "mhz": 600, "max_mhz": 1800},
            {"cpus": "4 5", "governor": "schedutil", "mhz": 600, "max_mhz": 2400},
        ],
    }
    assert [(core.part, core.max_mhz) for core in built(facts).cores] == [("Cortex-A76", 2400), ("Cortex-A55", 1800)]


def test_one_clock_for_unlike_cores_is_no_clock() -> None:
    facts = PI4 | {"cpu": [{"part": "Cortex-A55", "count": 2}, {"part": "Cortex-A76", "count": 2}]}
    assert [core.max_mhz for core in built(facts).cores] == [None, None]


@pytest.mark.parametrize("fact", ["model", "cpu", "ram_mb", "os", "clocks"])
def test_what_a_machine_does_not_say_is_left_out(fact: str) -> None:
    profile = built(PI4 | {fact: UNAVAILABLE})
    assert UNAVAILABLE not in (profile.title, profile.os.name)
    assert (profile.cores == ()) == (fact == "cpu")
    assert (profile.memory is None) == (fact == "ram_mb")


@pytest.mark.parametrize(
    ("change", "message"),
    [({"features": UNAVAILABLE}, "write the profile by hand"), ({"machine": "riscv64"}, "the machine is riscv64")],
)
def test_machines_that_no_profile_fits(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        built(PI4 | change)


@pytest.mark.parametrize("profile", KNOWN, ids=lambda profile: str(profile.name))
def test_presets_are_taken_over_whole(profile: DeviceProfile) -> None:
    machine = "aarch64" if profile.isa.base.startswith("arm") else "x86_64"
    facts = PI4 | {"machine": machine, "features": list(profile.isa.features)}
    ours = built(facts)
    origin = ours.kernels.source.removeprefix("as for ").partition(":")[0]
    theirs = next(each for each in KNOWN if each.name == origin)
    for backend, preset in theirs.presets.items():
        assert (ours.presets[backend].options, ours.presets[backend].recipe) == (preset.options, preset.recipe)


@settings(deadline=None, max_examples=40)
@given(st.text(min_size=1).filter(str.strip), st.text(min_size=1).filter(str.strip))
def test_any_text_of_a_machine_is_written_as_toml(model: str, part: str) -> None:
    text = write_profile("kiosk", PI4 | {"model": model, "cpu": [{"part": part, "count": 1}]}, KNOWN, READ)
    read = tomllib.loads(text)
    assert (read["title"], read["cores"][0]["part"]) == (model, part)
