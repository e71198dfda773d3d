"""Exports that must not happen, or end half-way: one clear error each, and nothing left behind."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import nn

from sharcs_edge.device import FOLDER_VARIABLE, Preset
from sharcs_edge.errors import (
    BundleError,
    DeviceError,
    ExportError,
    MissingDependencyError,
    ParityError,
    SharcsEdgeError,
    UsageError,
    WidthError,
)
from sharcs_edge.export import ExportOptions, export_bundle, exporter
from sharcs_edge_exporters.onnx import OnnxExporter

TinyBundle = Callable[..., Path]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"widths": (0.3, 0.75, 1.0)}, WidthError, r"has no width 0\.3, 0\.75; it was trained with 0\.166667, 0\.5, 1"),
        ({"widths": ()}, WidthError, "no widths given"),
        ({"target": "rpi44"}, DeviceError, "did you mean rpi4"),
        ({"backend": "onyx"}, DeviceError, 'no preset for the backend "onyx"'),
    ],
)
def test_refusals_before_anything_is_written(
    arguments: dict[str, Any], error: type[UsageError], message: str, tiny_bundle: TinyBundle, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message) as caught:
        export_bundle(tiny_bundle(), tmp_path / "new" / "artifact", ExportOptions(**({"target": "rpi4"} | arguments)))
    assert caught.value.exit_code == 2
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="not a complete bundle"):
        export_bundle(tmp_path, tmp_path / "artifact", ExportOptions("rpi4"))


def test_a_bundle_without_examples(tiny_bundle: TinyBundle, tmp_path: Path) -> None:
    bundle = shutil.copytree(tiny_bundle(), tmp_path / "bundle")
    (bundle / "examples.jsonl").write_text("")
    with pytest.raises(ExportError, match="holds no examples"):
        export_bundle(bundle, tmp_path / "artifact", ExportOptions("rpi4"))
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_an_unknown_backend_names_those_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = EntryPoints([EntryPoint("onnx", "m:C", "g"), EntryPoint("tflite", "m:C", "g")])
    monkeypatch.setattr(exporter, "entry_points", lambda group: installed)
    with pytest.raises(UsageError, match="unknown backend 'onyx'; installed: onnx, tflite"):
        exporter.load_exporter("onyx")


def test_a_backend_without_its_libraries_says_how_to_install_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx_ir", None)
    monkeypatch.delitem(sys.modules, "sharcs_edge_exporters.onnx", raising=False)
    with pytest.raises(MissingDependencyError, match=r'onnx_ir.*: pip install "sharcs-edge\[export\]"'):
        exporter.load_exporter("onnx")


def test_an_engine_that_the_target_must_not_use(
    tiny_bundle: TinyBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = '[[blocked]]\npackage = "onnxruntime"\nversions = ">=1"\nreason = "stops"\nsource = "a test"\n'
    (tmp_path / "kiosk.toml").write_text(f'extends = "rpi4"\nname = "kiosk"\ntitle = "K"\nsummary = "K"\n{blocked}')
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(DeviceError, match=r"onnxruntime \S+ must not be used on kiosk \(stops\).*'onnxruntime!=1\."):
        export_bundle(tiny_bundle(), tmp_path / "artifact", ExportOptions("kiosk"))
    assert not (tmp_path / "artifact").exists()


def test_graphs_over_two_gigabytes_are_refused() -> None:
    with torch.device("meta"):
        module = nn.Linear(30_000, 30_000)
    with pytest.raises(
        ExportError, match=r"tail_w100 has 3\.6 GB of float32 weights and an \.onnx file holds at most 2"
    ):
        OnnxExporter().estimate("tail_w100", module, Preset("none", "a test"))


def tamper(monkeypatch: pytest.MonkeyPatch, method: str, file: str, initializer: str) -> None:
    """Makes a step of the exporter write another weight than the model's."""
    original = getattr(OnnxExporter, method)

    def wrong(self: OnnxExporter, *arguments: Any) -> Any:
        result = original(self, *arguments)
        folder = arguments[1] if method == "export" else arguments[2]
        model = onnx.load(folder / file)
        tensor = next(tensor for tensor in model.graph.initializer if tensor.name == initializer)
        array = onnx.numpy_helper.to_array(tensor)
        wrong_array = array + 100 * (array == array.min())
        tensor.CopyFrom(onnx.numpy_helper.from_array(wrong_array.astype(array.dtype), initializer))
        onnx.save(model, folder / file)
        return result

    monkeypatch.setattr(OnnxExporter, method, wrong)


