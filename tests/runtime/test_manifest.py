"""manifest.json: canonical bytes, every problem with its path, and no surprise for any JSON."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharcs_edge_runtime.errors import ManifestError, WidthError
from sharcs_edge_runtime.manifest import (
    FileRef,
    Graph,
    Macs,
    Manifest,
    Quantization,
    TensorSpec,
    Tokenizer,
    Tolerance,
    tail_name,
)

GOLDEN = (Path(__file__).parents[1] / "golden" / "manifest_v1.json").read_bytes()


def parse(document: Any) -> Manifest:
    return Manifest.parse(json.dumps(document).encode())


def problems(document: Any) -> tuple[str, ...]:
    with pytest.raises(ManifestError) as caught:
        parse(document)
    return caught.value.problems


@pytest.fixture
def document() -> dict[str, Any]:
    result: dict[str, Any] = json.loads(GOLDEN)
    return result


def test_golden_manifest_round_trips_byte_for_byte() -> None:
    assert Manifest.parse(GOLDEN).to_json() == GOLDEN


def test_key_order_and_spacing_of_the_input_do_not_matter(document: dict[str, Any]) -> None:
    shuffled = json.dumps(dict(reversed(document.items())), separators=(",", ":")).encode()
    assert Manifest.parse(shuffled).to_json() == GOLDEN


def test_free_keys_are_written_in_one_order() -> None:
    manifest = Manifest.parse(GOLDEN)
    assert dataclasses.replace(manifest, tools=dict(reversed(list(manifest.tools.items())))).to_json() == GOLDEN


def test_integers_are_accepted_where_numbers_are_and_written_as_floats(document: dict[str, Any]) -> None:
    document["widths"][2] = 1
    assert parse(document).to_json() == GOLDEN


def test_lookups() -> None:
    manifest = Manifest.parse(GOLDEN)
    assert manifest.trunk.name == "trunk"
    assert manifest.tail(0.25).file == "tail_w025.onnx"
    assert manifest.tail(0.0833333).name == "tail_w008"
    with pytest.raises(WidthError, match=r"no width 0\.5: there are 0\.0833333, 0\.25, 1;"):
        manifest.tail(0.5)


@pytest.mark.parametrize(
    ("width", "name"), [(1 / 12, "tail_w008"), (0.25, "tail_w025"), (0.29, "tail_w029"), (1, "tail_w100")]
)
def test_tail_names(width: float, name: str) -> None:
    assert tail_name(width) == name


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9), st.integers(1, 4096))
def test_macs_are_an_exact_polynomial(row: int, token: int, squared: int, tokens: int) -> None:
    assert Macs(row, token, squared).count(tokens) == row + token * tokens + squared * tokens**2


def test_all_problems_come_at_once(document: dict[str, Any]) -> None:
    document["foo"] = 1
    document["graphs"][1]["bar"] = None
    del document["graphs"][2]["sha256"]
    document["tokenizer"]["max_length"] = "128"
    document["labels"] = ["yes", "yes"]
    assert set(problems(document)) == {
        "unknown field foo @ $",
        "unknown field bar @ $.graphs[1]",
        "missing field sha256 @ $.graphs[2]",
        'expected an integer, got "128" @ $.tokenizer.max_length',
        "duplicate label 'yes', first at index 0 @ $.labels[1]",
    }


def paths(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every key of a document that its schema fixes (not those of free maps)."""
    found = []
    if isinstance(value, dict):
        for key, child in value.items():
            found.append((*path, key))
            if key not in {"tools", "options"}:
                found += paths(child, (*path, key))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            found += paths(child, (*path, index))
    return found


def parent_of(document: Any, path: tuple[str | int, ...]) -> tuple[Any, str]:
    """The object that holds the key, and its JSON path."""
    shown = "$"
    for step in path[:-1]:
        document = document[step]
        shown += f"[{step}]" if isinstance(step, int) else f".{step}"
    return document, shown


