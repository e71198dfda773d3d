"""Device profiles for a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from sharcs_edge.device import Cores, DeviceProfile, Memory, Peak, Preset

_VARIES = "varies"


def render_devices(profiles: Iterable[DeviceProfile]) -> RenderableType:
    """One line per profile."""
    table = Table("name", "device", "ISA", "RAM", "int8 kernel", box=box.SIMPLE_HEAD)
    table.columns[0].no_wrap = table.columns[2].no_wrap = True
    for profile in profiles:
        facts = (profile.title, profile.isa.base, _ram(profile.memory), profile.kernels.int8)
        table.add_row(Text(profile.name, style="bold"), *map(Text, facts))
    return table


def render_device(profile: DeviceProfile) -> RenderableType:
    """Everything about one profile, each fact with its source and note."""
    table = Table("", "fact", Column("source", overflow="fold"), show_lines=True)
    for name, fact, source, note in _facts(profile):
        content = Text(fact)
        if note:
            content.append(f"\n{note}", style="dim")
        table.add_row(Text(name, style="bold"), content, Text(source, style="dim"))
    heading = Text.assemble((profile.title, "bold"), f"  ({profile.name}", ")")
    if profile.extends:
        heading.append(f", extends {profile.extends}")
    return Group(heading, Text(profile.summary), table, Text(f"profile: {profile.origin}", style="dim"))


def _facts(profile: DeviceProfile) -> list[tuple[str, str, str, str | None]]:
    """(name, fact, source, note) in the order of the schema."""
    isa, system, kernels, threads = profile.isa, profile.os, profile.kernels, profile.threads
    facts = [("ISA", f"{isa.base}: {' '.join(isa.features)}", isa.source, isa.note)]
    facts += [("cores", _cores(kind), kind.source, kind.note) for kind in profile.cores]
    if profile.memory is not None:
        facts.append(("RAM", _ram(profile.memory), profile.memory.source, profile.memory.note))
    facts.append(("system", f"{system.name}\n{system.requires}", system.source, system.note))
    facts.append(("kernels", f"int8: {kernels.int8}\nint4: {kernels.int4}", kernels.source, kernels.note))
    if profile.peak is not None:
        facts.append(("peak", _peak(profile.peak), profile.peak.source, profile.peak.note))
    if profile.power is not None:
        facts.append(("power", f"{profile.power.watts:g} W", profile.power.source, profile.power.note))
    facts.append(("threads", str(threads.default), threads.source, threads.note))
    for entry in profile.blocked:
        facts.append(("blocked", f"{entry.package} {entry.versions}: {entry.reason}", entry.source, None))
    for backend, preset in profile.presets.items():
        facts.append((f"{backend} preset", _preset(preset), preset.source, preset.note))
    return facts


def _cores(kind: Cores) -> str:
    clock = "" if kind.max_mhz is None else f", up to {kind.max_mhz} MHz"
    return f"{kind.count} x {kind.part}{clock}"


def _ram(memory: Memory | None) -> str:
    """``1, 2, 4 GB``."""
    return _VARIES if memory is None else ", ".join(f"{size / 1024:g}" for size in memory.ram_mb) + " GB"


def _peak(peak: Peak) -> str:
    return f"MACs per cycle of one core\nint8: {peak.int8_macs_per_cycle:g}\nfloat32: {peak.float32_macs_per_cycle:g}"


def _preset(preset: Preset) -> str:
    words: list[str] = ["float32" if preset.quantization == "none" else preset.quantization]
    if preset.quantization != "none":
        words.append("per channel" if preset.per_channel else "per tensor")
        words += ["uint8 weights"] if preset.weight_type == "uint8" else []
        words += ["7 bits"] if preset.reduce_range else []
    return ", ".join([*words, f"{preset.embeddings} embeddings", f"{preset.layout} weights"])
