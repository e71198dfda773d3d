"""A profile record in words and figures: what the terminal, Markdown and HTML say alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sharcs_edge.profile.records import Record
from sharcs_edge_runtime.fingerprint import UNAVAILABLE


def milliseconds(value: float | None) -> str:
    """Three digits or so, and no exponent; ``-`` for None."""
    if value is None:
        return "-"
    decimals = next((count for count, limit in enumerate((100, 10, 1)) if value >= limit), 3)
    return f"{value:.{decimals}f}"


def width_name(width: float) -> str:
    """``width 0.25``."""
    return f"width {width:.3g}"


def device_name(record: Record) -> str:
    """The machine's model, or its processor where it does not tell."""
    device = record["device"]
    names = (device["model"], processor(record))
    return next((str(name) for name in names if name != UNAVAILABLE), "unnamed machine")


def place_name(record: Record) -> str:
    """As the user named the machine, if it is another one than this; else `device_name`."""
    return str(record.get("remote") or device_name(record))


def processor(record: Record) -> str:
    """``4 x Cortex-A72``."""
    parts = record["device"]["cpu"]
    return parts if isinstance(parts, str) else ", ".join(f"{part['count']} x {part['part']}" for part in parts)


def clock(record: Record) -> str:
    """Governor, clock and temperature, before and after."""
    before, after = record["state"]["before"], record["state"]["after"]
    if isinstance(before["clocks"], str) or isinstance(after["clocks"], str):
        shown = f"clock {UNAVAILABLE}"
    else:
        first, last = before["clocks"][0], after["clocks"][0]
        shown = f"{first['governor']} {first['mhz']} -> {last['mhz']} MHz"
    if isinstance(before["temperatures"], str) or isinstance(after["temperatures"], str):
        return f"{shown}, temperature {UNAVAILABLE}"
    first, last = (state["temperatures"][0]["celsius"] for state in (before, after))
    return f"{shown}, {first:.0f} -> {last:.0f} °C"


def throttling(record: Record) -> str:
    """What the firmware says, after the run."""
    firmware = record["state"]["after"].get("throttled", UNAVAILABLE)
    if isinstance(firmware, str):
        return firmware
    now, before = (", ".join(firmware[name]) or "no" for name in ("now", "since_boot"))
    return f"{now} (since boot: {before}; bits {firmware['bits']})"


def device_facts(record: Record) -> Iterator[tuple[str, str]]:
    """The device card, as (name, fact)."""
    device = record["device"]
    yield "model", device["model"]
    yield "processor", f"{processor(record)} ({device['machine']}), {device['cores']} cores"
    features = device.get("features", UNAVAILABLE)
    yield "features", features if isinstance(features, str) else ", ".join(features) or "none known"
    hwcap = device.get("hwcap", {})
    yield "HWCAP", ", ".join(f"{name} {value}" for name, value in hwcap.items()) or UNAVAILABLE
    yield "clock, temperature", clock(record)
    yield "throttled", throttling(record)
    yield "memory", f"{device['ram_mb']} MB RAM"
    yield "system", f"{device['os']}, kernel {device.get('kernel', UNAVAILABLE)}, {device.get('libc', UNAVAILABLE)}"
    yield "runtime", runtime(record)
    yield "threads", threads(record)


def runtime(record: Record) -> str:
    """``onnxruntime 1.31.1 (CPUExecutionProvider), sharcs-edge-runtime 0.1.0, Python 3.11.2``."""
    versions = record["runtime"]
    wanted, active = (versions.get(f"{name}_provider") for name in ("requested", "active"))
    asked = f", {wanted} requested" if wanted != active else ""
    parts = [f"{versions['engine']} ({active}{asked})" if active else versions["engine"]]
    if "sharcs_edge_runtime" in versions:
        parts.append(f"sharcs-edge-runtime {versions['sharcs_edge_runtime']}")
    if "python" in record["device"]:
        parts.append(f"Python {record['device']['python']}")
    return ", ".join(parts)


def threads(record: Record) -> str:
    """Requested, active, and the processors that they may use."""
    versions = record["runtime"]
    affinity = versions.get("affinity", UNAVAILABLE)
    on = affinity if isinstance(affinity, str) else ", ".join(map(str, affinity))
    return (
        f"{record['settings']['threads']} requested, {versions.get('active_threads', UNAVAILABLE)} active, "
        f"processors {on}"
    )


