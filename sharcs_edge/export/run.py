"""A bundle becomes an artifact: float32 graphs, parity, quantization, parity again, then one rename."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from sharcs_edge.bundle import TOKENIZER_FILE, Bundle
from sharcs_edge.errors import BundleError, DataError, InputError, ParityError, SharcsEdgeError, UsageError
from sharcs_edge.export.card import CARD_FILE, model_card, public_name
from sharcs_edge.export.exporter import GraphPlan
from sharcs_edge.export.options import ExportOptions
from sharcs_edge.export.plan import ExportPlan, make_module, plan_export
from sharcs_edge.parity import check, golden_rows, tolerance_of
from sharcs_edge_runtime.artifact import file_reference, file_sha256, staged_folder
from sharcs_edge_runtime.golden import Golden
from sharcs_edge_runtime.manifest import (
    MANIFEST_NAME,
    SCHEMA_VERSION,
    Graph,
    Manifest,
    Quantization,
    Tokenizer,
)
from sharcs_edge_runtime.tokenization import TextEncoder, TokenBatch
from sharcs_edge_runtime.verify import VerifyReport
from sharcs_edge_runtime.version import __version__

if TYPE_CHECKING:
    from torch import nn

    from sharcs_edge.model.configuration import SharcsEncoderConfig
    from sharcs_edge.model.encoder import SharcsForSequenceClassification

GOLDEN_FILE = "golden.npz"
Progress = Callable[[str], None]


@dataclass(frozen=True)
class ExportReport:
    """What an export wrote and how it agrees with torch.

    ``float_parity`` is that of the graphs before quantization; None if the artifact itself is float32.
    """

    artifact: Path
    manifest: Manifest
    parity: VerifyReport
    float_parity: VerifyReport | None
    seconds: float

    @property
    def bytes(self) -> int:
        """Size of all files that the manifest names."""
        return sum(file.bytes for file in self.manifest.all_files)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {
            "artifact": str(self.artifact),
            "bytes": self.bytes,
            "seconds": self.seconds,
            "manifest": asdict(self.manifest),
            "parity": self.parity.to_dict(),
            "float_parity": None if self.float_parity is None else self.float_parity.to_dict(),
        }


def export_bundle(
    bundle_path: str | Path,
    output: str | Path,
    options: ExportOptions,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ExportReport:
    """Writes the artifact of a bundle for a target; it appears under ``output`` only if parity holds.

    The float32 graphs are checked first, to rounding, so that a fault of the exporter is not taken for quantization
    noise; then the files that ship, within the tolerance that the manifest states.

    Args:
        output: the artifact's folder.
        overwrite: replaces an artifact that is there, at the very end.
        progress: called with a few words before each step.

    Raises:
        ParityError: the graphs do not answer as torch does; the message holds the numbers.
        ExportError: a graph cannot be written or quantized, or the bundle has no examples.
        SharcsEdgeError: the disk is full or ``output`` cannot be written.
        UsageError: ``output`` is an artifact and ``overwrite`` was not asked for, or it holds other files.
        Besides, whatever :func:`plan_export` raises.
    """
    start = perf_counter()
    plan = plan_export(bundle_path, options)
    final = Path(output)
    try:
        _check_output(final, plan.bundle)
        with staged_folder(final, overwrite) as staging:
            manifest, parity, float_parity = _build(plan, staging, progress or (lambda message: None))
    except OSError as error:
        raise SharcsEdgeError(f"cannot write {final}: {error.strerror or error}") from error
    here = str(final.resolve())
    return ExportReport(
        artifact=final.resolve(),
        manifest=manifest,
        parity=replace(parity, artifact=here),
        float_parity=None if float_parity is None else replace(float_parity, artifact=here),
        seconds=perf_counter() - start,
    )


def _check_output(output: Path, bundle: Bundle) -> None:
    """Overwriting is for artifacts: no other folder with files in it is replaced, least of all one with the bundle."""
    if bundle.path.resolve().is_relative_to(output.resolve()):
        raise UsageError(f"{output} holds the bundle; name another folder for the artifact")
    if output.is_dir() and any(output.iterdir()) and not (output / MANIFEST_NAME).is_file():
        raise UsageError(f"{output} holds other files than an artifact's and is not replaced; name another folder")


@dataclass(frozen=True)
class _Draft:
    """What a manifest says of any set of graph files of this export."""

    plan: ExportPlan
    config: SharcsEncoderConfig
    family: str
    tokenizer: Tokenizer
    golden: Golden

    def ship(self, folder: Path, quantizations: Mapping[str, Quantization], recipe: str) -> Manifest:
        """Lays the graphs of ``folder`` out as the preset says; writes their manifest and a model card."""
        plan = self.plan
        shared = plan.exporter.share(plan.graphs, folder) if plan.preset.layout == "shared" else ()
        manifest = self.manifest(folder, quantizations, recipe, shared)
        (folder / CARD_FILE).write_text(
            model_card(manifest, plan.bundle, plan.device, plan.vocabulary), encoding="utf-8"
        )
        manifest = replace(manifest, files=(*manifest.files, file_reference(folder / CARD_FILE)))
        (folder / MANIFEST_NAME).write_bytes(manifest.to_json())
        return manifest

    def manifest(
        self, folder: Path, quantizations: Mapping[str, Quantization], recipe: str, shared: Sequence[str] = ()
    ) -> Manifest:
        """The manifest of the graphs in ``folder``; ``shared``: files that they need besides their own."""
        plan, info = self.plan, self.plan.bundle.info
        return Manifest(
            schema_version=SCHEMA_VERSION,
            family=self.family,
            task=info.task,
            labels=info.labels,
            text_inputs=info.text_inputs,
            backend=plan.exporter.backend,
            buckets=plan.buckets,
            widths=plan.widths,
            trunk_layers=self.config.trunk_layers,
            num_layers=self.config.num_layers,
            graphs=tuple(_graph(graph, folder, quantizations[graph.name]) for graph in plan.graphs),
            tokenizer=self.tokenizer,
            golden=file_reference(folder / GOLDEN_FILE),
            files=tuple(file_reference(folder / name) for name in shared),
            target=plan.device.name,
            tolerance=tolerance_of(recipe, self.golden, info.label_scale),
            tools={"sharcs-edge": __version__, "tokenizers": version("tokenizers"), **plan.exporter.tools()},
        )


def _build(plan: ExportPlan, folder: Path, say: Progress) -> tuple[Manifest, VerifyReport, VerifyReport | None]:
    """Fills ``folder``; returns the manifest, its parity and that of the float32 graphs if they do not ship."""
    say("loading the bundle")
    model = plan.bundle.load_model()
    if plan.vocabulary is not None:
        plan.vocabulary.trim(model)
    tokenizer = _write_tokenizer(plan, model.config, folder)
    say("asking torch for the golden rows")
    encoder = TextEncoder(folder / tokenizer.file, tokenizer, plan.bundle.info.text_inputs)
    golden = golden_rows(plan.bundle, model, encoder, plan.slices)
    (folder / GOLDEN_FILE).write_bytes(golden.to_bytes())
    draft = _Draft(plan, model.config, family_id(plan.bundle), tokenizer, golden)
    as_float = {graph.name: Quantization("none", 0.0) for graph in plan.graphs}
    recipe = plan.preset.recipe
    if recipe == "none":
        plan.exporter.export(_modules(plan, model, say), folder)
        manifest = draft.ship(folder, as_float, recipe)
        say("checking the artifact against torch")
        return manifest, check(folder, "the float32 artifact"), None
    source = folder / "float32"
    source.mkdir()
    plan.exporter.export(_modules(plan, model, say), source)
    for name in (tokenizer.file, GOLDEN_FILE):
        shutil.copyfile(folder / name, source / name)
    (source / MANIFEST_NAME).write_bytes(draft.manifest(source, as_float, "none").to_json())
    say("checking the float32 graphs against torch")
    float_parity = check(source, "the float32 graphs, before any quantization,")
    say(f"quantizing: {recipe}")
    quantizations = plan.exporter.quantize(plan.graphs, source, folder, plan.preset, _calibration(plan, encoder))
    shutil.rmtree(source)
    manifest = draft.ship(folder, quantizations, recipe)
    say("checking the artifact against torch")
    try:
        return manifest, check(folder, f"the {recipe} artifact"), float_parity
    except ParityError as error:
        if recipe == "none":
            raise
        cure = (
            "use --quantization int8_dynamic, which scales activations as they come"
            if plan.calibration
            else "answers that are nearly tied, as of a model that has hardly learned, change with the rounding: train "
            "it further, or export it with --quantization none --embeddings float32"
        )
        raise ParityError(f"{error}; {cure}") from None


def _calibration(plan: ExportPlan, encoder: TextEncoder) -> list[TokenBatch]:
    """The tokens of each calibration text. DataError for one that the bundle does not take."""
    try:
        return [
            encoder.batch([encoder.encode(text, f"text {row}")]) for row, text in enumerate(plan.calibration, start=1)
        ]
    except InputError as error:
        raise DataError(f"cannot calibrate on the given texts: of those drawn, {error}") from None


def _modules(
    plan: ExportPlan, model: SharcsForSequenceClassification, say: Progress
) -> Iterator[tuple[GraphPlan, nn.Module]]:
    for graph in plan.graphs:
        say(f"writing {graph.name}")
        yield graph, make_module(model, graph, plan.slices)


def _write_tokenizer(plan: ExportPlan, config: SharcsEncoderConfig, folder: Path) -> Tokenizer:
    """``tokenizer.json`` as it is, or trimmed. BundleError if it cannot be read or has no padding token."""
    import tokenizers

    bundle, vocabulary, written = plan.bundle, plan.vocabulary, folder / TOKENIZER_FILE
    if vocabulary is None:
        shutil.copyfile(bundle.tokenizer_file, written)
    else:
        written.write_text(vocabulary.tokenizer, encoding="utf-8")
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(written))
    except Exception as error:  # the library raises plain Exception
        raise BundleError(f"cannot read {bundle.tokenizer_file}: {error}; train again") from error
    pad_token = None if config.pad_token_id is None else tokenizer.id_to_token(config.pad_token_id)
    if config.pad_token_id is None or pad_token is None:
        raise BundleError(
            f"{bundle.path} has the padding id {config.pad_token_id}, which its tokenizer does not know; train again "
            "from a model whose config.json names the padding token of its tokenizer"
        )
    file = file_reference(written)
    return Tokenizer(
        file=file.file,
        sha256=file.sha256,
        bytes=file.bytes,
        max_length=min(bundle.info.max_length, config.max_tokens),
        pad_id=config.pad_token_id,
        pad_token=pad_token,
        token_types=config.uses_token_types,
        trimmed_from=None if vocabulary is None else vocabulary.source_size,
    )


def _graph(graph: GraphPlan, folder: Path, quantization: Quantization) -> Graph:
    file = file_reference(folder / graph.file)
    return Graph(
        name=graph.name,
        role=graph.role,
        width=graph.width,
        file=file.file,
        sha256=file.sha256,
        bytes=file.bytes,
        inputs=graph.inputs,
        outputs=graph.outputs,
        quantization=quantization,
        macs=graph.macs,
    )


def family_id(bundle: Bundle) -> str:
    """``minilm-1a2b3c4d5e6f``: the source model's name and the first 12 digits of the weights' SHA-256.

    Artifacts of one trained bundle share it, whatever their widths, target or format; training again changes it.
    """
    name = re.sub(r"[^a-z0-9.]+", "-", public_name(bundle.info.source_model).lower()).strip("-.") or "model"
    return f"{name}-{file_sha256(bundle.path / 'model.safetensors')[:12]}"
