"""Device profiles: what ships is valid and documented; a wrong profile is refused with every reason at once."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from sharcs_edge.device import FOLDER_VARIABLE, Peak, Power, Preset, list_devices, load_device
from sharcs_edge.errors import DeviceError

SHIPPED = ("android-arm64", "apple-arm64", "jetson-orin", "rpi3", "rpi4", "rpi5", "x86-64", "x86-64-vnni")
PACKAGE = Path(str(resources.files("sharcs_edge_devices")))
SCHEMA: dict[str, Any] = json.loads((PACKAGE / "schema.json").read_text(encoding="utf-8"))

MINIMAL = """
name = "board"
title = "A board"
summary = "For tests."
[isa]
base = "armv8.0-a"
features = ["neon"]
source = "test"
[os]
name = "Linux"
requires = "nothing"
source = "test"
[kernels]
int8 = "NEON"
int4 = "none"
source = "test"
[threads]
default = 1
source = "test"
[presets.onnx]
quantization = "none"
source = "test"
"""


KIOSK = 'extends = "rpi4"\nname = "kiosk"\ntitle = "Kiosk"\nsummary = "A Pi."\n[memory]\nram_mb = [2048]\n'


@pytest.fixture(autouse=True)
def _own_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder at the head of the search path."""
    path = tmp_path / "devices"
    path.mkdir()
    monkeypatch.setenv(FOLDER_VARIABLE, str(path))
    return path


def add(folder: Path, text: str, name: str = "board") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def keys_of(schema: Mapping[str, Any]) -> Iterator[str]:
    """Every property name of a schema, at any depth."""
    for name, part in schema.get("properties", {}).items():
        yield name
        yield from keys_of(part)
    yield from keys_of(schema.get("items", {})) if schema.get("items") else ()


