"""Device profiles: TOML facts about a target (instruction set, cores, memory, kernels, presets), each with its source.

Profiles are found by name, first match wins, in

1. the folder named by the environment variable ``SHARCS_EDGE_DEVICES``;
2. ``sharcs-edge/devices`` in the user's configuration folder (``$XDG_CONFIG_HOME``, else ``~/.config``);
3. the package `sharcs_edge_devices`.

`schema.json` in that package is the contract. A profile may extend exactly one other: a table that it has replaces the
parent's table as a whole (a preset: the parent's preset for that backend), so that no number loses its source.
"""

from __future__ import annotations

import difflib
import functools
import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal

from jsonschema import Draft202012Validator, ValidationError
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from sharcs_edge.errors import DeviceError

EmbeddingType = Literal["float32", "int8", "int4"]
"""How an artifact stores the word embeddings; quantized ones have a scale per row."""
Layout = Literal["shared", "separate"]
"""Whether the graphs of an artifact share one set of weights, or each file holds all of its own."""
FOLDER_VARIABLE = "SHARCS_EDGE_DEVICES"


@dataclass(frozen=True, slots=True)
class Isa:
    """The instruction set that every machine of the profile has; `features` name what kernels depend on."""

    base: str
    features: tuple[str, ...]
    source: str
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Cores:
    """One kind of core; `max_mhz` is None where the maker publishes no clock."""

    count: int
    part: str
    source: str
    max_mhz: int | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """Main memory; `ram_mb` holds every variant on sale, ascending, in MB of 1024 * 1024 bytes."""

    ram_mb: tuple[int, ...]
    source: str
    note: str | None = None


@dataclass(frozen=True, slots=True)
class OperatingSystem:
    """The system that the runtime is installed on."""

    name: str
    requires: str
    source: str
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Kernels:
    """The matrix kernels that ONNX Runtime's CPU provider picks on this target."""

    int8: str
    int4: str
    source: str
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Peak:
    """The most that one core of the first kind computes: multiply-accumulates per cycle, by the kernel in `Kernels`."""

    int8_macs_per_cycle: float
    float32_macs_per_cycle: float
    source: str
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Power:
    """What the whole device draws while it computes, without peripherals."""

    watts: float
    source: str
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Threads:
    """Threads for one request unless the caller says otherwise."""

    default: int
    source: str
    note: str | None = None


@dataclass(frozen=True, slots=True)
class BlockedRuntime:
    """Versions of a runtime package that must not be used on this target."""

    package: str
    versions: str
    reason: str
    source: str

    def blocks(self, package: str, version: str) -> bool:
        """Whether this entry speaks of `version` of `package`; a version that PEP 440 cannot read is never blocked."""
        try:
            return package == self.package and SpecifierSet(self.versions).contains(Version(version), prereleases=True)
        except InvalidVersion:
            return False


@dataclass(frozen=True, slots=True)
class Preset:
    """How an exporter quantizes for this target.

    With ``quantization="none"`` the fields after it say nothing, but for ``embeddings`` and ``layout``.
    """

    quantization: Literal["none", "int8_dynamic", "int8_static"]
    source: str
    per_channel: bool = False
    weight_type: Literal["int8", "uint8"] = "int8"
    activation_type: Literal["int8", "uint8"] = "uint8"
    reduce_range: bool = False
    embeddings: EmbeddingType = "float32"
    layout: Layout = "shared"
    note: str | None = None

    @property
    def recipe(self) -> str:
        """What is quantized, for people: ``int8_dynamic with int4 embeddings``, or ``none``."""
        parts: list[str] = [] if self.quantization == "none" else [self.quantization]
        parts += [] if self.embeddings == "float32" else [f"{self.embeddings} embeddings"]
        return " with ".join(parts) or "none"

    @property
    def options(self) -> Mapping[str, bool | str]:
        """The recipe's options as the manifest records them; empty for float32."""
        if self.quantization == "none":
            return {}
        return {
            "per_channel": self.per_channel,
            "weight_type": self.weight_type,
            "activation_type": self.activation_type,
            "reduce_range": self.reduce_range,
        }


