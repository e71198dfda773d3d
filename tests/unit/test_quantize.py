"""int8 dynamic quantization of small graphs: what is quantized, how, and what is left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from sharcs_edge.device import Preset
from sharcs_edge.errors import ExportError
from sharcs_edge_exporters import quantize
from sharcs_edge_exporters.quantize import quantize_int8_dynamic, weight_matmuls

ROWS, INNER, OUTER = 5, 16, 8


def preset(**options: Any) -> Preset:
    return Preset("int8_dynamic", "a test", **({"per_channel": True} | options))


def weights(seed: int, *shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def write_graph(file: Path, *linears: str) -> Path:
    """x -> one linear after the other (16 wide) -> x times its own transpose, a product of two activations."""
    nodes, constants, value = [], [], "x"
    for index, name in enumerate(linears):
        # Columns of very different size tell scales per channel from one scale for all.
        matrix = weights(index, INNER, INNER) * np.logspace(-3, 0, INNER, dtype=np.float32)
        constants.append(numpy_helper.from_array(matrix, f"{name}.weight"))
        nodes.append(helper.make_node("MatMul", [value, f"{name}.weight"], [f"{name}.out"], name=name))
        value = f"{name}.out"
    nodes.append(helper.make_node("Transpose", [value], ["turned"], name="turn"))
    nodes.append(helper.make_node("MatMul", [value, "turned"], ["y"], name="scores"))
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", INNER])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "batch"])],
        constants,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), file)
    return file


def initializers(file: Path) -> dict[str, NDArray[Any]]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(file).graph.initializer}


def run(file: Path) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    output: NDArray[np.float32] = session.run(None, {"x": weights(99, ROWS, INNER)})[0]
    return output


def test_weights_become_int8_and_products_of_activations_do_not(tmp_path: Path) -> None:
    source, target = write_graph(tmp_path / "float.onnx", "up", "down"), tmp_path / "int8.onnx"
    result = quantize_int8_dynamic(source, target, preset())
    assert (result.recipe, result.matmul_coverage) == ("int8_dynamic", 1.0)
    operators = [node.op_type for node in onnx.load(target).graph.node]
    assert operators.count("MatMulInteger") == 2
    assert operators.count("MatMul") == 1
    assert {array.dtype.name for name, array in initializers(target).items() if name.endswith("weight_quantized")} == {
        "int8"
    }
    expected = run(source)
    np.testing.assert_allclose(run(target), expected, atol=0.03 * np.abs(expected).max())


def test_the_router_stays_float32(tmp_path: Path) -> None:
    source, target = write_graph(tmp_path / "float.onnx", "up", "router.hidden", "router_output"), tmp_path / "q.onnx"
    result = quantize_int8_dynamic(source, target, preset())
    assert result.matmul_coverage == pytest.approx(1 / 3)
    assert weight_matmuls(onnx.load(target)) == ["router.hidden", "router_output"]


def test_a_graph_without_other_linears_is_left_as_it_is(tmp_path: Path) -> None:
    source, target = write_graph(tmp_path / "float.onnx", "router.hidden"), tmp_path / "q.onnx"
    result = quantize_int8_dynamic(source, target, preset())
    assert (result.recipe, result.matmul_coverage, dict(result.options)) == ("none", 0.0, {})
    assert onnx.load(target) == onnx.load(source)


def test_the_presets_options_reach_the_graph(tmp_path: Path) -> None:
    source = write_graph(tmp_path / "float.onnx", "up")

    def quantized(**options: Any) -> dict[str, NDArray[Any]]:
        result = quantize_int8_dynamic(source, tmp_path / "q.onnx", preset(**options))
        assert dict(result.options) == dict(preset(**options).options)
        return initializers(tmp_path / "q.onnx")

    assert quantized()["up.weight_scale"].shape == (INNER,)
    assert quantized(per_channel=False)["up.weight_scale"].size == 1
    assert quantized(weight_type="uint8")["up.weight_quantized"].dtype == np.uint8
    assert np.abs(quantized()["up.weight_quantized"].astype(int)).max() == 127
    assert np.abs(quantized(reduce_range=True)["up.weight_quantized"].astype(int)).max() <= 64


def test_nothing_is_left_beside_the_result(tmp_path: Path) -> None:
    source = write_graph(tmp_path / "float.onnx", "up")
    quantize_int8_dynamic(source, tmp_path / "q.onnx", preset())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["float.onnx", "q.onnx"]


def test_a_matmul_that_onnxruntime_passes_by_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_graph(tmp_path / "float.onnx", "up", "down")
    monkeypatch.setattr(quantize, "quantize_dynamic", lambda source, target, **options: None)
    with pytest.raises(ExportError, match=r"left MatMuls of float unquantized: down, up"):
        quantize_int8_dynamic(source, tmp_path / "q.onnx", preset())


def test_an_error_of_onnxruntime_becomes_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise ValueError("opset 7")

    monkeypatch.setattr(quantize, "quantize_dynamic", refuse)
    with pytest.raises(ExportError, match="onnxruntime cannot quantize float: opset 7"):
        quantize_int8_dynamic(write_graph(tmp_path / "float.onnx", "up"), tmp_path / "q.onnx", preset())
