"""Export to TFLite: the real converter and quantizer, run by LiteRT."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("litert_torch")

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
