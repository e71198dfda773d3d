"""A device profile of a live machine, from what its fingerprint says (`sharcs_edge_runtime.fingerprint`).

What only measurements or manuals know (kernels, threads, presets, blocked versions) is taken from the known profile
whose features are most alike, sources included; what belongs to one board (its power) is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from sharcs_edge.device import DeviceProfile
from sharcs_edge.errors import DeviceError
from sharcs_edge_runtime.fingerprint import UNAVAILABLE

Table = dict[str, Any]

_FAMILIES: Final = {"aarch64": "arm", "arm64": "arm", "x86_64": "x86"}
# The newest level whose distinguishing features are all there; the last one holds for every 64-bit machine.
_LEVELS: Final[Mapping[str, tuple[tuple[str, frozenset[str]], ...]]] = {
    "arm": (
        ("armv9.0-a", frozenset({"sve2"})),
        ("armv8.2-a", frozenset({"dotprod"})),
        ("armv8.0-a", frozenset()),
    ),
    "x86": (
        ("x86-64-v4", frozenset({"avx512", "vnni"})),
        ("x86-64-v3", frozenset({"avx2", "fma"})),
        ("x86-64", frozenset()),
    ),
}


def nearest_profile(facts: Mapping[str, Any], known: Sequence[DeviceProfile]) -> DeviceProfile:
    """The profile that asks for nothing the machine lacks, and for the most of what it has; of equals, its own core's.

    Raises DeviceError if the machine does not say what its processor can do, or no profile is for its architecture.
    """
    machine, features = facts["machine"], facts["features"]
    if features == UNAVAILABLE:
        raise DeviceError(
            "the machine does not say what its processor can do (/proc/cpuinfo has no features): write the profile by "
            "hand, with `extends` (devices/README.md)"
        )
    family = _FAMILIES.get(machine)
    fitting = [
        profile
        for profile in known
        if profile.isa.base.startswith(family or "none") and set(profile.isa.features) <= set(features)
    ]
    if not fitting:
        raise DeviceError(f"the machine is {machine}, and no device profile is for that: expected aarch64 or x86_64")
    parts = {kind["part"] for kind in facts["cpu"]} if facts["cpu"] != UNAVAILABLE else set()

    def likeness(profile: DeviceProfile) -> tuple[int, bool]:
        return len(profile.isa.features), any(kind.part in parts for kind in profile.cores)

    return max(fitting, key=likeness)


def write_profile(name: str, facts: Mapping[str, Any], known: Sequence[DeviceProfile], read: str) -> str:
    """The TOML of a profile that extends no other.

    Args:
        name: what `--target` will take.
        facts: `read_device` of the machine, and the `clocks` of its `read_state`.
        known: profiles to take from what the machine cannot say.
        read: the source of what it does say, such as ``read from user@pi on 2026-11-22``.

    Raises what :func:`nearest_profile` raises.
    """
    like = nearest_profile(facts, known)
    cores = _cores(facts, read)
    described = cores[0]["part"] if cores else facts["machine"]
    model = name if facts["model"] == UNAVAILABLE else facts["model"]
    tables: list[tuple[str, Table]] = [("isa", _isa(facts, read))]
    tables += [("[cores]", core) for core in cores]
    if facts["ram_mb"] != UNAVAILABLE:
        note = "What the system may use: firmware and graphics keep a part of the memory on sale."
        tables.append(("memory", {"ram_mb": [facts["ram_mb"]], "source": read, "note": note}))
    tables.append(("os", _os(facts, like, read)))
    tables.append(("kernels", _taken(like.kernels, like)))
    if like.peak is not None and [kind.part for kind in like.cores[:1]] == [core["part"] for core in cores[:1]]:
        tables.append(("peak", _taken(like.peak, like)))
    tables.append(("threads", _taken(like.threads, like)))
    tables += [("[blocked]", _taken(entry, like)) for entry in like.blocked]
    tables += [(f"presets.{backend}", _preset(_taken(preset, like))) for backend, preset in like.presets.items()]
    head = {"name": name, "title": model, "summary": f"{described}; kernels and presets as for {like.name}."}
    return "\n".join([*_lines(head), *(line for table in tables for line in ("", *_section(*table)))]) + "\n"


def _isa(facts: Mapping[str, Any], read: str) -> Table:
    features = facts["features"]
    base = next(name for name, needs in _LEVELS[_FAMILIES[facts["machine"]]] if needs <= set(features))
    return {"base": base, "features": features, "source": f"{read}; the base is the level that these features tell"}


def _cores(facts: Mapping[str, Any], read: str) -> list[Table]:
    """Kinds of core, the fastest first; without a clock where the machine has none or it fits no one kind."""
    if facts["cpu"] == UNAVAILABLE:
        return []
    cores, first = [], 0
    for kind in facts["cpu"]:
        clocks = _clocks_of(facts["clocks"], range(first, first + kind["count"]))
        clock = {"max_mhz": max(clocks)} if clocks else {}
        cores.append({"count": kind["count"], "part": kind["part"], **clock, "source": read})
        first += kind["count"]
    return sorted(cores, key=lambda core: -core.get("max_mhz", 0))


def _clocks_of(clocks: Any, processors: range) -> list[int]:
    """The highest clocks of the frequency domains that lie in a range of processors."""
    if clocks == UNAVAILABLE:
        return []
    return [
        domain["max_mhz"]
        for domain in clocks
        if isinstance(domain["max_mhz"], int)
        and domain["cpus"] != UNAVAILABLE
        and all(int(number) in processors for number in domain["cpus"].split())
    ]


def _os(facts: Mapping[str, Any], like: DeviceProfile, read: str) -> Table:
    name = facts["os"] if facts["os"] != UNAVAILABLE else like.os.name
    return {
        "name": name,
        "requires": like.os.requires,
        "source": f"{read}; requires: {like.os.source}",
        "note": f"Read with kernel {facts['kernel']}, {facts['libc']} and Python {facts['python']}.",
    }


def _taken(part: Any, like: DeviceProfile) -> Table:
    """A table of the profile that is most alike; its source says so."""
    table = {key: value for key, value in asdict(part).items() if value is not None}
    return {**table, "source": f"as for {like.name}: {table['source']}"}


def _preset(table: Table) -> Table:
    """Only what the schema lets a preset say: without quantization nothing of how, and TFLite has no `reduce_range`."""
    if table["quantization"] == "none":
        for key in ("per_channel", "weight_type", "activation_type", "reduce_range"):
            table.pop(key, None)
    elif table["activation_type"] == "int8":
        table.pop("reduce_range", None)
    return table


def _section(name: str, table: Table) -> Iterator[str]:
    yield f"[{name}]"
    yield from _lines(table)


def _lines(table: Table) -> Iterator[str]:
    """TOML of a flat table: its strings, numbers, booleans and lists of them are written as in JSON."""
    for key, value in table.items():
        plain = list(value) if isinstance(value, tuple) else value
        yield f"{key} = {json.dumps(plain, ensure_ascii=False)}".replace("\x7f", "\\u007f")