def tables_with_numbers(value: object, path: str = "$") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(value, dict):
        own = [entry for item in value.values() for entry in (item if isinstance(item, list) else [item])]
        if any(isinstance(entry, (int, float)) for entry in own):
            yield path, value
        for key, item in value.items():
            yield from tables_with_numbers(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from tables_with_numbers(item, f"{path}[{index}]")


def test_the_shipped_targets_are_listed_by_name() -> None:
    assert tuple(device.name for device in list_devices()) == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_profile_keeps_the_schema_and_sources_every_number(name: str) -> None:
    raw = tomllib.loads((PACKAGE / f"{name}.toml").read_text(encoding="utf-8"))
    assert [error.message for error in Draft202012Validator(SCHEMA).iter_errors(raw)] == []
    tables = list(tables_with_numbers(raw))
    assert tables
    assert [path for path, table in tables if not table.get("source", "").strip()] == []


def test_the_schema_is_itself_valid_and_closes_every_table() -> None:
    Draft202012Validator.check_schema(SCHEMA)

    def open_tables(schema: Mapping[str, Any], path: str) -> Iterator[str]:
        if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
            yield path
        for name, part in schema.get("properties", {}).items():
            yield from open_tables(part, f"{path}.{name}")
        if isinstance(schema.get("items"), dict):
            yield from open_tables(schema["items"], f"{path}[]")

    assert list(open_tables(SCHEMA, "$")) == []


def test_every_key_of_the_schema_is_described_in_it_and_in_the_readme() -> None:
    readme = (PACKAGE.parent / "README.md").read_text(encoding="utf-8")
    documented = readme.replace("[[", "`").replace("]]", "`").replace("[", "`").replace("]", "`")
    backends = set(SCHEMA["properties"]["presets"]["properties"])
    assert [
        key
        for key in keys_of(SCHEMA)
        if key not in backends and f"`{key}`" not in documented and f"`{key}." not in documented
    ] == []

    def undescribed(schema: Mapping[str, Any], path: str) -> Iterator[str]:
        for name, part in schema.get("properties", {}).items():
            target = SCHEMA["$defs"][part["$ref"].rsplit("/", 1)[1]] if "$ref" in part else {}
            if not (part.get("description") or target.get("description")):
                yield f"{path}.{name}"
            yield from undescribed(part, f"{path}.{name}")
        if isinstance(schema.get("items"), dict):
            yield from undescribed(schema["items"], f"{path}[]")

    assert list(undescribed(SCHEMA, "$")) == []


def test_every_feature_of_the_schema_is_named_in_the_readme() -> None:
    readme = (PACKAGE.parent / "README.md").read_text(encoding="utf-8").split()
    features = SCHEMA["properties"]["isa"]["properties"]["features"]["items"]["enum"]
    words = {word.strip("`.,;") for word in readme}
    assert [feature for feature in features if feature not in words] == []


@pytest.mark.parametrize("name", ["rpi3", "rpi4"])
def test_arm_cores_without_dot_product_are_not_promised_it(name: str) -> None:
    device = load_device(name)
    assert "dotprod" not in device.isa.features
    assert device.preset("onnx").quantization == "int8_dynamic"
    blocked = device.blocked_by("onnxruntime", "1.21.0")
    assert blocked is not None
    assert "SIGILL" in blocked.reason
    assert device.blocked_by("onnxruntime", "1.21.1") is None
    assert device.blocked_by("ai-edge-litert", "1.21.0") is None


def test_arm_peaks_follow_from_the_instructions() -> None:
    """Without dot product int8 is at most twice as fast as float32, with it four times, with i8mm eight times."""
    for name in SHIPPED:
        device = load_device(name)
        if device.peak is None:
            continue
        features = device.isa.features
        most = 8 if "i8mm" in features else 4 if "dotprod" in features else 2
        ratio = device.peak.int8_macs_per_cycle / device.peak.float32_macs_per_cycle
        assert most / 2 < ratio <= most, name
        assert device.cores[0].max_mhz is not None


def test_a_child_with_another_chip_replaces_the_peak(folder: Path) -> None:
    facts = 'peak = {int8_macs_per_cycle = 16, float32_macs_per_cycle = 8.0, source = "test"}\n'
    head = 'extends = "rpi4"\nname = "fast"\ntitle = "Fast"\nsummary = "A board."\n'
    add(folder, head + facts + 'power = {watts = 7.5, source = "test"}\n', "fast")
    device = load_device("fast")
    assert device.peak == Peak(16, 8.0, "test") and device.power == Power(7.5, "test")
    add(folder, head.replace("fast", "bad") + facts.replace("16", "0"), "bad")
    with pytest.raises(DeviceError, match=r"0 is less than or equal to the minimum of 0 @ \$\.peak\.int8_macs"):
        load_device("bad")


def test_only_machines_that_may_saturate_reduce_the_range() -> None:
    assert [device.name for device in list_devices() if device.preset("onnx").reduce_range] == ["x86-64"]


def test_version_ranges_and_unreadable_versions() -> None:
    device = load_device("android-arm64")
    blocked = [
        version
        for version in ("1.22.1", "1.23.0", "1.24.0rc1", "1.24.3", "1.24.4")
        if device.blocked_by("onnxruntime", version)
    ]
    assert blocked == ["1.23.0", "1.24.0rc1", "1.24.3"]
    assert device.blocked_by("onnxruntime", "custom build") is None


def test_the_options_of_a_preset_are_what_the_manifest_records() -> None:
    assert load_device("rpi4").preset("onnx").options == {
        "per_channel": True,
        "weight_type": "int8",
        "activation_type": "uint8",
        "reduce_range": False,
    }
    assert Preset(quantization="none", source="test").options == {}


def test_a_profile_becomes_json_with_every_source() -> None:
    raw = tomllib.loads((PACKAGE / "rpi4.toml").read_text(encoding="utf-8"))
    written = json.loads(json.dumps(load_device("rpi4").to_dict()))
    for table in ("isa", "memory", "os", "kernels", "threads"):
        assert {key: value for key, value in written[table].items() if value is not None} == raw[table]
    assert written["blocked"] == raw["blocked"]
    assert written["presets"]["onnx"]["source"] == raw["presets"]["onnx"]["source"]


def test_an_unknown_backend_names_the_known_ones() -> None:
    with pytest.raises(DeviceError, match='no preset for the backend "tnn", only for onnx, tflite'):
        load_device("rpi4").preset("tnn")


@pytest.mark.parametrize(
    ("given_name", "near"),
    [("rpi-4", "rpi4"), ("RPI4", "rpi4"), ("raspberrypi5", "rpi5"), ("jetson", "jetson-orin"), ("x86_64", "x86-64")],
)
def test_an_unknown_target_is_answered_with_the_nearest_names(given_name: str, near: str) -> None:
    with pytest.raises(DeviceError) as caught:
        load_device(given_name)
    assert caught.value.exit_code == 2
    assert f'unknown target "{given_name}": did you mean ' in str(caught.value)
    assert near in str(caught.value)
    assert "`sharcs-edge devices list`" in str(caught.value)


@given(st.text(max_size=30).filter(lambda name: name not in SHIPPED))
def test_any_other_name_is_an_unknown_target(name: str) -> None:
    with pytest.raises(DeviceError, match="unknown target"):
        load_device(name)


def test_a_name_never_leaves_the_search_path(folder: Path) -> None:
    add(folder.parent, MINIMAL)
    with pytest.raises(DeviceError, match="unknown target"):
        load_device("../board")


def test_folders_are_searched_in_order(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configured = tmp_path / "config" / "sharcs-edge" / "devices"
    first, second = MINIMAL.replace("A board", "first"), MINIMAL.replace("A board", "second")
    add(configured, second)
    add(folder, first)
    assert load_device("board").title == "first"
    monkeypatch.delenv(FOLDER_VARIABLE)
    assert load_device("board").title == "second"
    add(configured, second.replace('"board"', '"rpi4"'), "rpi4")
    assert load_device("rpi4").title == "second"
    assert load_device("rpi4").origin == str(configured / "rpi4.toml")
    assert len(list_devices()) == len(SHIPPED) + 1


def test_without_xdg_the_home_folder_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    add(tmp_path / ".config" / "sharcs-edge" / "devices", MINIMAL)
    assert load_device("board").title == "A board"


def test_a_named_folder_that_does_not_exist_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(DeviceError, match=r"SHARCS_EDGE_DEVICES=.*nowhere is no folder"):
        list_devices()


def test_all_problems_of_a_profile_are_reported_at_once_with_their_paths(folder: Path) -> None:
    broken = (
        MINIMAL.replace('base = "armv8.0-a"\n', "")
        .replace('features = ["neon"]', 'features = ["neon", "dot"]')
        .replace("default = 1", 'default = "one"')
        .replace('quantization = "none"', 'quantization = "none"\nreduce_range = true')
        .replace("[os]", "[memory]\nram = 4096\n[os]")
    )
    path = add(folder, "colour = 3\n" + broken)
    with pytest.raises(DeviceError) as caught:
        load_device("board")
    message = str(caught.value)
    assert message.startswith(f"{path}: 8 problems in the device profile: ")
    for problem in (
        "unknown field colour @ $",
        "missing field base @ $.isa",
        "expected 'neon' or ",
        "got 'dot' @ $.isa.features[1]",
        "expected integer, got 'one' @ $.threads.default",
        "a field that quantization none does not have @ $.presets.onnx.reduce_range",
        "unknown field ram @ $.memory",
        "missing field ram_mb @ $.memory",
        "missing field source @ $.memory",
    ):
        assert problem in message


def test_contradictions_that_a_schema_cannot_see(folder: Path) -> None:
    memory = '[memory]\nram_mb = [4096, 1024]\nsource = "test"\n'
    blocked = '[[blocked]]\npackage = "onnxruntime"\nversions = "1.21"\nreason = "test"\nsource = "test"\n'
    add(folder, MINIMAL.replace('name = "board"', 'name = "other"') + memory + blocked)
    with pytest.raises(DeviceError) as caught:
        load_device("board")
    assert 'expected the file\'s name "board", got "other" @ $.name' in str(caught.value)
    assert "expected ascending sizes, got [4096, 1024] @ $.memory.ram_mb" in str(caught.value)
    assert 'got "1.21" @ $.blocked[0].versions' in str(caught.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"name = ", "is not TOML"),
        (b'name = "a"\nname = "b"', "is not TOML"),
        (b'name = "\xff"', r"is not UTF-8 text \(byte 8\)"),
    ],
)
def test_a_file_that_is_no_toml_is_named(folder: Path, content: bytes, reason: str) -> None:
    (folder / "board.toml").write_bytes(content)
    with pytest.raises(DeviceError, match=f"board.toml: {reason}"):
        load_device("board")