@pytest.mark.parametrize(
    ("method", "widths", "file", "initializer", "message"),
    [
        (
            "export",
            (0.5,),
            "tail_w050.onnx",
            "head.classifier.bias",
            r"float32 graphs, before any quantization, failed parity with torch: "
            r"tail_w050: max abs logit difference \S+ > 1e-04 \(golden row \d+\)",
        ),
        ("export", (0.5, 1.0), "trunk.onnx", "router_output.bias", r"trunk: route agreement with torch 0\S* < 1 "),
        (
            "quantize",
            (1.0,),
            "tail_w100.onnx",
            "head.classifier.bias",
            r"the int8_dynamic with int8 embeddings artifact failed parity.*tail_w100",
        ),
    ],
)
def test_a_wrong_graph_fails_parity_and_leaves_nothing(
    method: str,
    widths: tuple[float, ...],
    file: str,
    initializer: str,
    message: str,
    tiny_bundle: TinyBundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tamper(monkeypatch, method, file, initializer)
    with pytest.raises(ParityError, match=message) as caught:
        export_bundle(tiny_bundle(), tmp_path / "artifact", ExportOptions("rpi4", widths=widths))
    assert caught.value.exit_code == 3
    assert not list(tmp_path.iterdir())


def test_an_interrupted_export_leaves_the_old_artifact(tiny_bundle: TinyBundle, tmp_path: Path) -> None:
    old = tmp_path / "artifact"
    old.mkdir()
    (old / "manifest.json").write_text("the old one")
    seen: list[str] = []

    def interrupt(step: str) -> None:
        seen.append(step)
        if step == "writing tail_w100":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_bundle(tiny_bundle(), old, ExportOptions("rpi4", widths=(1.0,)), overwrite=True, progress=interrupt)
    assert seen[-2:] == ["writing trunk", "writing tail_w100"]
    assert contents(tmp_path) == {"artifact/manifest.json": b"the old one"}


def test_a_full_disk_is_one_error_and_leaves_nothing(
    tiny_bundle: TinyBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bytes = Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        if self.suffix == ".onnx":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write_bytes(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(SharcsEdgeError, match=f"cannot write {tmp_path / 'artifact'}: the disk is full") as caught:
        export_bundle(tiny_bundle(), tmp_path / "artifact", ExportOptions("rpi4"))
    assert caught.value.exit_code == 1
    assert not list(tmp_path.iterdir())


def test_another_error_of_the_disk_is_a_sentence_too(
    tiny_bundle: TinyBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Path, data: bytes) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(SharcsEdgeError, match=r"cannot write .*: Input/output error"):
        export_bundle(tiny_bundle(), tmp_path / "artifact", ExportOptions("rpi4"))
    assert not list(tmp_path.iterdir())


def test_an_artifact_is_replaced_only_when_asked(tiny_bundle: TinyBundle, tmp_path: Path) -> None:
    output = tmp_path / "artifact"
    output.mkdir()
    (output / "manifest.json").write_text("the old one")
    (output / "latency.json").write_text("measured on the old one")
    before = contents(tmp_path)
    with pytest.raises(UsageError, match="exists and is not empty"):
        export_bundle(tiny_bundle(), output, ExportOptions("rpi4", widths=(1.0,)))
    assert contents(tmp_path) == before
    report = export_bundle(tiny_bundle(), output, ExportOptions("rpi4", widths=(1.0,)), overwrite=True)
    assert {"trunk.onnx", "tail_w100.onnx"} < set(contents(output))
    assert "latency.json" not in contents(output)
    assert report.artifact == output


def test_overwriting_never_takes_other_files(tiny_bundle: TinyBundle, tmp_path: Path) -> None:
    bundle = shutil.copytree(tiny_bundle(), tmp_path / "bundle")
    before = contents(tmp_path)
    for output in (bundle, tmp_path):
        with pytest.raises(UsageError, match="holds the bundle"):
            export_bundle(bundle, output, ExportOptions("rpi4"), overwrite=True)
    with pytest.raises(UsageError, match="holds other files than an artifact's"):
        export_bundle(tiny_bundle(), bundle, ExportOptions("rpi4"), overwrite=True)
    assert contents(tmp_path) == before
