"""Exports with smaller embeddings: tables of integers, and a vocabulary trimmed to given texts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from sharcs_edge.device import EmbeddingType, load_device
from sharcs_edge.errors import DataError
from sharcs_edge.export import ExportOptions, ExportReport, export_bundle, plan_export
from sharcs_edge_runtime import Session

TinyBundle = Callable[..., Path]
KEPT = ("kaba lofi", "kabade lofi mita", "rota !")  # "kabade" is read as "kaba ##de"


@pytest.fixture
def texts(tmp_path: Path) -> str:
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in KEPT), encoding="utf-8")
    return str(file)


def export(bundle: Path, folder: Path, embeddings: EmbeddingType | None, **options: str) -> ExportReport:
    chosen = ExportOptions("rpi4", (1.0,), quantization="none", embeddings=embeddings, **options)  # type: ignore[arg-type]
    return export_bundle(bundle, folder, chosen)


def logits(report: ExportReport, text: str) -> np.ndarray:
    session = Session.load(report.artifact)
    tokens = session.encoder.batch([session.encoder.encode(text)])
    hidden, _ = session.run_trunk(tokens)
    answer: np.ndarray = session.run_tail(1.0, hidden, tokens.attention_mask)
    return answer


@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_embeddings_alone_are_quantized(kind: EmbeddingType, tiny_bundle: TinyBundle, tmp_path: Path) -> None:
    report = export(tiny_bundle(), tmp_path / "artifact", kind)
    trunk, tail = report.manifest.graphs
    assert (trunk.quantization.recipe, dict(trunk.quantization.options)) == ("none", {"embeddings": kind})
    assert (tail.quantization.recipe, dict(tail.quantization.options)) == ("none", {})
    assert report.float_parity is not None and report.float_parity.tolerance.logits == 1e-4
    assert report.manifest.tolerance.logits > 1e-4
    assert max(check.max_abs_diff for check in report.parity.widths) > 1e-4
    model = onnx.load(report.artifact / "trunk.onnx", load_external_data=False)
    onnx.checker.check_model(str(report.artifact / "trunk.onnx"), full_check=True)
    names = {tensor.name for tensor in model.graph.initializer}
    assert {"embeddings.words.codes", "embeddings.positions.codes"} <= names
    assert not {"embeddings.words.weight", "embeddings.positions.weight"} & names
    assert f"float32, {kind} embeddings" in (report.artifact / "README.md").read_text(encoding="utf-8")


def test_what_is_left_out_follows_the_preset() -> None:
    device = load_device("rpi4")
    usual = device.preset("onnx").embeddings
    assert ExportOptions("rpi4").preset(device).embeddings == usual
    assert ExportOptions("rpi4", quantization="none").preset(device).recipe == "none"
    int4 = ExportOptions("rpi4", quantization="none", embeddings="int4").preset(device)
    assert int4.recipe == "int4 embeddings"
    assert ExportOptions("rpi4", embeddings="int4").preset(device).recipe == "int8_dynamic with int4 embeddings"


@pytest.mark.parametrize("model_type", ["bert", "roberta"])
def test_a_trimmed_artifact_answers_as_before(
    model_type: str, tiny_bundle: TinyBundle, texts: str, tmp_path: Path
) -> None:
    whole = export(tiny_bundle(model_type), tmp_path / "whole", None)
    trimmed = export(tiny_bundle(model_type), tmp_path / "trimmed", None, trim_vocab=texts)
    assert whole.manifest.tokenizer.trimmed_from is None
    vocabulary = trimmed.manifest.tokenizer
    assert vocabulary.trimmed_from == 54
    assert vocabulary.pad_id == (1 if model_type == "roberta" else 0)
    assert trimmed.bytes < whole.bytes
    for text in (*KEPT, "mita lofi kaba", "rotade"):
        np.testing.assert_array_equal(logits(trimmed, text), logits(whole, text))
    session = Session.load(trimmed.artifact)
    assert session.predict("kago pelu 7 ü").label in session.labels
    assert "of the source model's 54 tokens" in (trimmed.artifact / "README.md").read_text(encoding="utf-8")


def test_a_plan_knows_the_trimmed_size(tiny_bundle: TinyBundle, texts: str) -> None:
    whole = plan_export(tiny_bundle(), ExportOptions("rpi4", quantization="none"))
    plan = plan_export(tiny_bundle(), ExportOptions("rpi4", quantization="none", trim_vocab=texts))
    assert plan.vocabulary is not None
    assert whole.to_dict()["vocabulary"] is None
    assert plan.to_dict()["vocabulary"] == {"tokens": len(plan.vocabulary.kept), "trimmed_from": 54}
    assert whole.graph_bytes[0] - plan.graph_bytes[0] == 4 * 24 * (60 - len(plan.vocabulary.kept))


def test_texts_that_cannot_be_read(tiny_bundle: TinyBundle, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        plan_export(tiny_bundle(), ExportOptions("rpi4", trim_vocab=str(tmp_path / "nowhere.jsonl")))