@dataclass(frozen=True, slots=True)
class DeviceProfile:
    """Everything known about one target; a class of machines has no `cores`, `memory`, `peak` and `power`."""

    name: str
    title: str
    summary: str
    isa: Isa
    os: OperatingSystem
    kernels: Kernels
    threads: Threads
    presets: Mapping[str, Preset]
    origin: str
    cores: tuple[Cores, ...] = ()
    memory: Memory | None = None
    peak: Peak | None = None
    power: Power | None = None
    blocked: tuple[BlockedRuntime, ...] = ()
    extends: str | None = None

    def preset(self, backend: str) -> Preset:
        """The preset of a backend. Raises DeviceError where the profile has none."""
        if backend not in self.presets:
            raise DeviceError(
                f'the target "{self.name}" has no preset for the backend "{backend}", only for '
                f"{', '.join(sorted(self.presets))}: choose one of those or another target"
            )
        return self.presets[backend]

    def blocked_by(self, package: str, version: str) -> BlockedRuntime | None:
        """The entry that forbids this version of a runtime package here, or None."""
        return next((entry for entry in self.blocked if entry.blocks(package, version)), None)

    def to_dict(self) -> dict[str, Any]:
        """The profile as plain values that JSON can hold."""
        return asdict(self)


def load_device(name: str) -> DeviceProfile:
    """Read the profile of one target.

    Raises DeviceError if no such profile exists (the message names the nearest ones) or if it, or the profile that it
    extends, breaks the schema (the message names the file and every violation with its path).
    """
    files = _find_files()
    if name not in files:
        raise DeviceError(
            f'unknown target "{name}"{_suggestion(name, files)} (`sharcs-edge devices list` shows every target)'
        )
    return _build(_resolve(name, files, ()), files[name])


def parse_device(text: str, path: Path) -> DeviceProfile:
    """A profile that extends no other, from its TOML; `path`: the file that it is or will be.

    Raises DeviceError if it breaks the schema.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DeviceError(f"{path}: is not TOML: {error}") from error
    _check(raw, path)
    return _build(raw, path)


def own_folder() -> Path:
    """Where a user's own profiles are found first: the folder of the environment variable, else the configuration's."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    return Path(chosen) if chosen else _configuration_folder()


def list_devices() -> tuple[DeviceProfile, ...]:
    """Every profile on the search path, by name. Raises DeviceError if one of them is not valid."""
    files = _find_files()
    return tuple(_build(_resolve(name, files, ()), files[name]) for name in sorted(files))


def _folders() -> Iterator[Traversable]:
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen:
        if not Path(chosen).is_dir():
            raise DeviceError(f"{FOLDER_VARIABLE}={chosen} is no folder: create it, or unset the variable")
        yield Path(chosen)
    yield _configuration_folder()
    yield resources.files("sharcs_edge_devices")


def _configuration_folder() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "sharcs-edge" / "devices"


def _find_files() -> dict[str, Traversable]:
    files: dict[str, Traversable] = {}
    for folder in _folders():
        if folder.is_dir():
            for file in folder.iterdir():
                if file.name.endswith(".toml"):
                    files.setdefault(file.name.removesuffix(".toml"), file)
    return files


