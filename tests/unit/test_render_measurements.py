"""Device profiles and profile records on a terminal: what a reader decides by is on the screen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console, RenderableType

from sharcs_edge.device import list_devices, load_device
from sharcs_edge.render.devices import render_device, render_devices
from sharcs_edge.render.profile import render_profile


def shown(content: RenderableType, width: int = 200) -> str:
    console = Console(width=width, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(content)
    return capture.get()


@pytest.fixture(autouse=True)
def _shipped_profiles_only(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHARCS_EDGE_DEVICES", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def test_the_list_has_every_target_with_what_tells_them_apart() -> None:
    text = shown(render_devices(list_devices()))
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert all(word in lines["rpi4"] for word in ("Raspberry Pi 4", "armv8.0-a", "1, 2, 4, 8 GB", "NEON SMULL"))
    assert "UDOT" in lines["rpi5"]
    assert "varies" in lines["x86-64"]
    assert "0.5, 1 GB" in text


@pytest.mark.parametrize("profile", list_devices(), ids=lambda profile: profile.name)
def test_one_device_shows_every_fact_with_its_source(profile: Any) -> None:
    text = " ".join(shown(render_device(profile), width=1000).split())
    parts = [profile.isa, profile.os, profile.kernels, profile.threads, *profile.cores, *profile.blocked]
    parts += [*profile.presets.values(), *([profile.memory] if profile.memory else [])]
    for part in parts:
        assert part.source in text
        assert getattr(part, "note", None) is None or part.note in text
    for kind in profile.cores:
        assert kind.max_mhz is None or f"up to {kind.max_mhz} MHz" in text
    for entry in profile.blocked:
        assert f"{entry.package} {entry.versions}: {entry.reason}" in text
    assert profile.origin in text
    assert profile.extends is None or f"extends {profile.extends}" in text


def test_presets_in_words() -> None:
    device = load_device("rpi4")
    preset = device.preset("onnx")
    for changed, words in (
        (replace(preset, quantization="none"), "float32, int8 embeddings, shared weights"),
        (replace(preset, quantization="none", embeddings="float32", layout="separate"), "float32 embeddings, separate"),
        (replace(preset, per_channel=False, weight_type="uint8"), "int8_dynamic, per tensor, uint8 weights, int8 emb"),
    ):
        assert words in shown(render_device(replace(device, presets={"onnx": changed})), width=1000)


def figures(p50: float) -> dict[str, Any]:
    values = {"min": p50, "mean": p50 * 1.25, "p50": p50, "p90": p50, "p95": p50 * 2, "p99": p50 * 2, "cv": 0.04}
    return {"n": 60, **values, "samples": [p50] * 60}


def a_record() -> dict[str, Any]:
    cells = [("tokenise", None, 0.05), ("trunk", None, 2.0), ("tail", 0.25, 1.0), ("total", 0.25, 3.05)]
    cells += [("tail", 1.0, 10.0), ("total", 1.0, 12.05)]
    state = {
        "clocks": [{"cpus": "0 1 2 3", "governor": "ondemand", "mhz": 1500, "max_mhz": 1500}],
        "temperatures": [{"zone": "cpu-thermal", "celsius": 48.2}],
    }
    after = {
        "clocks": [{"cpus": "0 1 2 3", "governor": "ondemand", "mhz": 1000, "max_mhz": 1500}],
        "temperatures": [{"zone": "cpu-thermal", "celsius": 80.7}],
    }
    return {
        "artifact": {"name": "intents", "target": "rpi4", "widths": [0.25, 1.0]},
        "settings": {"threads": 1},
        "device": {
            "model": "Raspberry Pi 4",
            "cpu": [{"part": "Cortex-A72", "count": 4}],
            "os": "Debian",
            "ram_mb": 3793,
        },
        "runtime": {"engine": "onnxruntime 1.31.1"},
        "state": {"before": state, "after": after},
        "texts": {"source": "texts.jsonl", "given": 700, "used": 512},
        "stages": [
            {"stage": stage, "width": width, "tokens": tokens, "macs": 1, "ms": figures(ms)}
            for tokens in (16, 64)
            for stage, width, ms in cells
        ],
        "mix": {
            "shares": [
                {"width": 0.25, "share": 0.75, "routed_ms": 3.1, "full_ms": 12.2},
                {"width": 1.0, "share": 0.25, "routed_ms": None, "full_ms": None},
            ],
            "routed": figures(4.0),
            "full": figures(12.0),
            "decision": figures(0.004),
            "speedup": 3.0,
            "agreement": 0.985,
            "break_even_share": 0.0012,
        },
        "cold_start": {
            **{
                f"{name}_ms": figures(ms)
                for name, ms in (("import", 900), ("load", 300), ("first_run", 30), ("warm_run", 12))
            },
            "memory": {"after_runs": {"pss_mb": 80.5, "private_mb": 70.25}},
        },
        "verdict": {"state": "throttled", "reasons": ["the firmware reports: under-voltage"]},
    }


def test_a_record_on_the_screen() -> None:
    text = shown(render_profile(a_record()))
    for words in (
        "Raspberry Pi 4, 4 x Cortex-A72, ondemand 1500 -> 1000 MHz, 48 -> 81 °C",
        "routed mix on 512 of 700 texts (texts.jsonl)",
        "speed-up of the mean 3.00x, same label as full width 98.5%",
        "pays off from a narrow share of 0.1%",
        "import 900 ms, load 300 ms, first run 30.0 ms, then 12.0 ms; memory 80.5 MB PSS, 70.25 MB private",
        "verdict: throttled",
        "the firmware reports: under-voltage",
    ):
        assert words in text
    total = next(line for line in text.splitlines() if "total" in line and "0.25" in line)
    assert all(number in total for number in ("3.05", "6.10", "4%", "60", "25%"))


def test_a_record_of_a_machine_that_tells_little() -> None:
    record = a_record()
    for state in record["state"].values():
        state.update(clocks="unavailable", temperatures="unavailable")
    record["device"].update(model="unavailable", cpu="unavailable", ram_mb="unavailable")
    record["cold_start"] = {"unavailable": "a fresh process could not be measured: no"}
    record["mix"]["break_even_share"] = None
    record["verdict"] = {"state": "stable", "reasons": []}
    text = shown(render_profile(record))
    assert "clock unavailable, temperature unavailable" in text
    assert "start-up unavailable: a fresh process could not be measured: no" in text
    assert "narrow share of -" in text
    assert text.rstrip().endswith("verdict: stable")


def test_markup_in_names_is_shown_as_it_is() -> None:
    record = a_record()
    record["artifact"]["name"] = "[red]x[/red]"
    record["texts"]["source"] = "a[bold].jsonl"
    text = shown(render_profile(record))
    assert "[red]x[/red]" in text
    assert "a[bold].jsonl" in text
