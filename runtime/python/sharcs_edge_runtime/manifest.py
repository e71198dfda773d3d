"""`manifest.json`: the contract between the exporter and every runtime (SPEC.md, section 2).

Defined once, here; the host imports these classes, so parity checks the very code that ships.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, get_args

from sharcs_edge_runtime._manifest_rules import consistency_problems
from sharcs_edge_runtime._strict_json import (
    INVALID,
    Reader,
    array,
    boolean,
    decode,
    fields,
    integer,
    mapping,
    number,
    one_of,
    optional,
    pattern,
    record,
    show,
    text,
)
from sharcs_edge_runtime.errors import ManifestError, WidthError
from sharcs_edge_runtime.version import __version__

SCHEMA_VERSION: Final = 1
MANIFEST_NAME: Final = "manifest.json"
WIDTH_TOLERANCE: Final = 1e-6

TaskName: TypeAlias = Literal["classification", "multi_label", "regression"]
"""One label per input, any number of labels (none included), or one number."""
BackendName: TypeAlias = Literal["onnx", "tflite"]
"""Format of the graph files."""


def tail_name(width: float) -> str:
    """The graph name of a width's tail: 0.25 -> ``tail_w025``, 1.0 -> ``tail_w100``."""
    return f"tail_w{round(width * 100):03d}"


def find_width(widths: Sequence[float], width: float) -> int:
    """The index of `width` in `widths` (equal within 1e-6); WidthError naming the ones that exist."""
    for index, candidate in enumerate(widths):
        if abs(candidate - width) <= WIDTH_TOLERANCE:
            return index
    raise WidthError(f"there is no width {width:g}: there are {format_widths(widths)}; use one of these")


