"""Hugging Face Optimum: its quantization configurations are followed, and it runs the graph that is written for it."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from sharcs_edge.bundle import Bundle
from sharcs_edge.errors import UsageError
from sharcs_edge.export import ExportOptions, export_bundle
from sharcs_edge.export.optimum import write_optimum
from sharcs_edge.export.optimum_config import OptimumQuantization, read_quantization
from sharcs_edge_runtime.session import Session
from tests.integration.conftest import WORDS, TinyBundle

TEXTS = [" ".join(WORDS[start : start + 5]) for start in range(0, 20, 5)]
# What AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=True) of optimum-onnx 0.1.0 saves.
CONFIG: dict[str, Any] = {
    "activations_dtype": "QUInt8",
    "activations_symmetric": False,
    "format": "QOperator",
    "is_static": False,
    "mode": "IntegerOps",
    "nodes_to_exclude": [],
    "nodes_to_quantize": [],
    "operators_to_quantize": ["Conv", "MatMul", "Attention", "LSTM", "Gather"],
    "per_channel": True,
    "reduce_range": False,
    "weights_dtype": "QInt8",
    "weights_symmetric": True,
}


def saved(folder: Path, **changes: object) -> Path:
    file = folder / "ort_config.json"
    file.write_text(json.dumps({"opset": None, "quantization": {**CONFIG, **changes}}))
    return file


def full_width(artifact: Path) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Logits (texts, labels) of the widest tail, each text alone."""
    session = Session.load(artifact, calibrated=False)
    rows = []
    for text in TEXTS:
        tokens = session.encode([text])
        hidden, _ = session.run_trunk(tokens)
        rows.append(session.run_tail(session.widths[-1], hidden, tokens.attention_mask)[0])
    return np.stack(rows)


def test_a_configuration_is_read_from_its_file_or_folder(tmp_path: Path) -> None:
    expected = OptimumQuantization("ort_config.json", per_channel=True, reduce_range=False, weight_type="int8")
    assert read_quantization(saved(tmp_path)) == read_quantization(tmp_path) == expected
    assert read_quantization(saved(tmp_path, weights_dtype="QUInt8")).weight_type == "uint8"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"is_static": True}, "is_static=False"),
        ({"per_channel": "yes"}, "per_channel is 'yes'"),
        ({"weights_dtype": "QInt4"}, "'QInt4', expected QInt8 or QUInt8"),
        ({"activations_dtype": "QInt8"}, "expected QUInt8"),
        ({"weights_symmetric": False}, "symmetric weights"),
        ({"nodes_to_exclude": ["/classifier/MatMul"]}, "names are those of another graph"),
        ({"operators_to_quantize": ["Gather"]}, "without MatMul"),
    ],
)
def test_what_cannot_be_followed_is_refused(tmp_path: Path, changes: dict[str, object], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        read_quantization(saved(tmp_path, **changes))


@pytest.mark.parametrize("content", ["{", "[]", '{"quantization": null}', '{"quantization": {}}'])
def test_other_files_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "ort_config.json").write_text(content)
    with pytest.raises(UsageError, match=r"ort_config\.json.*ORTConfig.*save_pretrained"):
        read_quantization(tmp_path)


@pytest.mark.parametrize("layout", ["separate", "shared"])
def test_the_joined_graph_is_the_full_width(tiny_bundle: TinyBundle, tmp_path: Path, layout: Any) -> None:
    bundle = tiny_bundle("bert")
    asked = read_quantization(saved(tmp_path, reduce_range=True))
    report = export_bundle(bundle, tmp_path / "a", ExportOptions("x86-64-vnni", quantization=asked, layout=layout))
    for graph in report.manifest.graphs:
        assert graph.quantization.recipe == "int8_dynamic" and graph.quantization.options["reduce_range"] is True
    folder = write_optimum(Bundle.open(bundle), tmp_path / "a", tmp_path / "optimum")
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["logits"]
    encoder = Session.load(tmp_path / "a").encoder
    rows = []
    for text in TEXTS:
        tokens = encoder.batch([encoder.encode(text)])
        feeds = {name: value for name, value in tokens._asdict().items() if value is not None}
        rows.append(session.run(None, feeds)[0][0])
    np.testing.assert_allclose(np.stack(rows), full_width(tmp_path / "a"), rtol=0, atol=1e-5)


def test_other_folders_are_not_replaced(tiny_bundle: TinyBundle, tmp_path: Path) -> None:
    bundle = tiny_bundle("bert")
    artifact = export_bundle(bundle, tmp_path / "a", ExportOptions("x86-64-vnni")).artifact
    with pytest.raises(UsageError, match="holds other files"):
        write_optimum(Bundle.open(bundle), artifact, artifact, overwrite=True)


_PROGRAM = """
import json, sys
import torch
from optimum.onnxruntime import AutoQuantizationConfig, ORTConfig, ORTModelForSequenceClassification
from transformers import AutoTokenizer
config, model, *texts = sys.argv[1:]
ORTConfig(quantization=AutoQuantizationConfig.avx2(is_static=False, per_channel=True)).save_pretrained(config)
if model:
    tokenizer = AutoTokenizer.from_pretrained(model)
    loaded = ORTModelForSequenceClassification.from_pretrained(model)
    rows = [loaded(**tokenizer(text, return_tensors="pt")).logits[0].tolist() for text in texts]
    print(json.dumps({"labels": loaded.config.id2label, "logits": rows}))
"""


@pytest.mark.slow
def test_optimum_itself(tiny_bundle: TinyBundle, tmp_path: Path) -> None:
    """In an environment of its own, which borrows what is large and fits (torch, onnxruntime) from this one."""
    environment, bundle = tmp_path / "environment", tiny_bundle("bert")
    venv.create(environment, with_pip=True)
    python = str(environment / "bin" / "python")
    purelib = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    (environment / purelib / "host.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = [python, "-m", "pip", "install", "--quiet", "optimum-onnx==0.1.0"]
    installed = subprocess.run(install, capture_output=True, text=True)
    if installed.returncode:
        pytest.skip(f"optimum-onnx cannot be installed: {installed.stderr.strip().splitlines()[-1]}")

    def run(model: str) -> Any:
        command = [python, "-c", _PROGRAM, str(tmp_path / "config"), model, *TEXTS]
        result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout) if model else None

    run("")
    asked = read_quantization(tmp_path / "config")
    assert asked == OptimumQuantization("ort_config.json", per_channel=True, reduce_range=False, weight_type="uint8")
    artifact = export_bundle(bundle, tmp_path / "artifact", ExportOptions("x86-64-vnni", quantization=asked)).artifact
    answer = run(str(write_optimum(Bundle.open(bundle), artifact, tmp_path / "optimum")))
    assert tuple(answer["labels"].values()) == Session.load(artifact).labels
    np.testing.assert_allclose(answer["logits"], full_width(artifact), rtol=0, atol=1e-4)
