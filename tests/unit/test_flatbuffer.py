"""TFLite files made smaller: the same results from fewer bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from sharcs_edge_exporters.flatbuffer import compact, matmul_coverage, residual_linears, twin_tensors
from tests.runtime.tables import TableWriter

ROWS, COLUMNS = 64, 48


def write(folder: Path, narrow_rows: int, *, same: bool) -> Path:
    """Two signatures with an int8 linear each; the second one's matrix has the leading rows of the first one's."""
    draw = np.random.default_rng(0)
    wide = draw.normal(0, 1, (COLUMNS, ROWS))
    narrow = (wide if same else draw.normal(0, 1, wide.shape))[:, :narrow_rows]
    writer = TableWriter(int8=True)
    for name, weight in (("wide", wide), ("narrow", narrow)):
        writer.start()
        x = writer.tensor("x", (1, COLUMNS))
        y = writer.apply("TANH", [writer.linear(x, weight, (1, weight.shape[1]))], (1, weight.shape[1]))
        writer.finish(name, {"x": x}, {"y": y})
    file = folder / "model.tflite"
    file.write_bytes(writer.to_bytes())
    return file


def answers(file: Path) -> dict[str, Any]:
    interpreter = Interpreter(str(file))
    x = np.random.default_rng(1).normal(0, 1, (1, COLUMNS)).astype(np.float32)
    return {name: interpreter.get_signature_runner(name)(x=x)["y"] for name in ("wide", "narrow")}


@pytest.mark.parametrize("same", [True, False])
def test_results_stay_and_leading_rows_are_stored_once(tmp_path: Path, same: bool) -> None:
    file = write(tmp_path, 16, same=same)
    expected = answers(file)
    compact(file, tmp_path / "small.tflite")
    found = answers(tmp_path / "small.tflite")
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    model = schema.ModelT.InitFromPackedBuf((tmp_path / "small.tflite").read_bytes())
    wide, narrow = ((buffer.offset, buffer.size) for buffer in model.buffers[1:])
    assert (wide[1], narrow[1]) == (ROWS * COLUMNS, 16 * COLUMNS)
    assert (wide[0] == narrow[0]) is same
    assert all(offset % 64 == 0 for offset, _ in (wide, narrow))


def test_names_are_kept_where_callers_use_them(tmp_path: Path) -> None:
    file = write(tmp_path, 16, same=True)
    compact(file, file)
    subgraph = schema.ModelT.InitFromPackedBuf(file.read_bytes()).subgraphs[0]
    assert [tensor.name for tensor in subgraph.tensors] == [b"x", b"", b"", b"TANH"]


def test_it_is_done_once_and_gives_equal_bytes(tmp_path: Path) -> None:
    file = write(tmp_path, 16, same=True)
    compact(file, tmp_path / "one.tflite")
    compact(file, tmp_path / "two.tflite")
    compact(tmp_path / "one.tflite", tmp_path / "again.tflite")
    assert (tmp_path / "one.tflite").read_bytes() == (tmp_path / "two.tflite").read_bytes()
    assert (tmp_path / "one.tflite").read_bytes() == (tmp_path / "again.tflite").read_bytes()


def test_coverage_counts_products_with_weights(tmp_path: Path) -> None:
    assert matmul_coverage(write(tmp_path, 16, same=True), "narrow") == 1.0


def two_sizes(folder: Path) -> Path:
    """Signatures of 8 and 16 rows: x -> linear -> tanh -> linear, plus x. Tensors are called ROWS.NUMBER."""
    weights = [np.random.default_rng(seed).normal(0, 1, (COLUMNS, COLUMNS)) for seed in (0, 1)]
    writer = TableWriter(int8=False)
    for rows in (8, 16):
        writer.start()
        shape = (rows, COLUMNS)
        x = writer.tensor("x", shape)
        inner = writer.apply("TANH", [writer.linear(x, weights[0], shape)], shape)
        y = writer.apply("ADD", [x, writer.linear(inner, weights[1], shape)], shape)
        writer.finish(f"graph_{rows}", {"x": x}, {"y": y})
        for number, tensor in enumerate(writer.graph.tensors):
            tensor.name = f"{rows}.{number}".encode()
    file = folder / "model.tflite"
    file.write_bytes(writer.to_bytes())
    return file


def test_linears_that_a_sum_reads(tmp_path: Path) -> None:
    # x, weight, linear, tanh, weight, linear, sum
    assert residual_linears(two_sizes(tmp_path)) == ["8.5", "16.5"]


def test_tensors_at_the_same_place_of_two_sizes(tmp_path: Path) -> None:
    twins = twin_tensors(two_sizes(tmp_path), ["graph_8", "graph_16"])
    assert {tuple(names) for names in twins if names} == {(f"8.{number}", f"16.{number}") for number in range(7)}
    with pytest.raises(ValueError, match="longer"):
        twin_tensors(uneven(tmp_path), ["a", "b"])


def uneven(folder: Path) -> Path:
    """A signature of one operator, and one of two."""
    writer = TableWriter(int8=False)
    for name, times in (("a", 1), ("b", 2)):
        writer.start()
        x = y = writer.tensor("x", (1, COLUMNS))
        for _ in range(times):
            y = writer.apply("TANH", [y], (1, COLUMNS))
        writer.finish(name, {"x": x}, {"y": y})
    file = folder / "uneven.tflite"
    file.write_bytes(writer.to_bytes())
    return file
