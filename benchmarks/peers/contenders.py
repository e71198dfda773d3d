"""Who is measured: the engines, how their models are made, and what files those are."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import processes
from benchmarks.peers.case import Case
from benchmarks.peers.environments import environment
from benchmarks.peers.processes import EngineError
from sharcs_edge.calibrate.run import calibrate
from sharcs_edge.errors import SharcsEdgeError
from sharcs_edge.export import ExportOptions, export_bundle
from sharcs_edge.latency import find_timing
from sharcs_edge_runtime.artifact import Artifact, file_sha256, staged_folder
from sharcs_edge_runtime.latency import LatencyTable
from sharcs_edge_runtime.manifest import Manifest
from sharcs_edge_runtime.operating_points import OperatingPoints
from sharcs_edge_runtime.profile import profile, save
from sharcs_edge_runtime.session import Session

_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]
_MAKES_ARTIFACTS = (
    "exporters/**/*.py",
    "sharcs_edge/export/**/*.py",
    "sharcs_edge/model/**/*.py",
    "devices/**/*.toml",
)
REFERENCE = "torch"


@dataclass(frozen=True)
class Contender:
    """One model, ready to run. ``ways``: what is timed, by title; ``flash_mb``: its files, without the tokenizer.

    ``manifest``: of ours. ``same_model``: whether it has the weights of the plain model, so that its answers should be
    those of torch.
    """

    name: str
    title: str
    module: str
    python: Path
    folder: Path
    flash_mb: float
    ways: dict[str, str]
    manifest: Manifest | None = None
    same_model: bool = True


@dataclass(frozen=True)
class Engine:
    """A peer: ``module`` of `workers/`, ``requirements`` of `requirements/` (None: this environment)."""

    title: str
    module: str
    requirements: str | None

    def prepare(self, name: str, case: Case, work: Path) -> Contender:
        """Converts the plain model. Raises EngineError."""
        python = environment(self.requirements, work)
        files = [_HERE / "workers" / f"{self.module}.py", _HERE / "workers" / "tokens.py"]
        files += [_HERE / "requirements" / f"{self.requirements}.txt"] if self.requirements else []
        folder = case.work / f"{name}-{_digest(case.source.name, files)}"
        if not folder.exists():
            print(f"converting {case.name} for {self.title}", file=sys.stderr)
            with staged_folder(folder) as staging:
                processes.convert(python, self.module, case.source, staging)
        flash = sum(file.stat().st_size for file in folder.iterdir())
        return Contender(name, self.title, self.module, python, folder, flash / 2**20, {"full": "full width"})


@dataclass(frozen=True)
class Ours:
    """An artifact: of the plain model, or of the nested one, with its widths and its routing."""

    title: str
    backend: str
    requirements: str | None
    nested: bool

    def prepare(self, name: str, case: Case, work: Path) -> Contender:
        """Exports and, of a nested model, calibrates. Raises EngineError."""
        bundle = case.nested if self.nested else case.plain
        sources = [file for pattern in _MAKES_ARTIFACTS for file in sorted(_ROOT.glob(pattern))]
        weights = file_sha256(bundle.path / "model.safetensors")
        digest = _digest(f"{weights} {case.target}", sources)
        folder = case.work / f"{name}-{digest}"
        try:
            if not folder.exists():
                print(f"exporting {case.name} for {self.title}", file=sys.stderr)
                export_bundle(bundle.path, folder, ExportOptions(case.target, backend=self.backend))
            if self.nested:
                _keep_promise(folder, case)
        except SharcsEdgeError as error:
            raise EngineError(str(error)) from error
        manifest = Artifact.open(folder).manifest
        ways = {"full": "full width"}
        if self.nested:
            ways |= {f"width {width:g}": f"width {width:.3g} alone" for width in manifest.widths[:-1]}
            ways["routed"] = "routed"
        files = [*folder.glob("*.onnx"), *folder.glob("*.tflite"), *folder.glob("weights.bin")]
        flash = sum(file.stat().st_size for file in files) / 2**20
        python = environment(self.requirements, work)
        return Contender(name, self.title, "ours", python, folder, flash, ways, manifest, not self.nested)


def _keep_promise(folder: Path, case: Case) -> None:
    """Profiles the artifact here and calibrates it by these times, unless it is calibrated for the case's promise."""
    artifact = Artifact.open(folder)
    measured = LatencyTable.load(artifact) is not None
    if not measured:
        save(folder, profile(folder))
    points = OperatingPoints.load(artifact)
    asked = (case.promise.max_drop, case.promise.confidence)
    if not measured or points is None or (points.max_drop, points.confidence) != asked:
        session = Session.load(folder, calibrated=False)
        texts = [example.inputs for example in case.dev]
        calibrate(session, texts, case.dev.labels, case.promise, timing=find_timing(artifact, None))


def _digest(text: str, files: list[Path]) -> str:
    return hashlib.sha256(b"\0".join([text.encode(), *(file.read_bytes() for file in files)])).hexdigest()[:10]


Preparation = Callable[[str, Case, Path], Contender]
CONTENDERS: dict[str, Engine | Ours] = {
    REFERENCE: Engine("torch float32", "torch_float32", None),
    "torch-int8": Engine("torch int8", "torch_int8", None),
    "onnxruntime": Engine("ONNX Runtime int8, default export", "onnxruntime", "onnxruntime"),
    "executorch": Engine("ExecuTorch int8", "executorch", "executorch"),
    "openvino": Engine("OpenVINO int8", "openvino", "openvino"),
    "litert": Engine("LiteRT int8", "litert", "litert"),
    "plain-onnx": Ours("ours (ONNX Runtime), plain model", "onnx", "ours", nested=False),
    "plain-tflite": Ours("ours (LiteRT), plain model", "tflite", "ours_litert", nested=False),
    "nested-onnx": Ours("ours (ONNX Runtime)", "onnx", "ours", nested=True),
    "nested-tflite": Ours("ours (LiteRT)", "tflite", "ours_litert", nested=True),
}
