"""Export to TFLite: the real converter and quantizer, run by LiteRT."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("litert_torch")

from ai_edge_litert import schema_py_generated as schema

from sharcs_edge.errors import ExportError
from sharcs_edge.export import ExportOptions, export_bundle, plan_export
from sharcs_edge_exporters.tflite import FILE, TfliteExporter
from sharcs_edge_runtime.session import Session
from tests.integration.conftest import TinyBundle, sentences

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bundle(tiny_bundle: TinyBundle) -> Path:
    """One layer in the trunk, one in the tails; examples of at most 24 tokens."""
    return tiny_bundle("bert", widths=(0.5, 1.0), rows=12)


@pytest.fixture(scope="module")
def artifact(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = ExportOptions("rpi4", backend="tflite", embeddings="int8")
    return export_bundle(bundle, tmp_path_factory.mktemp("tflite") / "artifact", options).artifact


def test_the_plan_has_buckets_by_the_data(bundle: Path) -> None:
    plan = plan_export(bundle, ExportOptions("rpi4", backend="tflite"))
    assert plan.buckets is not None
    assert plan.buckets[-1] == 48
    assert {graph.file for graph in plan.graphs} == {FILE}
    assert {spec.dtype for spec in plan.graphs[0].inputs} == {"int32"}


def test_what_ships_agrees_with_torch_and_says_what_it_is(artifact: Path, tmp_path: Path) -> None:
    session = Session.load(artifact, weight_cache=tmp_path)  # export checked parity: it is there
    manifest = session.manifest
    assert (manifest.backend, session.engine) == ("tflite", "litert")
    trunk, narrow, full = (graph.quantization for graph in manifest.graphs)
    assert trunk.recipe == narrow.recipe == full.recipe == "int8_dynamic"
    assert trunk.matmul_coverage == 0.75  # 6 of 8 linears: the router's stay float32
    assert narrow.matmul_coverage == full.matmul_coverage == 1.0
    assert trunk.options["embeddings"] == "int8"
    assert full.options == {"per_channel": True, "weight_type": "int8", "activation_type": "int8"}
    assert not [file for file in artifact.iterdir() if file.name.startswith(".")]  # the cache of the check is gone
    assert b"sharcs_edge" not in (artifact / FILE).read_bytes()  # no module names


def test_padding_and_company_change_no_answer(artifact: Path, tmp_path: Path) -> None:
    session = Session.load(artifact, weight_cache=tmp_path)
    texts = sentences(12, seed=9)
    alone, batch = [session.predict(text) for text in texts], session.predict_batch(texts)
    assert [(one.label, one.width) for one in alone] == [(one.label, one.width) for one in batch]
    assert [one.scores for one in alone] == [pytest.approx(one.scores, abs=1e-5) for one in batch]


def test_a_graph_that_cannot_be_joined_says_so(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="TFLite graphs are not joined; export with --backend onnx"):
        TfliteExporter().join(tmp_path, tmp_path, tmp_path)


def test_static_scales(bundle: Path, artifact: Path, tmp_path: Path) -> None:
    """One linear of a layer, and the head's, give int8; what residual sums read keeps a scale per token."""
    texts = tmp_path / "train.jsonl"
    texts.write_text("".join(json.dumps({"text": text}) + "\n" for text in sentences(16, seed=4)), encoding="utf-8")
    options = ExportOptions("rpi4", backend="tflite", quantization="int8_static", calibration_data=str(texts))
    report = export_bundle(bundle, tmp_path / "static", options)  # parity holds
    assert {graph.quantization.recipe for graph in report.manifest.graphs} == {"int8_static"}
    assert report.manifest.graphs[0].quantization.matmul_coverage == 0.75
    static, dynamic = (quantize_count(folder / FILE) for folder in (tmp_path / "static", artifact))
    assert static > dynamic == 0
    session = Session.load(tmp_path / "static", weight_cache=tmp_path)
    for text in sentences(6, seed=9):
        alone, (beside, _) = session.predict(text), session.predict_batch([text, "kaba " * 40])
        assert alone.scores == pytest.approx(beside.scores, abs=1e-5)


def quantize_count(file: Path) -> int:
    """How often the graphs of a file make integers of floats."""
    model = schema.ModelT.InitFromPackedBuf(file.read_bytes())
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    return sum(
        codes[operator.opcodeIndex] == schema.BuiltinOperator.QUANTIZE
        for subgraph in model.subgraphs
        for operator in subgraph.operators
    )