@pytest.mark.parametrize("path", paths(json.loads(GOLDEN)), ids=lambda path: ".".join(map(str, path)))
def test_every_removed_or_renamed_key_is_reported_by_its_path(
    path: tuple[str | int, ...], document: dict[str, Any]
) -> None:
    renamed = copy.deepcopy(document)
    parent, shown = parent_of(document, path)
    key = str(path[-1])
    del parent[key]
    assert f"missing field {key} @ {shown}" in problems(document)

    parent, shown = parent_of(renamed, path)
    parent[f"{key}_"] = parent.pop(key)
    found = problems(renamed)
    assert f"missing field {key} @ {shown}" in found
    assert f"unknown field {key}_ @ {shown}" in found


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300)
@given(st.sampled_from(paths(json.loads(GOLDEN))), json_values)
def test_any_value_anywhere_parses_or_is_reported(path: tuple[str | int, ...], value: Any) -> None:
    changed = json.loads(GOLDEN)
    parent, _ = parent_of(changed, path)
    parent[path[-1]] = value
    try:
        manifest = parse(changed)
    except ManifestError as error:
        assert error.problems
        assert all(" @ $" in problem for problem in error.problems)
    else:
        assert Manifest.parse(manifest.to_json()) == manifest


@given(json_values)
def test_arbitrary_json_is_refused_clearly(value: Any) -> None:
    assert all(" @ $" in problem for problem in problems(value))


@given(st.binary())
def test_arbitrary_bytes_are_refused_clearly(data: bytes) -> None:
    with pytest.raises(ManifestError):
        Manifest.parse(data)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "not UTF-8 JSON"),
        (b"\xff\xfe{}", "not UTF-8 JSON"),
        (b'{"a": 1, "a": 2}', 'the key "a" occurs twice'),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"1" * 5000, "not UTF-8 JSON"),
        (GOLDEN[: len(GOLDEN) // 2], "not UTF-8 JSON"),
    ],
    ids=["empty", "utf-16", "duplicate", "nan", "deep", "digits", "cut"],
)
def test_what_is_not_a_json_document(data: bytes, expected: str) -> None:
    with pytest.raises(ManifestError, match=expected):
        Manifest.parse(data, "some/manifest.json")


def test_newer_schema_is_refused_with_both_versions_before_its_unknown_fields(document: dict[str, Any]) -> None:
    document["schema_version"] = 2
    document["routing_tree"] = {}
    (problem,) = problems(document)
    assert "schema_version is 2" in problem
    assert "reads 1" in problem
    assert "update sharcs-edge-runtime" in problem


@pytest.mark.parametrize("version", [0, -1, True, 1.0, "1", None])
def test_no_other_schema_version_passes(version: Any, document: dict[str, Any]) -> None:
    document["schema_version"] = version
    assert problems(document)[0].endswith("@ $.schema_version")


Edit = Callable[[dict[str, Any]], Any]


def edit(*path: str | int, value: Any) -> Edit:
    def apply(document: dict[str, Any]) -> None:
        parent, _ = parent_of(document, path)
        parent[path[-1]] = value

    return apply


def drop_tail(document: dict[str, Any]) -> None:
    del document["graphs"][2]