def format_widths(widths: Sequence[float]) -> str:
    """``0.25, 0.5, 1`` for messages."""
    return ", ".join(f"{width:g}" for width in widths)


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a graph; a dimension is a size or a symbol (``batch``, ``tokens``)."""

    name: str
    dtype: Literal["int64", "int32", "float32"]
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Quantization:
    """How a graph's weights are stored; `matmul_coverage`: share (0..1) of its MatMuls that run in int8."""

    recipe: Literal["none", "int8_dynamic", "int8_static"]
    matmul_coverage: float
    options: Mapping[str, bool | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates of a graph for ONE row, as an exact polynomial in its number of tokens."""

    per_row: int
    per_token: int
    per_token_squared: int

    def count(self, tokens: int) -> int:
        """Multiply-accumulates for one row of `tokens` tokens, special tokens included."""
        return self.per_row + tokens * (self.per_token + tokens * self.per_token_squared)


@dataclass(frozen=True)
class FileRef:
    """A file of the artifact, with its SHA-256 (hex) and size."""

    file: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Graph:
    """One computation graph: the trunk (`width` None) or the tail of one width."""

    name: str
    role: Literal["trunk", "tail"]
    width: float | None
    file: str
    sha256: str
    bytes: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    quantization: Quantization
    macs: Macs


@dataclass(frozen=True)
class Tokenizer:
    """The Hugging Face fast tokenizer file, and what of its use the file does not fix.

    `max_length`: tokens per input, special tokens included; longer inputs are cut. `token_types`: the trunk takes them.
    `trimmed_from`: how many tokens the source model's vocabulary has, if the file holds a part of them; else None.
    """

    file: str
    sha256: str
    bytes: int
    max_length: int
    pad_id: int
    pad_token: str
    token_types: bool
    trimmed_from: int | None


@dataclass(frozen=True)
class Tolerance:
    """What `verify` must meet: `logits` max. absolute difference to torch; the agreements are minimum shares (0..1).

    For regression, whose logit is the value, values agree that differ by `logits` at most.
    """

    logits: float
    label_agreement: float
    route_agreement: float


@dataclass(frozen=True)
class Manifest:
    """An artifact's `manifest.json`. `widths` ascend; router logit i belongs to `widths[i]`, logit i to `labels[i]`.

    `buckets`: for the backend "tflite", whose graphs take fixed numbers of tokens, those numbers, ascending; else None.
    """

    schema_version: int
    family: str
    task: TaskName
    labels: tuple[str, ...]
    text_inputs: int
    backend: BackendName
    buckets: tuple[int, ...] | None
    widths: tuple[float, ...]
    trunk_layers: int
    num_layers: int
    graphs: tuple[Graph, ...]
    tokenizer: Tokenizer
    golden: FileRef
    files: tuple[FileRef, ...]
    target: str
    tolerance: Tolerance
    tools: Mapping[str, str]

    @property
    def trunk(self) -> Graph:
        """The graph that every input runs."""
        return next(graph for graph in self.graphs if graph.role == "trunk")

    def tail(self, width: float) -> Graph:
        """The tail of `width`; WidthError naming the widths that exist."""
        wanted = self.widths[find_width(self.widths, width)]
        return next(
            graph for graph in self.graphs if graph.width is not None and abs(graph.width - wanted) <= WIDTH_TOLERANCE
        )

    @property
    def all_files(self) -> tuple[FileRef, ...]:
        """Every file that the manifest names, each once, in order of first mention."""
        named: tuple[Graph | Tokenizer | FileRef, ...] = (*self.graphs, self.tokenizer, self.golden, *self.files)
        return tuple(dict.fromkeys(FileRef(entry.file, entry.sha256, entry.bytes) for entry in named))

    @classmethod
    def parse(cls, data: bytes, source: str = MANIFEST_NAME) -> Manifest:
        """Read `manifest.json`. ManifestError lists every problem with its JSON path; `source` names the file."""
        try:
            document = decode(data)
        except ValueError as error:
            raise ManifestError(source, (f"it is not UTF-8 JSON ({error}) @ $",)) from None
        problems: list[str] = []
        _refuse_other_schema(document, source)
        values = fields(document, "$", problems, _MANIFEST)
        sound = {key: value for key, value in (values or {}).items() if value is not INVALID}
        problems += consistency_problems(sound)
        if problems:
            raise ManifestError(source, tuple(problems))
        return cls(**sound)

    def to_json(self) -> bytes:
        """Canonical bytes (fields in the order above, free keys sorted, 2-space indent, newline at the end).

        ManifestError if `parse` would refuse them: a manifest that cannot be read is never written.
        """
        plain = dataclasses.asdict(self)
        try:
            encoded = json.dumps(_sort_free_keys(plain), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
            data = encoded.encode("utf-8")
        except (TypeError, ValueError) as error:
            raise ManifestError(MANIFEST_NAME, (f"a value cannot be written as JSON ({error}) @ $",)) from None
        Manifest.parse(data)
        return data


def _sort_free_keys(plain: dict[str, Any]) -> dict[str, Any]:
    plain["tools"] = dict(sorted(plain["tools"].items()))
    for graph in plain["graphs"]:
        graph["quantization"]["options"] = dict(sorted(graph["quantization"]["options"].items()))
    return plain


def _refuse_other_schema(document: Any, source: str) -> None:
    """A newer schema is refused before its unknown fields are, which would only hide the reason."""
    version = document.get("schema_version") if isinstance(document, dict) else None
    if isinstance(version, int) and not isinstance(version, bool) and version > SCHEMA_VERSION:
        raise ManifestError(
            source,
            (
                f"schema_version is {show(version)}, and sharcs-edge-runtime {__version__} reads {SCHEMA_VERSION}: "
                "update sharcs-edge-runtime, or export again with the sharcs-edge of this version @ $.schema_version",
            ),
        )


_FILE_NAME = pattern(
    r"(?!.*\.\.)(?!manifest\.json$)[A-Za-z0-9_][A-Za-z0-9._-]{0,127}",
    "a plain file name (letters, digits, '.', '_', '-'; no folder, no '..', not manifest.json)",
)
_SHA256 = pattern(r"[0-9a-f]{64}", "a SHA-256 of 64 lower-case hex digits")
_SHARE = number(0.0, 1.0)
_FILE: dict[str, Reader] = {"file": _FILE_NAME, "sha256": _SHA256, "bytes": integer(0)}


def _dimension(value: Any, path: str, problems: list[str]) -> Any:
    return text()(value, path, problems) if isinstance(value, str) else integer(1)(value, path, problems)


def _option(value: Any, path: str, problems: list[str]) -> Any:
    return text()(value, path, problems) if isinstance(value, str) else boolean(value, path, problems)


_TENSOR = record(
    TensorSpec, {"name": text(), "dtype": one_of("int64", "int32", "float32"), "shape": array(_dimension, empty=True)}
)
_QUANTIZATION = record(
    Quantization,
    {"recipe": one_of("none", "int8_dynamic", "int8_static"), "matmul_coverage": _SHARE, "options": mapping(_option)},
)
_MACS = record(Macs, {"per_row": integer(0), "per_token": integer(0), "per_token_squared": integer(0)})
_WIDTH = number(0.0, 1.0, above_minimum=True)
_GRAPH = record(
    Graph,
    {
        "name": text(),
        "role": one_of("trunk", "tail"),
        "width": optional(_WIDTH),
        **_FILE,
        "inputs": array(_TENSOR),
        "outputs": array(_TENSOR),
        "quantization": _QUANTIZATION,
        "macs": _MACS,
    },
)
_TOKENIZER = record(
    Tokenizer,
    {
        **_FILE,
        "max_length": integer(1),
        "pad_id": integer(0),
        "pad_token": text(),
        "token_types": boolean,
        "trimmed_from": optional(integer(1)),
    },
)
_MANIFEST: dict[str, Reader] = {
    "schema_version": one_of(SCHEMA_VERSION),
    "family": text(),
    "task": one_of(*get_args(TaskName)),
    "labels": array(text()),
    "text_inputs": one_of(1, 2),
    "backend": one_of(*get_args(BackendName)),
    "buckets": optional(array(integer(1))),
    "widths": array(_WIDTH),
    "trunk_layers": integer(0),
    "num_layers": integer(1),
    "graphs": array(_GRAPH),
    "tokenizer": _TOKENIZER,
    "golden": record(FileRef, _FILE),
    "files": array(record(FileRef, _FILE), empty=True),
    "target": text(),
    "tolerance": record(
        Tolerance,
        {"logits": number(0.0, 1e6, above_minimum=True), "label_agreement": _SHARE, "route_agreement": _SHARE},
    ),
    "tools": mapping(text()),
}
