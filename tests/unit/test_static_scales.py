"""Fixed scales of activations: what they cover, and the graphs that onnxruntime runs as integer products."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession, SessionOptions

from sharcs_edge.device import Preset
from sharcs_edge_exporters.base import GraphPlan
from sharcs_edge_exporters.quantize import quantize_int8_dynamic
from sharcs_edge_exporters.static_scales import Range, activation_ranges, fix_scales
from sharcs_edge_runtime.manifest import Macs, TensorSpec
from sharcs_edge_runtime.tokenization import TokenBatch

SIZE = 16


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=9))
def test_codes_of_a_range_hold_all_that_was_seen_and_zero(numbers: list[float]) -> None:
    array = np.array(numbers, dtype=np.float32)
    seen = Range(0.0, 0.0).widened(array)
    scale, zero = float(seen.scale), int(seen.zero_point)
    codes = np.round(np.append(array, 0.0) / scale) + zero
    assert codes.min() >= -1 and codes.max() <= 256  # zero itself is rounded to a code, which may move both ends by one
    back = (np.clip(codes, 0, 255) - zero) * scale
    assert back[-1] == 0.0
    assert np.abs(back[:-1] - array).max() <= 1.01 * scale


def test_of_nothing_but_zeros_there_is_a_scale() -> None:
    assert Range(0.0, 0.0).widened(np.zeros(3, dtype=np.float32)).scale == 1


def graph(file: Path, role: str, linears: tuple[str, ...]) -> None:
    """hidden (batch, tokens, 16) -> linears, and of the first token a product of two dimensions -> logits."""
    rng = np.random.default_rng(3)
    nodes, constants, value = [], [], "hidden"
    if role == "trunk":
        constants.append(numpy_helper.from_array(rng.normal(size=(9, SIZE)).astype(np.float32), "table"))
        nodes.append(helper.make_node("Gather", ["table", "input_ids"], ["words"], name="words"))
        value = "words"
    for index, name in enumerate(linears):
        if name == "head":
            constants.append(numpy_helper.from_array(np.array(0), "first"))
            nodes.append(helper.make_node("Gather", [value, "first"], ["row"], axis=1, name="first_token"))
            value = "row"
        constants += [
            numpy_helper.from_array(rng.normal(size=(SIZE, SIZE)).astype(np.float32) / 4, f"{name}.weight"),
            numpy_helper.from_array(rng.normal(size=SIZE).astype(np.float32), f"{name}.bias"),
        ]
        last = index == len(linears) - 1
        out = ("hidden" if role == "trunk" else "logits") if last else f"{name}.out"
        nodes.append(helper.make_node("MatMul", [value, f"{name}.weight"], [f"{name}.product"], name=name))
        nodes.append(helper.make_node("Add", [f"{name}.product", f"{name}.bias"], [out], name=f"{name}.add"))
        value = out
    inputs = [("input_ids", TensorProto.INT64)] if role == "trunk" else [("hidden", TensorProto.FLOAT)]
    shapes: dict[str, list[str | int]] = {"input_ids": ["batch", "tokens"], "hidden": ["batch", "tokens", SIZE]}
    made = helper.make_graph(
        nodes,
        role,
        [
            *(helper.make_tensor_value_info(name, kind, shapes[name]) for name, kind in inputs),
            helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ["batch", "tokens"]),
        ],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, shapes.get(value, ["batch", SIZE]))],
        constants,
    )
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), file)


def plan(name: str) -> GraphPlan:
    hidden = TensorSpec("hidden", "float32", ("batch", "tokens", SIZE))
    logits = TensorSpec("logits", "float32", ("batch", SIZE))
    if name == "trunk":
        return GraphPlan(name, "trunk", None, f"{name}.onnx", (), (hidden,), Macs(0, 0, 0))
    return GraphPlan(name, "tail", 1.0, f"{name}.onnx", (hidden,), (logits,), Macs(0, 0, 0))


@pytest.fixture
def graphs(tmp_path: Path) -> list[GraphPlan]:
    graph(tmp_path / "trunk.onnx", "trunk", ("trunk_linear", "router.hidden"))
    graph(tmp_path / "tail.onnx", "tail", ("up", "down", "head"))
    return [plan("trunk"), plan("tail")]


def rows(count: int, seed: int = 0) -> list[TokenBatch]:
    rng = np.random.default_rng(seed)
    ids = [rng.integers(0, 9, size=(1, rng.integers(1, 7))) for _ in range(count)]
    return [TokenBatch(one, np.ones_like(one), None) for one in ids]


def hidden_states(folder: Path, batch: list[TokenBatch]) -> list[NDArray[np.float32]]:
    trunk = InferenceSession(folder / "trunk.onnx")
    return [trunk.run(None, {"input_ids": row.input_ids, "attention_mask": row.attention_mask})[0] for row in batch]


def test_ranges_are_those_of_what_linears_read(graphs: list[GraphPlan], tmp_path: Path) -> None:
    batch = rows(5)
    ranges = activation_ranges(graphs, tmp_path, batch)
    assert {name: set(seen) for name, seen in ranges.items()} == {
        "trunk": {"words"},  # the router stays float32
        "tail": {"hidden", "up.out", "row"},
    }
    states = np.concatenate([states[0] for states in hidden_states(tmp_path, batch)])
    assert ranges["tail"]["hidden"] == pytest.approx((min(0, states.min()), max(0, states.max())))
    fewer = activation_ranges(graphs, tmp_path, batch[:1])["tail"]["row"]
    assert fewer.low >= ranges["tail"]["row"].low and fewer.high <= ranges["tail"]["row"].high


@pytest.mark.parametrize("per_channel", [True, False])
def test_a_graph_of_fixed_scales(per_channel: bool, graphs: list[GraphPlan], tmp_path: Path) -> None:
    ranges = activation_ranges(graphs, tmp_path, rows(64))["tail"]
    quantize_int8_dynamic(
        tmp_path / "tail.onnx", tmp_path / "int8.onnx", Preset("int8_static", "a test", per_channel=per_channel)
    )
    model = ir.load(tmp_path / "int8.onnx")
    fix_scales(model, ranges)
    ir.save(model, tmp_path / "static.onnx")
    onnx.checker.check_model(str(tmp_path / "static.onnx"), full_check=True)
    options = SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    session, exact = InferenceSession(tmp_path / "static.onnx", options), InferenceSession(tmp_path / "tail.onnx")
    operators = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    assert operators.count("MatMulIntegerToFloat") == 3
    assert not {"DequantizeLinear", "DynamicQuantizeLinear", "Gemm", "MatMul"} & set(operators)
    states = hidden_states(tmp_path, rows(8, seed=1))
    for one in states:
        mask = np.ones(one.shape[:2], dtype=np.int64)
        (answer,), (expected,) = (
            graph.run(None, {"hidden": one, "attention_mask": mask}) for graph in (session, exact)
        )
        assert np.abs(answer - expected).max() < 0.05 * np.abs(expected).max()
        large = np.concatenate([one, 50 * one])  # beyond what was seen: cut off there, and here as before
        mask = np.ones(large.shape[:2], dtype=np.int64)
        (beside,) = session.run(None, {"hidden": large, "attention_mask": mask})
        np.testing.assert_allclose(beside[:1], answer, atol=1e-5)