def repeat_tail(document: dict[str, Any]) -> None:
    document["graphs"].append(document["graphs"][2])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (edit("widths", value=[0.25, 0.25, 1.0]), "duplicate width 0.25 @ $.widths[1]"),
        (edit("widths", value=[0.25, 1 / 12, 1.0]), "widths must ascend, 0.0833333 follows 0.25 @ $.widths[1]"),
        (edit("widths", 0, value=0), "expected a number in (0, 1], got 0 @ $.widths[0]"),
        (edit("widths", value=[]), "expected an array that is not empty @ $.widths"),
        (edit("widths", 1, value=0.5), "width 0.25 is not in $.widths @ $.graphs[2].width"),
        (drop_tail, "width 0.25 has no tail in $.graphs @ $.widths[1]"),
        (repeat_tail, "duplicate graph name 'tail_w025' @ $.graphs[4].name"),
        (repeat_tail, "a second tail for width 0.25 @ $.graphs[4].width"),
        (edit("graphs", 2, "name", value="tail"), "expected the name \"tail_w025\", got 'tail' @ $.graphs[2].name"),
        (edit("graphs", 0, "width", value=1), "the trunk has no width: expected null, got 1 @ $.graphs[0].width"),
        (edit("graphs", 1, "width", value=None), "a tail needs its width, got null @ $.graphs[1].width"),
        (edit("graphs", 1, "role", value="trunk"), 'expected exactly one graph with role "trunk", got 2 @ $.graphs'),
        (edit("graphs", 0, "bytes", value=True), "expected an integer, got true @ $.graphs[0].bytes"),
        (edit("graphs", 0, "bytes", value=-1), "expected an integer >= 0, got -1 @ $.graphs[0].bytes"),
        (edit("labels", value=["only"]), "a classifier needs at least 2 labels @ $.labels"),
        (edit("trunk_layers", value=6), "expected less than num_layers (6) @ $.trunk_layers"),
        (
            edit("task", value="tagging"),
            'expected "classification" or "multi_label" or "regression", got "tagging" @ $.task',
        ),
        (edit("text_inputs", value=3), "expected 1 or 2, got 3 @ $.text_inputs"),
        (edit("family", value=""), "expected a string that is not empty @ $.family"),
        (edit("family", value="\ud800"), "the string holds a lone surrogate @ $.family"),
        (edit("tolerance", "logits", value=0), "expected a number in (0, 1e+06], got 0 @ $.tolerance.logits"),
        (edit("tools", "torch", value=2), "expected a string, got 2 @ $.tools.torch"),
        (edit("tokenizer", "token_types", value=1), "expected true or false, got 1 @ $.tokenizer.token_types"),
        (
            edit("tokenizer", "token_types", value=False),
            "expected the tensors input_ids, attention_mask, got input_ids, attention_mask, token_type_ids "
            "@ $.graphs[0].inputs",
        ),
        (
            edit("graphs", 0, "outputs", 1, "shape", 1, value=2),
            "expected the shape (batch, 3), got (batch, 2) @ $.graphs[0].outputs[1].shape",
        ),
        (
            edit("graphs", 3, "inputs", 0, "shape", 2, value=96),
            "expected the shape (batch, tokens, 384), got (batch, tokens, 96) @ $.graphs[3].inputs[0].shape",
        ),
        (
            edit("graphs", 1, "inputs", 1, "dtype", value="float32"),
            "expected int64, got float32 @ $.graphs[1].inputs[1].dtype",
        ),
        (
            edit("graphs", 1, "file", value="trunk.onnx"),
            "trunk.onnx is named before with another hash, size or case @ $.graphs[1].file",
        ),
        (
            edit("golden", "file", value="TOKENIZER.json"),
            "TOKENIZER.json is named before with another hash, size or case @ $.golden.file",
        ),
    ],
)
def test_rules(change: Edit, expected: str, document: dict[str, Any]) -> None:
    change(document)
    assert expected in problems(document)


def as_tflite(document: dict[str, Any], buckets: list[int] | None) -> None:
    """What a manifest of TFLite graphs says instead."""
    document["backend"], document["buckets"] = "tflite", buckets
    for graph in document["graphs"]:
        graph |= {"file": "model.tflite", "sha256": "a" * 64, "bytes": 7}
        for tensor in graph["inputs"]:
            tensor["dtype"] = tensor["dtype"].replace("int64", "int32")


def test_tflite_graphs_share_a_file_and_have_buckets(document: dict[str, Any]) -> None:
    as_tflite(document, [16, 128])
    manifest = parse(document)
    assert manifest.buckets == (16, 128)
    assert [file.file for file in manifest.all_files].count("model.tflite") == 1


@pytest.mark.parametrize(
    ("buckets", "expected"),
    [
        (None, "TFLite graphs take fixed numbers of tokens: expected these, got null @ $.buckets"),
        ([], "expected an array that is not empty @ $.buckets"),
        ([0, 128], "expected an integer >= 1, got 0 @ $.buckets[0]"),
        ([32, 16, 128], "buckets must ascend, 16 follows 32 @ $.buckets[1]"),
        ([16, 64], "the last bucket is 64, and inputs may have 128 tokens @ $.buckets"),
    ],
)
def test_buckets_hold_every_input(buckets: list[int] | None, expected: str, document: dict[str, Any]) -> None:
    as_tflite(document, buckets)
    assert problems(document) == (expected,)


def test_tensors_and_files_are_those_of_the_format(document: dict[str, Any]) -> None:
    document["buckets"] = [128]
    assert problems(document) == ("ONNX graphs take any number of tokens: expected null @ $.buckets",)
    as_tflite(document, [128])
    document["graphs"][1] |= {"file": "tail.tflite"}
    document["graphs"][0]["inputs"][0]["dtype"] = "int64"
    assert set(problems(document)) == {
        "TFLite graphs share one file: expected model.tflite, got tail.tflite @ $.graphs[1].file",
        "expected int32, got int64 @ $.graphs[0].inputs[0].dtype",
    }


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a/b",
        "a\\b",
        "/abs",
        "../up",
        "a..b",
        "c:x",
        "x\0y",
        ".hidden",
        "manifest.json",
        "ä",
        "x\n",
        "-x",
    ],
)
def test_file_names_that_could_leave_the_folder_are_refused(name: str, document: dict[str, Any]) -> None:
    document["golden"]["file"] = name
    (problem,) = problems(document)
    assert problem.startswith("expected a plain file name")
    assert problem.endswith("@ $.golden.file")