def artifact_facts(record: Record) -> Iterator[tuple[str, str]]:
    """What was measured."""
    artifact = record["artifact"]
    recipes = ", ".join(dict.fromkeys(graph["quantization"] for graph in artifact["graphs"]))
    yield "name", f"{artifact['name']}, exported for {artifact['target']}"
    yield "manifest", f"SHA-256 {artifact['manifest_sha256'][:16]}…"
    yield "task", artifact["task"].replace("_", "-")
    yield (
        "network",
        f"{artifact['num_layers']} layers, the first {artifact['trunk_layers']} shared; widths "
        + ", ".join(f"{width:.3g}" for width in artifact["widths"]),
    )
    size = f", {artifact['bytes'] / 1e6:.1f} MB" if "bytes" in artifact else ""
    yield "format", f"{artifact['backend']}, {recipes}{size}"
    settings = record["settings"]
    yield "measured", f"at least {settings['min_samples']} samples and {settings['min_seconds']:g} s per figure"
    yield "date", record["created"]


def mix_title(record: Record) -> str:
    """``routed mix on 512 of 700 texts (texts.jsonl)``."""
    texts = record["texts"]
    return f"routed mix on {texts['used']} of {texts['given']} texts ({texts['source']})"


def agreement(mix: Record) -> str:
    """With the full width's answers."""
    if "mean_difference" in mix:  # of a regression
        return f"{mix['mean_difference']:.4g} from the full width's value on average"
    return f"same label as full width {mix['agreement']:.1%}" if "agreement" in mix else "agreement unknown"


def mix_notes(mix: Record) -> str:
    """Speed-up, agreement, what routing costs and from where on it pays."""
    even = mix["break_even_share"]
    overhead = f" ({mix['router_overhead']:.1%} of the mean)" if "router_overhead" in mix else ""
    escalated = f", {mix['escalated']:.1%} ran more than one tail" if mix.get("escalated") else ""
    return (
        f"speed-up of the mean {mix['speedup']:.2f}x, {agreement(mix)}{escalated}, "
        f"routing decision {milliseconds(mix['decision']['mean'])} ms{overhead}, "
        f"pays off from a narrow share of {'-' if even is None else format(even, '.1%')}"
    )


def start(cold: Record) -> str:
    """Start-up and memory of a fresh process."""
    if UNAVAILABLE in cold:
        return f"start-up unavailable: {cold[UNAVAILABLE]}"
    times = {name: cold[f"{name}_ms"]["p50"] for name in ("import", "load", "first_run", "warm_run")}
    disk = cold.get("disk_load_ms", UNAVAILABLE)
    from_disk = "" if isinstance(disk, str) else f" ({disk:.0f} ms from the disk)"
    loaded = cold["memory"]["after_runs"]
    return (
        f"fresh process: import {times['import']:.0f} ms, load {times['load']:.0f} ms{from_disk}, first run "
        f"{milliseconds(times['first_run'])} ms, then {milliseconds(times['warm_run'])} ms; "
        f"memory {loaded['pss_mb']} MB PSS, {loaded['private_mb']} MB private"
    )


def waiting(record: Record) -> str | None:
    """How long the thermal gate held the profiler back; None if it did not."""
    waited = sum(passage["waited_seconds"] for passage in record.get("thermal", []))
    return f"waited {waited:.0f} s for the machine to cool down" if waited else None


def parity(record: Record) -> str | None:
    """Whether the machine answers as torch did; None in a record that does not say."""
    found: Any = record.get("parity")
    if found is None:
        return None
    if not found["passed"]:
        return f"WRONG ANSWERS here: {found['failures'][0]}; run `sharcs-edge verify`" if found["failures"] else "WRONG"
    return (
        f"verified here on {found['rows']} golden texts: same label as torch {found['label_agreement']:.1%}, "
        f"same route {found['route_agreement']:.1%}"
    )


def fleet_figures(record: Record) -> tuple[str, ...]:
    """For one row among other machines: ms per text (routed mean and p95, full mean and p95), speed-up, load in ms and
    private memory in MB."""
    mix, cold = record["mix"], record["cold_start"]
    times = (
        [milliseconds(mix[way][name]) for way in ("routed", "full") for name in ("mean", "p95")] if mix else ["-"] * 4
    )
    memory = cold.get("memory", {}).get("after_runs", {}).get("private_mb", "-")
    return (
        *times,
        f"{mix['speedup']:.2f}x" if mix else "-",
        milliseconds(cold["load_ms"]["p50"]) if "load_ms" in cold else "-",
        memory if isinstance(memory, str) else f"{memory:.1f}",
    )
