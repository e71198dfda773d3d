"""One file of weights: every graph computes what it computed before, and no weight is stored twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from sharcs_edge.device import Preset
from sharcs_edge_exporters.base import GraphPlan
from sharcs_edge_exporters.layout import WEIGHTS_FILE, Columns, share_codes, share_weights
from sharcs_edge_exporters.quantize import quantize_int8_dynamic
from sharcs_edge_runtime.manifest import Macs

Array = NDArray[Any]
FULL = 48


def weights(seed: int, *shape: int) -> Array:
    # Columns of very different size: a block quantized by itself would have other scales per row block.
    scales = np.logspace(-2, 0, shape[-1], dtype=np.float32)
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32) * scales


def plan(name: str, width: float | None) -> GraphPlan:
    return GraphPlan(name, "tail" if width else "trunk", width, f"{name}.onnx", (), (), Macs(0, 0, 0))


def write_graph(file: Path, *matrices: Array) -> Path:
    """x -> one product after the other."""
    nodes, value = [], "x"
    for index, _ in enumerate(matrices):
        nodes.append(helper.make_node("MatMul", [value, f"{index}.weight"], [f"{index}.out"], name=str(index)))
        value = f"{index}.out"
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", matrices[0].shape[0]])],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, ["batch", matrices[-1].shape[1]])],
        [numpy_helper.from_array(matrix, f"{index}.weight") for index, matrix in enumerate(matrices)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), file)
    return file


def run(file: Path) -> Array:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    (x,) = session.get_inputs()
    output: Array = session.run(None, {"x": weights(99, 5, x.shape[1])})[0]
    return output


def operators(file: Path) -> set[str]:
    """Those that onnxruntime runs, having optimized the graph."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(file.with_suffix(".optimized"))
    onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(file.with_suffix(".optimized"), load_external_data=False).graph.node
    return {node.op_type for node in nodes}


def nested(up: Array, down: Array, inner: int, residual: int = FULL) -> tuple[Array, Array]:
    """The leading blocks of two matrices around `inner` units."""
    return np.ascontiguousarray(up[:residual, :inner]), np.ascontiguousarray(down[:inner, :residual])


@pytest.mark.parametrize("residual", [FULL, 24], ids=["inner", "all"])
def test_blocks_of_a_matrix_are_cut_when_the_graph_is_loaded(residual: int, tmp_path: Path) -> None:
    up, down = weights(0, FULL, 96), weights(1, 96, FULL)
    write_graph(tmp_path / "wide.onnx", up, down)
    write_graph(tmp_path / "narrow.onnx", *nested(up, down, 36, residual))
    before = {name: run(tmp_path / f"{name}.onnx") for name in ("wide", "narrow")}
    assert share_weights((plan("narrow", 0.5), plan("wide", 1.0)), tmp_path) == WEIGHTS_FILE
    assert (tmp_path / WEIGHTS_FILE).stat().st_size == up.nbytes + down.nbytes
    for name, expected in before.items():
        np.testing.assert_array_equal(run(tmp_path / f"{name}.onnx"), expected)
        assert (tmp_path / f"{name}.onnx").stat().st_size < 1500
        assert operators(tmp_path / f"{name}.onnx") == {"MatMul"}


def test_projections_that_were_merged_are_found_in_parts(tmp_path: Path) -> None:
    """Query, key and value as one matrix: the narrow one is three runs of columns of the full one."""
    parts = [weights(seed, FULL, FULL) for seed in range(3)]
    write_graph(tmp_path / "wide.onnx", np.concatenate(parts, axis=1))
    write_graph(tmp_path / "narrow.onnx", np.concatenate([part[:, :16] for part in parts], axis=1))
    before = run(tmp_path / "narrow.onnx")
    share_weights((plan("narrow", 0.5), plan("wide", 1.0)), tmp_path)
    assert (tmp_path / WEIGHTS_FILE).stat().st_size == 3 * FULL * FULL * 4
    np.testing.assert_array_equal(run(tmp_path / "narrow.onnx"), before)


