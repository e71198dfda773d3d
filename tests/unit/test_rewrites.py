"""Graphs rewritten for speed: the forms that onnxruntime runs well are there, and the answers are torch's."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch

from sharcs_edge.export.plan import make_module, plan_graphs
from sharcs_edge.model.configuration import SharcsEncoderConfig
from sharcs_edge.model.encoder import SharcsForSequenceClassification
from sharcs_edge_exporters.onnx import OnnxExporter, export_graph, write_model

HIDDEN, LAYERS = 32, 2
ONE_HEAD, HALF, FULL = "tail_w025", "tail_w050", "tail_w100"


@pytest.fixture(scope="module")
def model() -> SharcsForSequenceClassification:
    torch.manual_seed(0)
    config = SharcsEncoderConfig(
        vocab_size=50,
        max_positions=32,
        hidden_size=HIDDEN,
        embedding_size=HIDDEN,
        num_layers=LAYERS + 1,
        num_heads=4,
        intermediate_size=64,
        widths=[0.25, 0.5, 1.0],
        trunk_layers=1,
        narrow_head="own",
        router_hidden_size=16,
    )
    model = SharcsForSequenceClassification(config)
    model.eval()
    return model


@dataclass(frozen=True)
class Exported:
    file: Path
    module: torch.nn.Module


@pytest.fixture(scope="module")
def graphs(model: SharcsForSequenceClassification, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Exported]:
    folder, slices, done = tmp_path_factory.mktemp("graphs"), model.config.slices, {}
    for plan in plan_graphs(model.config, 2, slices, OnnxExporter()):
        module = make_module(model, plan, slices)
        write_model(export_graph(plan, module), folder / plan.file, plan.name)
        done[plan.name] = Exported(folder / plan.file, module)
    return done


def operators(file: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(file).graph.node)


def feeds(rows: int, tokens: int, hidden: bool) -> dict[str, np.ndarray]:
    """Right-padded rows, the first one full."""
    rng = np.random.default_rng(0)
    lengths = np.maximum(tokens - np.arange(rows) * 2, 1)
    mask = (np.arange(tokens)[None, :] < lengths[:, None]).astype(np.int64)
    if hidden:
        return {"hidden": rng.normal(size=(rows, tokens, HIDDEN)).astype(np.float32), "attention_mask": mask}
    ids = rng.integers(1, 50, size=(rows, tokens)) * mask
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


@pytest.mark.parametrize("name", ["trunk", ONE_HEAD, HALF, FULL])
@pytest.mark.parametrize(("rows", "tokens"), [(1, 1), (1, 7), (3, 7), (7, 3)])
def test_rewritten_graphs_answer_as_torch_does(graphs: dict[str, Exported], name: str, rows: int, tokens: int) -> None:
    file, module = graphs[name].file, graphs[name].module
    inputs = feeds(rows, tokens, hidden=name != "trunk")
    with torch.no_grad():
        expected = module(*(torch.from_numpy(array) for array in inputs.values()))
    found = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]).run(None, inputs)
    for ours, theirs in zip(found, expected if isinstance(expected, tuple) else (expected,), strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=2e-6)


def test_one_head_is_neither_split_nor_joined(graphs: dict[str, Exported]) -> None:
    file = graphs[ONE_HEAD].file
    count = operators(file)
    assert count["Reshape"] == 0
    assert count["Transpose"] == LAYERS  # of the keys, which the product reads in place


def test_narrow_projections_are_one_product(graphs: dict[str, Exported]) -> None:
    one_head = graphs[ONE_HEAD].file
    # 3 * 8 columns for query, key and value are fewer than the 32 they read; of two heads, only key and value are.
    assert operators(one_head)["Split"] == LAYERS
    weights = {tensor.name: tensor.dims for tensor in onnx.load(one_head).graph.initializer}
    first = "+".join(f"layers.0.attention.{part}" for part in ("query", "key", "value"))
    assert weights[f"{first}.weight"] == [HIDDEN, 24]
    half = graphs[HALF].file
    assert operators(half)["Split"] == 1  # the last layer, where the query reads the first token alone
    full = graphs[FULL].file
    assert operators(full)["Split"] == 0


def test_products_read_heads_in_place(graphs: dict[str, Exported], tmp_path: Path) -> None:
    file = graphs[FULL].file
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    # One at the entry, and one per layer where heads are joined.
    assert operators(tmp_path / "optimized.onnx")["Transpose"] == 1 + LAYERS


@pytest.mark.parametrize("name", ["trunk", ONE_HEAD])
def test_means_are_products_with_the_mask(graphs: dict[str, Exported], name: str) -> None:
    file = graphs[name].file
    # What is left sums the mask itself.
    assert operators(file)["ReduceSum"] == 1


def test_inputs_and_outputs_keep_their_names_and_shapes(graphs: dict[str, Exported]) -> None:
    file = graphs["trunk"].file
    graph = ir.load(file).graph
    shapes = {str(value.name): [str(size) for size in value.shape or ()] for value in graph.outputs}
    assert shapes == {"hidden": ["batch", "tokens", "32"], "router_logits": ["batch", "3"]}