def test_a_folder_in_the_place_of_a_profile_is_named(folder: Path) -> None:
    (folder / "board.toml").mkdir()
    with pytest.raises(DeviceError, match=r"board\.toml: cannot be read"):
        load_device("board")


def test_a_broken_profile_does_not_stand_in_the_way_of_another(folder: Path) -> None:
    add(folder, "name = ")
    assert load_device("rpi4").title == "Raspberry Pi 4"
    with pytest.raises(DeviceError, match=r"board\.toml"):
        list_devices()


def test_a_child_replaces_whole_tables_and_keeps_the_others(folder: Path) -> None:
    child = KIOSK + 'source = "bill"\n'
    add(folder, child, "kiosk")
    kiosk, parent = load_device("kiosk"), load_device("rpi4")
    assert (kiosk.name, kiosk.title, kiosk.extends) == ("kiosk", "Kiosk", "rpi4")
    assert kiosk.memory is not None
    assert (kiosk.memory.ram_mb, kiosk.memory.source, kiosk.memory.note) == ((2048,), "bill", None)
    assert (kiosk.isa, kiosk.cores, kiosk.blocked, kiosk.presets) == (
        parent.isa,
        parent.cores,
        parent.blocked,
        parent.presets,
    )
    add(folder, child.replace("rpi4", "kiosk").replace('name = "kiosk"', 'name = "grandchild"'), "grandchild")
    assert load_device("grandchild").isa == parent.isa


