"""What must hold between the fields of a manifest (SPEC.md, section 2.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sharcs_edge_runtime.manifest import FileRef, Graph, TensorSpec, Tokenizer

_SAME_WIDTH: Final = 1e-6
_TOKEN_TYPES: Final = {"onnx": "int64", "tflite": "int32"}
_Signature = Sequence[tuple[str, str, tuple[int | str | None, ...]]]  # (name, dtype, shape); None: any fixed size


def consistency_problems(sound: Mapping[str, Any]) -> list[str]:
    """Every broken rule as ``<what> @ <path>``. `sound` holds the fields that could be read; rules over others wait."""
    problems: list[str] = []
    if "labels" in sound:
        problems += _duplicates(sound["labels"], "label", "$.labels")
        if sound.get("task") == "classification" and len(sound["labels"]) < 2:
            problems.append("a classifier needs at least 2 labels @ $.labels")
        if sound.get("task") == "regression" and len(sound["labels"]) != 1:
            problems.append("regression has one value, and so 1 label that names it @ $.labels")
    if "widths" in sound:
        problems += _width_problems(sound["widths"])
    if {"trunk_layers", "num_layers"} <= sound.keys() and sound["trunk_layers"] >= sound["num_layers"]:
        problems.append(f"expected less than num_layers ({sound['num_layers']}) @ $.trunk_layers")
    problems += _file_problems(sound)
    problems += _bucket_problems(sound)
    if "graphs" in sound:
        problems += _graph_problems(sound["graphs"], sound.get("widths"))
        if {"labels", "widths", "tokenizer", "backend"} <= sound.keys():
            ids = _TOKEN_TYPES[sound["backend"]]
            problems += _signature_problems(
                sound["graphs"], len(sound["widths"]), len(sound["labels"]), sound["tokenizer"], ids
            )
    return problems


def _duplicates(values: Sequence[str], kind: str, path: str) -> list[str]:
    seen: dict[str, int] = {}
    problems = []
    for index, value in enumerate(values):
        if value in seen:
            problems.append(f"duplicate {kind} {value!r}, first at index {seen[value]} @ {path}[{index}]")
        seen.setdefault(value, index)
    return problems


def _width_problems(widths: Sequence[float]) -> list[str]:
    problems = []
    for index, (before, width) in enumerate(pairwise(widths), start=1):
        if abs(width - before) <= _SAME_WIDTH:
            problems.append(f"duplicate width {width:g} @ $.widths[{index}]")
        elif width < before:
            problems.append(f"widths must ascend, {width:g} follows {before:g} @ $.widths[{index}]")
    return problems


def _graph_problems(graphs: Sequence[Graph], widths: Sequence[float] | None) -> list[str]:
    """One trunk, exactly one tail per width, and the names that follow from role and width."""
    from sharcs_edge_runtime.manifest import tail_name

    problems = [
        f"duplicate graph name {name!r} @ $.graphs[{index}].name"
        for index, name in enumerate(graph.name for graph in graphs)
        if any(graph.name == name for graph in graphs[:index])
    ]
    trunks = sum(graph.role == "trunk" for graph in graphs)
    if trunks != 1:
        problems.append(f'expected exactly one graph with role "trunk", got {trunks} @ $.graphs')
    tails: list[float] = []
    for index, graph in enumerate(graphs):
        path = f"$.graphs[{index}]"
        if graph.role == "trunk":
            if graph.width is not None:
                problems.append(f"the trunk has no width: expected null, got {graph.width:g} @ {path}.width")
            expected = "trunk"
        elif graph.width is None:
            problems.append(f"a tail needs its width, got null @ {path}.width")
            continue
        else:
            if _has(tails, graph.width):
                problems.append(f"a second tail for width {graph.width:g} @ {path}.width")
            if widths is not None and not _has(widths, graph.width):
                problems.append(f"width {graph.width:g} is not in $.widths @ {path}.width")
            tails.append(graph.width)
            expected = tail_name(graph.width)
        if graph.name != expected:
            problems.append(f'expected the name "{expected}", got {graph.name!r} @ {path}.name')
    problems += [
        f"width {width:g} has no tail in $.graphs @ $.widths[{index}]"
        for index, width in enumerate(widths or ())
        if not _has(tails, width)
    ]
    return problems


def _has(widths: Sequence[float], width: float) -> bool:
    return any(abs(candidate - width) <= _SAME_WIDTH for candidate in widths)


def _file_problems(sound: Mapping[str, Any]) -> list[str]:
    """Two entries may name one file (graphs that share it), but then with one hash and size."""
    named: list[tuple[str, Graph | Tokenizer | FileRef]] = []
    named += [(f"$.graphs[{index}]", graph) for index, graph in enumerate(sound.get("graphs", ()))]
    named += [(f"$.{key}", sound[key]) for key in ("tokenizer", "golden") if key in sound]
    named += [(f"$.files[{index}]", entry) for index, entry in enumerate(sound.get("files", ()))]
    first: dict[str, tuple[str, str, int]] = {}
    problems = []
    for path, entry in named:
        # Case is folded since the folder may be copied to a file system that folds it.
        known = first.setdefault(entry.file.lower(), (entry.file, entry.sha256, entry.bytes))
        if known != (entry.file, entry.sha256, entry.bytes):
            problems.append(f"{entry.file} is named before with another hash, size or case @ {path}.file")
    return problems


def _bucket_problems(sound: Mapping[str, Any]) -> list[str]:
    """TFLite graphs are in one file and have buckets for every length that the tokenizer gives; ONNX has none."""
    if not {"backend", "buckets"} <= sound.keys():
        return []
    buckets: Sequence[int] | None = sound["buckets"]
    if sound["backend"] == "onnx":
        return [] if buckets is None else ["ONNX graphs take any number of tokens: expected null @ $.buckets"]
    if buckets is None:
        return ["TFLite graphs take fixed numbers of tokens: expected these, got null @ $.buckets"]
    problems = [
        f"buckets must ascend, {bucket} follows {before} @ $.buckets[{index}]"
        for index, (before, bucket) in enumerate(pairwise(buckets), start=1)
        if bucket <= before
    ]
    if "tokenizer" in sound and buckets[-1] < sound["tokenizer"].max_length:
        longest = sound["tokenizer"].max_length
        problems.append(f"the last bucket is {buckets[-1]}, and inputs may have {longest} tokens @ $.buckets")
    graphs = sound.get("graphs", ())
    problems += [
        f"TFLite graphs share one file: expected {graphs[0].file}, got {graph.file} @ $.graphs[{index}].file"
        for index, graph in enumerate(graphs)
        if graph.file != graphs[0].file
    ]
    return problems


def _signature_problems(graphs: Sequence[Graph], widths: int, labels: int, tokenizer: Tokenizer, ids: str) -> list[str]:
    """The tensors of each graph: what a runtime feeds and reads (SPEC.md, section 3). `ids`: type of tokens."""
    tokens = ("batch", "tokens")
    mask = ("attention_mask", ids, tokens)
    types = [("token_type_ids", ids, tokens)] if tokenizer.token_types else []
    trunk = next((graph for graph in graphs if graph.role == "trunk"), None)
    hidden_size = _hidden_size(trunk)
    hidden = ("hidden", "float32", (*tokens, hidden_size))
    problems: list[str] = []
    for index, graph in enumerate(graphs):
        path = f"$.graphs[{index}]"
        if graph.role == "trunk":
            inputs: _Signature = [("input_ids", ids, tokens), mask, *types]
            outputs: _Signature = [hidden, ("router_logits", "float32", ("batch", widths))]
        else:
            inputs, outputs = [hidden, mask], [("logits", "float32", ("batch", labels))]
        problems += _tensor_problems(graph.inputs, inputs, f"{path}.inputs")
        problems += _tensor_problems(graph.outputs, outputs, f"{path}.outputs")
    return problems


def _hidden_size(trunk: Graph | None) -> int | None:
    for tensor in trunk.outputs if trunk else ():
        if tensor.name == "hidden" and len(tensor.shape) == 3 and isinstance(tensor.shape[2], int):
            return tensor.shape[2]
    return None


def _tensor_problems(tensors: Sequence[TensorSpec], expected: _Signature, path: str) -> list[str]:
    names = [tensor.name for tensor in tensors]
    expected_names = [name for name, _, _ in expected]
    if names != expected_names:
        return [f"expected the tensors {', '.join(expected_names)}, got {', '.join(names)} @ {path}"]
    problems = []
    for index, (tensor, (_, dtype, shape)) in enumerate(zip(tensors, expected, strict=True)):
        if tensor.dtype != dtype:
            problems.append(f"expected {dtype}, got {tensor.dtype} @ {path}[{index}].dtype")
        if not _shape_fits(tensor.shape, shape):
            wanted = ["hidden_size" if size is None else size for size in shape]
            problems.append(
                f"expected the shape ({', '.join(map(str, wanted))}), got ({', '.join(map(str, tensor.shape))}) "
                f"@ {path}[{index}].shape"
            )
    return problems


def _shape_fits(shape: Sequence[int | str], expected: Sequence[int | str | None]) -> bool:
    return len(shape) == len(expected) and all(
        isinstance(size, int) if wanted is None else size == wanted
        for size, wanted in zip(shape, expected, strict=True)
    )
