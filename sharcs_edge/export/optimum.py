"""An artifact's widest width as a folder that Hugging Face Optimum loads: one graph, without routing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from sharcs_edge.bundle import TOKENIZER_FILE, Bundle
from sharcs_edge.errors import UsageError
from sharcs_edge.export.exporter import load_exporter
from sharcs_edge_runtime.artifact import Artifact, staged_folder
from sharcs_edge_runtime.manifest import Tokenizer

_MODEL_FILE = "model.onnx"


def write_optimum(bundle: Bundle, artifact: str | Path, output: str | Path, *, overwrite: bool = False) -> Path:
    """Writes ``model.onnx``, ``config.json`` and the tokenizer for ``ORTModelForSequenceClassification``.

    The graph is the artifact's own trunk and widest tail, joined: its logits are those that a session gives at that
    width.

    Args:
        bundle: what the artifact was exported from; it knows the encoder's configuration.

    Raises:
        ArtifactError: no artifact, or a damaged one.
        UsageError: an artifact of another format than ONNX, or ``output`` is not empty and ``overwrite`` not asked for.
    """
    opened = Artifact.open(artifact)
    manifest = opened.manifest
    check_optimum(output, manifest.backend)
    tail = manifest.tail(manifest.widths[-1])
    with staged_folder(output, overwrite) as staging:
        load_exporter("onnx").join(opened.file(manifest.trunk), opened.file(tail), staging / _MODEL_FILE)
        _write_config(bundle, manifest.tokenizer, staging)
        shutil.copyfile(opened.tokenizer_file, staging / TOKENIZER_FILE)
    return Path(output).resolve()


def check_optimum(output: str | Path, backend: str) -> None:
    """Raises UsageError for a backend whose graphs Optimum cannot run, and for a folder with other files."""
    if backend != "onnx":
        raise UsageError(f"Optimum runs ONNX graphs, and {backend} writes none; leave out --optimum or --backend")
    folder = Path(output)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / _MODEL_FILE).is_file():
        raise UsageError(f"{folder} holds other files than {_MODEL_FILE} and is not replaced; name another folder")


def _write_config(bundle: Bundle, tokenizer: Tokenizer, folder: Path) -> None:
    """What transformers knows of the encoder, and how its tokenizer is to be read."""
    from transformers import AutoConfig

    from sharcs_edge.model.architectures import architecture_of
    from sharcs_edge.model.configuration import SharcsEncoderConfig

    nested = SharcsEncoderConfig.from_pretrained(bundle.path)
    config = AutoConfig.for_model(**(nested.source_config or {}))
    config.architectures = [architecture_of(nested.architecture).classifier]
    config.id2label, config.label2id = nested.id2label, nested.label2id
    config.problem_type, config.pad_token_id = nested.problem_type, tokenizer.pad_id
    config.save_pretrained(folder)
    source = bundle.path / "tokenizer_config.json"
    trained = json.loads(source.read_text(encoding="utf-8")) if source.is_file() else {}
    names = ("input_ids", "attention_mask", *(("token_type_ids",) if tokenizer.token_types else ()))
    settings = {name: value for name, value in trained.items() if name.endswith("_token")} | {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": tokenizer.max_length,
        "model_input_names": list(names),
        "pad_token": tokenizer.pad_token,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