def test_the_tables_of_a_child_are_checked_too(folder: Path) -> None:
    add(folder, KIOSK, "kiosk")
    with pytest.raises(DeviceError, match=r"missing field source @ \$\.memory"):
        load_device("kiosk")


def test_extending_nothing_known_or_in_a_circle(folder: Path) -> None:
    head = 'extends = "{}"\nname = "{}"\ntitle = "T"\nsummary = "S"\n'
    add(folder, head.format("rpi", "a"), "a")
    with pytest.raises(DeviceError, match=r'a\.toml: extends the unknown profile "rpi": did you mean '):
        load_device("a")
    add(folder, head.format("c", "b"), "b")
    add(folder, head.format("b", "c"), "c")
    with pytest.raises(DeviceError, match="extends in a circle: b -> c -> b"):
        load_device("b")
    add(folder, head.format("d", "d"), "d")
    with pytest.raises(DeviceError, match="extends in a circle: d -> d"):
        load_device("d")
    add(folder, 'extends = ["rpi3", "rpi4"]\nname = "e"\ntitle = "T"\nsummary = "S"\n', "e")
    with pytest.raises(DeviceError, match=r"expected string, got \['rpi3', 'rpi4'\] @ \$\.extends"):
        load_device("e")


def test_the_package_holds_only_data() -> None:
    kinds = {Path(entry.name).suffix for entry in resources.files("sharcs_edge_devices").iterdir() if entry.is_file()}
    assert kinds == {".toml", ".json", ".py"}
