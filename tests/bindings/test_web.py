"""An artifact's ONNX graphs in ONNX Runtime Web (WebAssembly) under node: what `verify` asks of the native runtime."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sharcs_edge.export import ExportOptions, export_bundle
from sharcs_edge_runtime.manifest import Manifest
from tests.bindings.support import DATA, Bindings, program, run
from tests.integration.conftest import write_tiny_bundle

SCRIPT = Path(__file__).parent / "web" / "answer.mjs"


@pytest.fixture(scope="module", params=["classification", "shared", "int8"])
def artifact(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, bindings: Bindings) -> Path:
    """Two of the C runtime's artifacts, the second with its weights in a file of their own; an export for a device."""
    if request.param != "int8":
        return DATA / str(request.param)
    folder = tmp_path_factory.mktemp("web")
    bundle = write_tiny_bundle(folder / "bundle", "bert")
    return export_bundle(bundle, folder / "artifact", ExportOptions("rpi4")).artifact


def test_answers_as_torch_does(artifact: Path, bindings: Bindings, tmp_path: Path) -> None:
    # node looks for packages above the script.
    script = tmp_path / "answer.mjs"
    shutil.copyfile(SCRIPT, script)
    (tmp_path / "node_modules").symlink_to(bindings.tool("node_modules/onnxruntime-web").parent)
    manifest = Manifest.parse((artifact / "manifest.json").read_bytes())
    names = [tensor.name for tensor in manifest.trunk.inputs]
    with np.load(artifact / "golden.npz") as golden:
        arrays = {name: golden[name] for name in (*names, "logits", "routes")}
    lengths = arrays["attention_mask"].sum(axis=1)
    rows = [
        {name: arrays[name][row, :length].tolist() for name in names} for row, length in enumerate(lengths.tolist())
    ]
    printed = run([program("node"), script, artifact], stdin=json.dumps(rows)).stdout
    answers: list[dict[str, Any]] = json.loads(printed)

    logits = np.array([answer["logits"] for answer in answers]).swapaxes(0, 1)  # (widths, rows, labels)
    routes = np.argmax([answer["router_logits"] for answer in answers], axis=1)
    limits = manifest.tolerance
    assert np.abs(logits - arrays["logits"]).max() <= limits.logits
    agreement = (logits.argmax(axis=-1) == arrays["logits"].argmax(axis=-1)).mean(axis=1)
    assert agreement.min() >= limits.label_agreement
    assert (routes == arrays["routes"]).mean() >= limits.route_agreement
