"""Embedding tables of integers: how close codes come, and that graphs look up just these numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession
from torch import nn

from sharcs_edge.device import EmbeddingType
from sharcs_edge.errors import ExportError
from sharcs_edge_exporters.embeddings import quantize_embeddings, quantize_int4, quantize_int8, saved_bytes

ROWS = 50
IDS = np.array([[0, 1, 49], [7, 7, 3]], dtype=np.int64)

tables = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.integers(1, 8).map(lambda half: 2 * half)),
    elements=st.floats(-1e4, 1e4, width=32).map(lambda number: number if abs(number) > 1e-6 else 0.0),
)


def unpack(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(rows, blocks, size / 2), two codes a byte -> (rows, blocks, size)."""
    return np.concatenate((codes & 15, codes >> 4), axis=-1).astype(np.float32) - 8


def restore(codes: NDArray[Any], scales: NDArray[Any]) -> NDArray[np.float32]:
    """The numbers of a quantized table, (rows, columns)."""
    numbers = codes.astype(np.float32) if codes.dtype == np.int8 else unpack(codes)
    table: NDArray[np.float32] = (numbers * scales.astype(np.float32)).reshape(len(codes), -1)
    return table


@given(tables)
def test_int8_is_half_a_step_off_at_most(table: NDArray[np.float32]) -> None:
    codes, scales = quantize_int8(table)
    assert codes.dtype == np.int8
    assert codes.min() >= -127
    assert (np.abs(codes * scales - table) <= scales * 0.501).all()
    largest = np.abs(codes.astype(int)).max(axis=1)
    assert set(largest[np.abs(table).max(axis=1) > 0]) <= {127}  # every row uses the whole range


@given(tables)
def test_int4_is_no_further_off_than_without_cutting(table: NDArray[np.float32]) -> None:
    codes, scales = quantize_int4(table)
    assert codes.shape == (len(table), 1, table.shape[1] // 2)  # too narrow for blocks of 32
    plain = (np.abs(table).max(axis=1, keepdims=True) / np.float32(7.5)).astype(np.float16).astype(np.float32)
    plain[plain == 0] = 1
    uncut = np.clip(np.round(table / plain), -8, 7) * plain
    found = restore(codes, scales)
    error, uncut_error = (np.square(one - table).sum(axis=1) for one in (found, uncut))
    assert (error <= uncut_error * (1 + 1e-5)).all()
    assert (found[table == 0] == 0).all()


def test_one_large_number_costs_its_own_block_alone() -> None:
    table = np.random.default_rng(0).normal(size=(3, 96)).astype(np.float32)
    spiked = table.copy()
    spiked[1, 40] = 100.0
    codes, scales = quantize_int4(spiked)
    assert codes.shape == (3, 3, 16)
    assert scales.shape == (3, 3, 1)
    same = restore(codes, scales) == restore(*quantize_int4(table))
    assert same[[0, 2]].all()
    assert same[1, :32].all()
    assert same[1, 64:].all()
    assert abs(restore(codes, scales)[1, 40] - 100.0) < 100 / 15


def build(columns: int = 12) -> ir.Model:
    """words[ids] + positions[0..tokens] and, apart, token_types[ids]."""
    rng = np.random.default_rng(0)
    constants: dict[str, NDArray[Any]] = {
        "embeddings.words.weight": rng.normal(size=(ROWS, columns)).astype(np.float32),
        "embeddings.positions.weight": rng.normal(size=(8, columns)).astype(np.float32),
        "embeddings.token_types.weight": rng.normal(size=(ROWS, columns)).astype(np.float32),
        "places": np.arange(3),
    }
    nodes = [
        helper.make_node("Gather", ["embeddings.words.weight", "ids"], ["words"]),
        helper.make_node("Gather", ["embeddings.positions.weight", "places"], ["positions"]),
        helper.make_node("Add", ["words", "positions"], ["y"]),
        helper.make_node("Gather", ["embeddings.token_types.weight", "ids"], ["z"]),
    ]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3, columns]) for name in "yz"]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", 3])],
        outputs,
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8))


def run(model: ir.Model) -> list[NDArray[np.float32]]:
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    session = InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    results: list[Any] = session.run(None, {"ids": IDS})
    return results


def constant(model: ir.Model, name: str) -> NDArray[Any]:
    value = model.graph.initializers[name].const_value
    assert value is not None
    return value.numpy()


@pytest.mark.parametrize("kind", ["int8", "int4"])
@pytest.mark.parametrize("columns", [12, 64])
def test_lookups_give_the_quantized_numbers(kind: EmbeddingType, columns: int) -> None:
    model = build(columns)
    words, positions, types = (
        constant(model, f"embeddings.{name}.weight") for name in ("words", "positions", "token_types")
    )
    assert quantize_embeddings(model, kind)
    table = quantize_int8(words) if kind == "int8" else quantize_int4(words)
    y, z = run(model)
    np.testing.assert_array_equal(y, restore(*table)[IDS] + restore(*quantize_int8(positions))[:3])
    np.testing.assert_array_equal(z, types[IDS])
    assert {node.domain for node in model.graph} == {""}
    assert not {"embeddings.words.weight", "embeddings.positions.weight"} & {
        value.name for node in model.graph for value in node.inputs if value is not None
    }


def test_float32_and_graphs_without_embeddings_are_left_alone() -> None:
    model = build()
    before = ir.to_proto(model).SerializeToString()
    assert not quantize_embeddings(model, "float32")
    assert ir.to_proto(model).SerializeToString() == before
    for node, name in zip(model.graph, ("tail.words", "tail.positions"), strict=False):
        node.inputs[0].name = name  # type: ignore[union-attr]
    assert not quantize_embeddings(model, "int8")


def test_one_table_looked_up_twice_is_stored_once() -> None:
    model = build()
    last = list(model.graph)[-1]
    last.replace_input_with(0, model.graph.initializers["embeddings.words.weight"])
    assert quantize_embeddings(model, "int4")
    _, z = run(model)
    table = quantize_int4(constant(build(), "embeddings.words.weight"))
    np.testing.assert_array_equal(z, restore(*table)[IDS])


def test_int4_needs_an_even_number_of_columns() -> None:
    model = build()
    words = model.graph.initializers["embeddings.words.weight"]
    words.const_value = ir.tensor(np.ones((ROWS, 11), dtype=np.float32))
    with pytest.raises(ExportError, match=r"embeddings\.words\.weight has 11 columns, an odd number, .*: use int8"):
        quantize_embeddings(model, "int4")


@pytest.mark.parametrize("kind", ["float32", "int8", "int4"])
@pytest.mark.parametrize("columns", [12, 64])
def test_the_estimate_counts_codes_and_scales(kind: EmbeddingType, columns: int) -> None:
    model = build(columns)
    quantize_embeddings(model, kind)
    used = {value.name for node in model.graph for value in node.inputs if value is not None}
    stored = sum(
        value.const_value.nbytes
        for name, value in model.graph.initializers.items()
        if name in used and name.startswith(("embeddings.words.", "embeddings.positions.")) and value.const_value
    )
    module = nn.Module()
    module.embeddings = nn.ModuleDict({"words": nn.Embedding(ROWS, columns), "positions": nn.Embedding(8, columns)})
    size = 4 * (ROWS + 8) * columns
    assert 0 <= stored - (size - saved_bytes(module, kind)) <= 32  # constants of the lookup itself
