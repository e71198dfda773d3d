"""The bundle: the host-side checkpoint folder that ``train`` writes and ``export`` and ``evaluate`` read.

Layout::

    config.json, model.safetensors    the nested-width model (`SharcsForSequenceClassification.from_pretrained`)
    tokenizer.json, ...               the fast tokenizer, as Hugging Face saves it; of a model that reads images,
                                      its image processor instead (preprocessor_config.json)
    bundle.json                       task, labels, inputs, longest input: what the files above do not say
    training_record.json              recipe, arguments, data fingerprint, versions, measured quality on dev
    metrics.jsonl                     one line per logged step and evaluation
    examples.jsonl                    some dev rows: the golden inputs of an export
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from sharcs_edge.errors import BundleError
from sharcs_edge_runtime.manifest import MANIFEST_NAME, TaskName

if TYPE_CHECKING:
    from sharcs_edge.model.encoder import SharcsForSequenceClassification
    from sharcs_edge_runtime.tasks import Label

BUNDLE_SCHEMA_VERSION = 1
BUNDLE_FILE = "bundle.json"
RECORD_FILE = "training_record.json"
METRICS_FILE = "metrics.jsonl"
EXAMPLES_FILE = "examples.jsonl"
TOKENIZER_FILE = "tokenizer.json"
Modality = Literal["text", "image"]
PROCESSOR_FILES: Final[Mapping[Modality, str]] = {"text": TOKENIZER_FILE, "image": "preprocessor_config.json"}
"""What makes a model's inputs of text or images."""
_REQUIRED = ("config.json", "model.safetensors", BUNDLE_FILE, RECORD_FILE, EXAMPLES_FILE)


@dataclass(frozen=True)
class LabelScale:
    """The training labels of a regression, in their own unit, which is that of the model's answers."""

    mean: float
    std: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class BundleInfo:
    """What ``bundle.json`` holds.

    ``labels``: what each of the model's outputs is about. ``text_inputs`` is 1, or 2 for pairs, and 0 of images;
    ``max_length`` the longest input in tokens, special ones included. ``label_scale``: of a regression alone.
    """

    labels: tuple[str, ...]
    text_inputs: int
    max_length: int
    source_model: str
    task: TaskName = "classification"
    label_scale: LabelScale | None = None
    modality: Modality = "text"
    schema_version: int = BUNDLE_SCHEMA_VERSION

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> BundleInfo:
        """Raises KeyError, TypeError or ValueError for fields that cannot be."""
        scale = raw.get("label_scale")
        info = cls(
            **{**raw, "labels": tuple(raw["labels"]), "label_scale": None if scale is None else LabelScale(**scale)}
        )
        if info.task not in get_args(TaskName):
            raise ValueError(f"task is {info.task!r}, expected one of {', '.join(get_args(TaskName))}")
        if info.modality not in PROCESSOR_FILES:
            raise ValueError(f"modality is {info.modality!r}, expected one of {', '.join(PROCESSOR_FILES)}")
        if (info.task == "regression") != (info.label_scale is not None):
            raise ValueError("label_scale belongs to the task regression, and to no other")
        return info


@dataclass(frozen=True)
class BundleExample:
    text: str
    text_pair: str | None
    label: Label

    @classmethod
    def parse(cls, line: str) -> BundleExample:
        """Raises TypeError or ValueError for a line that is no example."""
        raw = json.loads(line)
        return cls(**{**raw, "label": tuple(raw["label"]) if isinstance(raw["label"], list) else raw["label"]})


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
        _require_files(folder, _REQUIRED)
        raw = _read_json(folder / BUNDLE_FILE)
        version = raw.get("schema_version")
        if version != BUNDLE_SCHEMA_VERSION:
            raise BundleError(
                f"{folder / BUNDLE_FILE} has schema_version {version!r}, this sharcs-edge reads "
                f"{BUNDLE_SCHEMA_VERSION}; use the version that trained it or train again"
            )
        try:
            info = BundleInfo.parse(raw)
            lines = (folder / EXAMPLES_FILE).read_text(encoding="utf-8").splitlines()
            examples = tuple(map(BundleExample.parse, lines))
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"{folder} is damaged: {BUNDLE_FILE} or {EXAMPLES_FILE}: {error}") from error
        _require_files(folder, [PROCESSOR_FILES[info.modality]])
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
    _write_json(folder / BUNDLE_FILE, {key: value for key, value in asdict(info).items() if value is not None})
    _write_json(folder / RECORD_FILE, record)
    with (folder / EXAMPLES_FILE).open("w", encoding="utf-8") as file:
        for example in examples:
            file.write(json.dumps(asdict(example), ensure_ascii=False) + "\n")


def _require_files(folder: Path, names: Iterable[str]) -> None:
    missing = [name for name in names if not (folder / name).is_file()]
    if BUNDLE_FILE in missing and not folder.is_dir():
        found = "is a file" if folder.exists() else "does not exist"
        raise BundleError(f"{folder} {found}; expected a folder written by `sharcs-edge train`")
    if BUNDLE_FILE in missing and (folder / MANIFEST_NAME).is_file():
        raise BundleError(f"{folder} is an artifact; expected the bundle that it was exported from")
    if missing:
        raise BundleError(
            f"{folder} is not a complete bundle: {', '.join(missing)} missing; "
            "expected a folder written by `sharcs-edge train`"
        )


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
