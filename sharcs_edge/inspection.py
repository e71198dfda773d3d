"""What a bundle or an artifact holds: its task, widths, files and where it comes from, read without running it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from sharcs_edge.bundle import BUNDLE_FILE, Bundle, Modality
from sharcs_edge.errors import SharcsEdgeError
from sharcs_edge_runtime.artifact import Artifact
from sharcs_edge_runtime.manifest import MANIFEST_NAME, Graph, tail_name

MACS_TOKENS = 32
"""Tokens of the text that a compute figure is given for."""


@dataclass(frozen=True)
class PartSummary:
    """The trunk (``width`` None) or the tail of one width; ``macs``: multiply-accumulates for `Summary.macs_tokens`.

    ``file``, ``bytes`` and ``int8_share`` (of its MatMuls) are those of an artifact's graph; a bundle has one file
    with all weights.
    """

    name: str
    width: float | None
    macs: int
    file: str | None = None
    bytes: int | None = None
    quantization: str | None = None
    int8_share: float | None = None


@dataclass(frozen=True)
class Summary:
    """What :func:`inspect` finds. ``parts``: trunk, then tails, narrow to wide; ``files``: name to bytes, all of them.

    ``modality``: what the model reads; ``text_inputs`` is 0 for images. ``macs_tokens``: length of the input that MACs
    are counted for; all images have the same. ``provenance`` says where it comes from: of a bundle the training record,
    of an artifact target and tools.
    """

    kind: Literal["bundle", "artifact"]
    path: str
    task: str
    labels: tuple[str, ...]
    text_inputs: int
    max_length: int
    widths: tuple[float, ...]
    trunk_layers: int
    tail_layers: int
    parts: tuple[PartSummary, ...]
    files: Mapping[str, int]
    provenance: Mapping[str, Any]
    modality: Modality = "text"
    macs_tokens: int = MACS_TOKENS

    def to_dict(self) -> dict[str, Any]:
        """The summary as plain JSON values."""
        return asdict(self)


def folder_kind(path: Path) -> Literal["bundle", "artifact"]:
    """Which of the two a folder is.

    Raises:
        SharcsEdgeError: it is neither, or not there.
    """
    if (path / MANIFEST_NAME).is_file():
        return "artifact"
    if (path / BUNDLE_FILE).is_file():
        return "bundle"
    found = "is neither" if path.is_dir() else "is a file" if path.exists() else "does not exist"
    raise SharcsEdgeError(
        f"{path} {found}; expected a bundle (holds {BUNDLE_FILE}) or an artifact (holds {MANIFEST_NAME})"
    )


def inspect(path: Path) -> Summary:
    """Reads a bundle or an artifact.

    Raises:
        SharcsEdgeError: it is neither; BundleError, ArtifactError or ManifestError: it is damaged.
    """
    return _inspect_artifact(path) if folder_kind(path) == "artifact" else _inspect_bundle(path)


def _inspect_artifact(path: Path) -> Summary:
    artifact = Artifact.open(path)
    manifest = artifact.manifest
    graphs = [manifest.trunk, *map(manifest.tail, manifest.widths)]
    named = {entry.file: entry.bytes for entry in manifest.all_files}
    return Summary(
        kind="artifact",
        path=str(artifact.path),
        task=manifest.task,
        labels=manifest.labels,
        text_inputs=manifest.text_inputs,
        max_length=manifest.tokenizer.max_length,
        widths=manifest.widths,
        trunk_layers=manifest.trunk_layers,
        tail_layers=manifest.num_layers - manifest.trunk_layers,
        parts=tuple(map(_graph, graphs)),
        files={MANIFEST_NAME: artifact.file(MANIFEST_NAME).stat().st_size, **named},
        provenance={
            "family": manifest.family,
            "target": manifest.target,
            "backend": manifest.backend,
            "schema_version": manifest.schema_version,
            "tolerance": asdict(manifest.tolerance),
            "tools": dict(manifest.tools),
        },
    )


def _graph(graph: Graph) -> PartSummary:
    quantization = graph.quantization
    return PartSummary(
        name=graph.name,
        width=graph.width,
        macs=graph.macs.count(MACS_TOKENS),
        file=graph.file,
        bytes=graph.bytes,
        quantization=quantization.recipe,
        int8_share=quantization.matmul_coverage,
    )


def _inspect_bundle(path: Path) -> Summary:
    from sharcs_edge.model.configuration import SharcsEncoderConfig
    from sharcs_edge.model.macs import tail_macs, trunk_macs

    bundle = Bundle.open(path)
    config = SharcsEncoderConfig.from_pretrained(path)
    tokens = config.max_tokens if config.reads_images else MACS_TOKENS
    tails = (
        PartSummary(tail_name(width.width), width.width, tail_macs(config, width).count(tokens))
        for width in config.slices
    )
    return Summary(
        kind="bundle",
        path=str(path.resolve()),
        task=bundle.info.task,
        labels=bundle.info.labels,
        text_inputs=bundle.info.text_inputs,
        max_length=bundle.info.max_length,
        widths=config.sharcs.widths,
        trunk_layers=config.trunk_layers,
        tail_layers=config.num_layers - config.trunk_layers,
        parts=(PartSummary("trunk", None, trunk_macs(config).count(tokens)), *tails),
        files={file.name: file.stat().st_size for file in sorted(path.iterdir()) if file.is_file()},
        provenance=bundle.record,
        modality=bundle.info.modality,
        macs_tokens=tokens,
    )