def test_a_weight_of_its_own_is_stored_and_equal_ones_once(tmp_path: Path) -> None:
    shared, own = weights(0, FULL, FULL), weights(1, FULL, FULL)
    write_graph(tmp_path / "wide.onnx", shared)
    write_graph(tmp_path / "narrow.onnx", own, shared)
    write_graph(tmp_path / "trunk.onnx", shared)
    before = run(tmp_path / "narrow.onnx")
    share_weights((plan("trunk", None), plan("narrow", 0.5), plan("wide", 1.0)), tmp_path)
    assert (tmp_path / WEIGHTS_FILE).stat().st_size == shared.nbytes + own.nbytes
    np.testing.assert_array_equal(run(tmp_path / "narrow.onnx"), before)


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("weight_type", ["int8", "uint8"])
def test_a_narrow_block_takes_the_codes_of_the_full_matrix(per_channel: bool, weight_type: Any, tmp_path: Path) -> None:
    up, down = weights(0, FULL, 96), weights(1, 96, FULL)
    preset = Preset("int8_dynamic", "a test", per_channel=per_channel, weight_type=weight_type)
    files = {}
    for name, matrices in (("wide", (up, down)), ("narrow", nested(up, down, 36))):
        source = write_graph(tmp_path / f"{name}.float32.onnx", *matrices)
        files[name] = (source, tmp_path / f"{name}.onnx")
        quantize_int8_dynamic(*files[name], preset)
    alone = run(tmp_path / "narrow.onnx")
    share_codes([files["wide"], files["narrow"]])
    wide, narrow = (
        {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(tmp_path / file).graph.initializer}
        for file in ("wide.onnx", "narrow.onnx")
    )
    np.testing.assert_array_equal(narrow["0.weight_quantized"], wide["0.weight_quantized"][:, :36])
    np.testing.assert_array_equal(narrow["1.weight_quantized"], wide["1.weight_quantized"][:36])
    if per_channel:  # else the narrow columns, a hundredth of the widest, have next to no codes left
        exact = run(files["narrow"][0])
        assert 0 < np.abs(run(tmp_path / "narrow.onnx") - exact).max() < 3 * np.abs(alone - exact).max()
    share_weights((plan("narrow", 0.5), plan("wide", 1.0)), tmp_path)
    assert (tmp_path / WEIGHTS_FILE).stat().st_size == up.size + down.size


def test_without_a_common_scale_parts_of_several_matrices_keep_their_codes(tmp_path: Path) -> None:
    parts = [weights(seed, FULL, FULL) * (1 + seed) for seed in range(2)]
    merged = np.concatenate([part[:, :16] for part in parts], axis=1)
    preset = Preset("int8_dynamic", "a test", per_channel=False)
    files = []
    for name, matrices in (("wide", parts), ("narrow", [merged])):
        files.append((write_graph(tmp_path / f"{name}.float32.onnx", *matrices), tmp_path / f"{name}.onnx"))
        quantize_int8_dynamic(*files[-1], preset)
    before = run(files[1][1])
    share_codes(files)
    np.testing.assert_array_equal(run(files[1][1]), before)


# Two values: columns repeat, so that runs end where they need not and begin at several places.
_matrices = arrays.arrays(
    np.int8, st.tuples(st.integers(1, 3), st.integers(1, 12)), elements=st.integers(0, 1), fill=st.nothing()
)


@given(known=st.lists(_matrices, min_size=1, max_size=3), wanted=_matrices)
def test_runs_are_the_matrix(known: list[Array], wanted: Array) -> None:
    columns = Columns()
    for matrix in known:
        columns.add(matrix)
    runs = columns.find(wanted)
    if runs is not None:
        parts = [columns.matrices[run.source][: len(wanted), run.start : run.stop] for run in runs]
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), wanted)
    rows = len(wanted)
    if any(rows <= len(matrix) and np.array_equal(matrix[:rows], wanted) for matrix in known) and wanted.shape[1] == 1:
        assert runs is not None


@given(known=_matrices, seed=st.integers(0, 9))
def test_what_is_not_there_is_not_found(known: Array, seed: int) -> None:
    columns = Columns()
    columns.add(known)
    assert columns.find(known + np.int8(2)) is None
    assert columns.find(known.astype(np.int16)) is None
    assert columns.find(np.full((1, 2), np.nan, dtype=np.float32)) is None
