"""The bundle: the host-side checkpoint folder that ``train`` writes and ``export`` and ``evaluate`` read.

Layout::

    config.json, model.safetensors    the nested-width model (`SharcsForSequenceClassification.from_pretrained`)
    tokenizer.json, ...               the fast tokenizer, as Hugging Face saves it
    bundle.json                       labels, inputs, longest input: what the files above do not say
    training_record.json              recipe, arguments, data fingerprint, versions, measured quality on dev
    metrics.jsonl                     one line per logged step and evaluation
    examples.jsonl                    some dev rows: the golden inputs of an export
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sharcs_edge.errors import BundleError

if TYPE_CHECKING:
    from sharcs_edge.model.encoder import SharcsForSequenceClassification

BUNDLE_SCHEMA_VERSION = 1
BUNDLE_FILE = "bundle.json"
RECORD_FILE = "training_record.json"
METRICS_FILE = "metrics.jsonl"
EXAMPLES_FILE = "examples.jsonl"
TOKENIZER_FILE = "tokenizer.json"
_REQUIRED = ("config.json", "model.safetensors", TOKENIZER_FILE, BUNDLE_FILE, RECORD_FILE, EXAMPLES_FILE)


@dataclass(frozen=True)
class BundleInfo:
    """What ``bundle.json`` holds.

    ``text_inputs`` is 1, or 2 for pairs; ``max_length`` the longest input in tokens, special ones included.
    """

    labels: tuple[str, ...]
    text_inputs: int
    max_length: int
    source_model: str
    task: str = "classification"
    schema_version: int = BUNDLE_SCHEMA_VERSION


@dataclass(frozen=True)
class BundleExample:
    text: str
    text_pair: str | None
    label: str


@dataclass(frozen=True)
class Bundle:
    """An opened bundle; the weights are read by :meth:`load_model` alone."""

    path: Path
    info: BundleInfo
    record: Mapping[str, Any]
    examples: tuple[BundleExample, ...]

    @classmethod
    def open(cls, path: str | Path) -> Bundle:
        """Reads everything but the weights.

        Raises:
            BundleError: not a bundle, a file is missing or damaged, or a newer version wrote it.
        """
        folder = Path(path)
        missing = [name for name in _REQUIRED if not (folder / name).is_file()]
        if missing:
            raise BundleError(
                f"{folder} is not a complete bundle: {', '.join(missing)} missing; "
                "expected a folder written by `sharcs-edge train`"
            )
        raw = _read_json(folder / BUNDLE_FILE)
        version = raw.get("schema_version")
        if version != BUNDLE_SCHEMA_VERSION:
            raise BundleError(
                f"{folder / BUNDLE_FILE} has schema_version {version!r}, this sharcs-edge reads "
                f"{BUNDLE_SCHEMA_VERSION}; use the version that trained it or train again"
            )
        try:
            info = BundleInfo(**(raw | {"labels": tuple(raw["labels"])}))
            lines = (folder / EXAMPLES_FILE).read_text(encoding="utf-8").splitlines()
            examples = tuple(BundleExample(**json.loads(line)) for line in lines)
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"{folder} is damaged: {BUNDLE_FILE} or {EXAMPLES_FILE}: {error}") from error
        return cls(folder, info, _read_json(folder / RECORD_FILE), examples)

    @property
    def tokenizer_file(self) -> Path:
        return self.path / TOKENIZER_FILE

    def load_model(self) -> SharcsForSequenceClassification:
        """The model in evaluation mode, on the CPU, in float32. Raises BundleError for damaged weights."""
        from safetensors import SafetensorError

        from sharcs_edge.model.encoder import SharcsForSequenceClassification

        try:
            loaded: Any = SharcsForSequenceClassification.from_pretrained(self.path, output_loading_info=True)
        except (SafetensorError, OSError, ValueError, RuntimeError) as error:
            raise BundleError(f"cannot read the weights of {self.path}: {error}; train again") from error
        model: SharcsForSequenceClassification
        model, report = loaded
        lacking = sorted(report["missing_keys"]) + sorted(report["unexpected_keys"])
        if lacking:
            raise BundleError(f"the weights of {self.path} do not fit its config.json: {', '.join(lacking[:5])}")
        model.train(False)
        return model


def write_bundle_files(
    folder: Path, info: BundleInfo, record: Mapping[str, Any], examples: Iterable[BundleExample]
) -> None:
    """Writes the three JSON files beside the model and the tokenizer, which are saved by their own classes."""
    _write_json(folder / BUNDLE_FILE, asdict(info))
    _write_json(folder / RECORD_FILE, record)
    with (folder / EXAMPLES_FILE).open("w", encoding="utf-8") as file:
        for example in examples:
            file.write(json.dumps(asdict(example), ensure_ascii=False) + "\n")


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} is damaged: {error}") from error
    if not isinstance(value, dict):
        raise BundleError(f"{path} is damaged: expected a JSON object")
    return value
