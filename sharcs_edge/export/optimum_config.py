"""Quantization as a configuration of Hugging Face Optimum asks for it; Optimum itself is not needed to read one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sharcs_edge.errors import UsageError

CONFIG_FILE = "ort_config.json"
WeightType = Literal["int8", "uint8"]
_WEIGHT_TYPES: Mapping[str, WeightType] = {"QInt8": "int8", "QUInt8": "uint8"}


@dataclass(frozen=True)
class OptimumQuantization:
    """What of a configuration bears on int8 with dynamic scales; ``name``: of its file."""

    name: str
    per_channel: bool
    reduce_range: bool
    weight_type: WeightType


def read_quantization(path: Path) -> OptimumQuantization:
    """The configuration in a file, or in a folder's ``ort_config.json``.

    Raises UsageError for a file that cannot be read, or that asks for what our exporter does not do.
    """
    file = path / CONFIG_FILE if path.is_dir() else path
    try:
        raw: Any = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror or error}") from None
    except ValueError as error:
        raise UsageError(f"{file} is not JSON ({error}); expected what ORTConfig.save_pretrained writes") from None
    options = raw.get("quantization", raw) if isinstance(raw, dict) else None
    if not isinstance(options, dict) or "is_static" not in options:
        raise UsageError(
            f"{file} holds no quantization; expected what ORTConfig(quantization=...).save_pretrained writes"
        )
    if problems := list(_problems(options)):
        raise UsageError(f"{file} asks for what cannot be done: {'; '.join(problems)}")
    return OptimumQuantization(
        file.name,
        options.get("per_channel", False),
        options.get("reduce_range", False),
        _WEIGHT_TYPES[options.get("weights_dtype", "QInt8")],
    )


def _problems(options: Mapping[str, Any]) -> Iterator[str]:
    """What differs from int8 linears with dynamic scales, one phrase each."""
    if options["is_static"] is not False:
        yield "is_static; give a configuration with is_static=False, or use --quantization int8_static"
    for name in ("per_channel", "reduce_range"):
        if not isinstance(options.get(name, False), bool):
            yield f"{name} is {options[name]!r}, expected true or false"
    if options.get("weights_dtype", "QInt8") not in _WEIGHT_TYPES:
        yield f"weights_dtype {options['weights_dtype']!r}, expected {' or '.join(_WEIGHT_TYPES)}"
    if options.get("activations_dtype", "QUInt8") != "QUInt8":
        yield f"activations_dtype {options['activations_dtype']!r}, expected QUInt8"
    if options.get("activations_symmetric", False) is not False or options.get("weights_symmetric", True) is not True:
        yield "other than symmetric weights and asymmetric activations"
    if options.get("nodes_to_quantize") or options.get("nodes_to_exclude"):
        yield "chosen nodes, whose names are those of another graph"
    if "MatMul" not in (options.get("operators_to_quantize") or ["MatMul"]):
        yield "operators_to_quantize without MatMul, which all linears are"