def _suggestion(name: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(name.lower().replace("_", "-"), known, n=3, cutoff=0.5)
    return f": did you mean {' or '.join(near)}?" if near else ""


def _resolve(name: str, files: Mapping[str, Traversable], children: tuple[str, ...]) -> dict[str, Any]:
    """Read a profile and lay it over the one that it extends; `children` are the profiles that led here."""
    source = files[name]
    raw = _read(source)
    _check(raw, source)
    parent_name = raw.get("extends")
    if parent_name is None:
        return raw
    chain = (*children, name)
    if parent_name in chain:
        raise DeviceError(f"{source}: extends in a circle: {' -> '.join((*chain, parent_name))}")
    if parent_name not in files:
        raise DeviceError(f'{source}: extends the unknown profile "{parent_name}"{_suggestion(parent_name, files)}')
    parent = _resolve(parent_name, files, chain)
    return {**parent, **raw, "presets": {**parent["presets"], **raw.get("presets", {})}}


def _read(source: Traversable) -> dict[str, Any]:
    try:
        return tomllib.loads(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise DeviceError(f"{source}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DeviceError(f"{source}: is not UTF-8 text (byte {error.start})") from error
    except tomllib.TOMLDecodeError as error:
        raise DeviceError(f"{source}: is not TOML: {error}") from error


@functools.cache
def _validator() -> Draft202012Validator:
    schema = resources.files("sharcs_edge_devices").joinpath("schema.json").read_text(encoding="utf-8")
    return Draft202012Validator(json.loads(schema))


def _check(raw: dict[str, Any], source: Traversable) -> None:
    problems = sorted({problem for error in _validator().iter_errors(raw) for problem in _say(error)})
    problems = problems or _contradictions(raw, source.name.removesuffix(".toml"))
    if problems:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise DeviceError(f"{source}: {count} in the device profile: {'; '.join(problems)}")


def _say(error: ValidationError) -> Iterator[str]:
    """One sentence per violation, in the words of the manifest reader: `<what> @ <path>`."""
    path, value, rule = error.json_path, error.instance, error.validator_value
    match error.validator:
        case "additionalProperties":
            yield from (f"unknown field {key} @ {path}" for key in value if key not in error.schema["properties"])
        case "required":
            yield from (f"missing field {key} @ {path}" for key in rule if key not in value)
        case "enum":
            yield f"expected {' or '.join(map(repr, rule))}, got {value!r} @ {path}"
        case "type":
            yield f"expected {rule}, got {value!r} @ {path}"
        case "not":
            yield f"a field that quantization none does not have @ {path}"
        case _:
            yield f"{error.message} @ {path}"


def _contradictions(raw: dict[str, Any], stem: str) -> list[str]:
    """What a schema cannot say: names, order, version specifiers."""
    problems = []
    if raw["name"] != stem:
        problems.append(f'expected the file\'s name "{stem}", got "{raw["name"]}" @ $.name')
    ram_mb = raw.get("memory", {}).get("ram_mb", [])
    if ram_mb != sorted(ram_mb):
        problems.append(f"expected ascending sizes, got {ram_mb} @ $.memory.ram_mb")
    for index, entry in enumerate(raw.get("blocked", [])):
        try:
            SpecifierSet(entry["versions"])
        except InvalidSpecifier:
            given = entry["versions"]
            problems.append(
                f'expected a version specifier like "==1.21.0", got "{given}" @ $.blocked[{index}].versions'
            )
    return problems


def _build(table: dict[str, Any], source: Traversable) -> DeviceProfile:
    """A checked and resolved profile as objects."""
    return DeviceProfile(
        name=table["name"],
        title=table["title"],
        summary=table["summary"],
        isa=Isa(**{**table["isa"], "features": tuple(table["isa"]["features"])}),
        os=OperatingSystem(**table["os"]),
        kernels=Kernels(**table["kernels"]),
        threads=Threads(**table["threads"]),
        presets={backend: Preset(**preset) for backend, preset in table["presets"].items()},
        origin=str(source),
        cores=tuple(Cores(**entry) for entry in table.get("cores", [])),
        memory=Memory(**{**table["memory"], "ram_mb": tuple(table["memory"]["ram_mb"])}) if "memory" in table else None,
        peak=Peak(**table["peak"]) if "peak" in table else None,
        power=Power(**table["power"]) if "power" in table else None,
        blocked=tuple(BlockedRuntime(**entry) for entry in table.get("blocked", [])),
        extends=table.get("extends"),
    )