@pytest.mark.parametrize("value", ["A" * 64, "a" * 63, "g" * 64, 7])
def test_hashes_have_one_form(value: Any, document: dict[str, Any]) -> None:
    document["tokenizer"]["sha256"] = value
    assert any(problem.endswith("@ $.tokenizer.sha256") for problem in problems(document))


def test_a_manifest_that_could_not_be_read_is_not_written() -> None:
    manifest = Manifest.parse(GOLDEN)
    with pytest.raises(ManifestError, match=r"duplicate label"):
        dataclasses.replace(manifest, labels=("a", "a")).to_json()
    with pytest.raises(ManifestError, match="cannot be written"):
        dataclasses.replace(manifest, tolerance=Tolerance(float("nan"), 1, 1)).to_json()


def test_many_problems_are_shortened_in_the_message_only() -> None:
    error = ManifestError("m.json", tuple(f"p{index} @ $" for index in range(30)))
    assert str(error).startswith("m.json: 30 problems in the manifest: p0 @ $; p1 @ $")
    assert str(error).endswith("p19 @ $; and 10 more")
    assert len(error.problems) == 30


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
counts = st.integers(0, 2**40)
shares = st.floats(0, 1)
hashes = st.text("0123456789abcdef", min_size=64, max_size=64)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    percents = draw(st.lists(st.integers(1, 100), min_size=1, max_size=5, unique=True).map(sorted))
    widths = tuple(percent / 100 for percent in percents)
    labels = tuple(draw(st.lists(names, min_size=2, max_size=4, unique=True)))
    token_types = draw(st.booleans())
    hidden_size = draw(st.integers(1, 4096))

    def tensor(name: str, *shape: str | int) -> TensorSpec:
        return TensorSpec(name, "float32" if name in {"hidden", "router_logits", "logits"} else "int64", shape)

    def graph(name: str, width: float | None, inputs: list[TensorSpec], outputs: list[TensorSpec]) -> Graph:
        return Graph(
            name=name,
            role="trunk" if width is None else "tail",
            width=width,
            file=f"{name}.onnx",
            sha256=draw(hashes),
            bytes=draw(counts),
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            quantization=Quantization(
                draw(st.sampled_from(("none", "int8_dynamic", "int8_static"))),
                draw(shares),
                draw(st.dictionaries(names, st.booleans() | names, max_size=3)),
            ),
            macs=Macs(draw(counts), draw(counts), draw(counts)),
        )

    hidden, mask = tensor("hidden", "batch", "tokens", hidden_size), tensor("attention_mask", "batch", "tokens")
    types = [tensor("token_type_ids", "batch", "tokens")] if token_types else []
    router = tensor("router_logits", "batch", len(widths))
    trunk = graph("trunk", None, [tensor("input_ids", "batch", "tokens"), mask, *types], [hidden, router])
    tails = [
        graph(tail_name(width), width, [hidden, mask], [tensor("logits", "batch", len(labels))]) for width in widths
    ]
    layers = draw(st.integers(1, 48))
    return Manifest(
        schema_version=1,
        family=draw(names),
        task="classification",
        labels=labels,
        text_inputs=draw(st.sampled_from((1, 2))),
        backend="onnx",
        buckets=None,
        widths=widths,
        trunk_layers=draw(st.integers(0, layers - 1)),
        num_layers=layers,
        graphs=tuple(draw(st.permutations([trunk, *tails]))),
        tokenizer=Tokenizer(
            "tokenizer.json",
            draw(hashes),
            draw(counts),
            draw(st.integers(1, 8192)),
            0,
            draw(names),
            token_types,
            draw(st.none() | st.integers(1, 300_000)),
        ),
        golden=FileRef("golden.npz", draw(hashes), draw(counts)),
        files=tuple(
            FileRef(name, draw(hashes), draw(counts))
            for name in draw(st.sets(st.sampled_from(("README.md", "LICENSE"))))
        ),
        target=draw(names),
        tolerance=Tolerance(draw(st.floats(1e-9, 1)), draw(shares), draw(shares)),
        tools=draw(st.dictionaries(names, names, max_size=3)),
    )


@settings(max_examples=60)
@given(manifests())
def test_round_trip(manifest: Manifest) -> None:
    data = manifest.to_json()
    again = Manifest.parse(data)
    assert again == manifest
    assert again.to_json() == data
    assert data.endswith(b"}\n")
