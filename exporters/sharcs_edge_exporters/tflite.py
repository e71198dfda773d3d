"""TFLite graphs: converted by litert-torch, one signature per graph and bucket in one file, quantized by
ai-edge-quantizer. docs/adr/0013-tflite.md has the measurements.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Literal

import litert_torch
import torch
from ai_edge_quantizer import quantizer
from ai_edge_quantizer.qtyping import QuantGranularity, TFLOperationName
from torch import Tensor, nn

from sharcs_edge.device import EmbeddingType, Preset
from sharcs_edge.errors import ExportError
from sharcs_edge_exporters.base import GraphPlan
from sharcs_edge_exporters.flatbuffer import compact, matmul_coverage, residual_linears
from sharcs_edge_exporters.quantize import stays_float
from sharcs_edge_exporters.tflite_calibration import activation_ranges
from sharcs_edge_runtime.backend import signature_name
from sharcs_edge_runtime.manifest import BackendName, Quantization
from sharcs_edge_runtime.tokenization import TokenBatch

FILE: Final = "model.tflite"
_MAX_BYTES: Final = 2**31 - 2**20  # the converter writes a flatbuffer, whose offsets end at 2 GiB
_EMBEDDING_BITS: Final[Mapping[EmbeddingType, int]] = {"float32": 32, "int8": 8, "int4": 4}
_LINEARS: Final = r"^(?!.*(Trunk_module/torch\.nn\.modules\.linear|router_logits))"
"""Names of what linears put out, but the router's: see :func:`sharcs_edge_exporters.quantize.stays_float`."""
_WORDS: Final = r"Embedding_words"


class TfliteExporter:
    """``model.tflite``: every graph in every bucket, weights stored once."""

    backend: BackendName = "tflite"
    token_type: Literal["int64", "int32"] = "int32"
    fixed_lengths = True

    def file_name(self, graph: str) -> str:
        """All graphs are in one file."""
        return FILE

    def estimate(self, graph: str, module: nn.Module, preset: Preset) -> int:
        """Bytes of the weights. ExportError if the float32 graphs would not fit into one file."""
        size = 4 * sum(parameter.numel() for parameter in module.parameters())
        if size > _MAX_BYTES:
            raise ExportError(
                f"{graph} has {size / 1e9:.1f} GB of float32 weights and a .tflite file holds at most 2 GB; export "
                "narrower widths or train a smaller encoder"
            )
        for name, part in module.named_modules():
            if isinstance(part, nn.Linear) and preset.quantization != "none" and not stays_float(name):
                size -= 3 * part.weight.numel()
            if isinstance(part, nn.Embedding) and name.endswith("words"):
                size -= part.weight.numel() * (32 - _EMBEDDING_BITS[preset.embeddings]) // 8
        return size

    def export(self, graphs: Iterable[tuple[GraphPlan, nn.Module]], folder: Path) -> None:
        """Converts every graph once per bucket. ExportError if litert-torch cannot express a module."""
        pairs = list(graphs)
        file = folder / FILE
        with _quiet(), _norms_written_out([module for _, module in pairs]):
            converter: Any = litert_torch
            for plan, module in pairs:
                assert plan.buckets is not None  # since `fixed_lengths`
                for bucket in plan.buckets:
                    converter = converter.signature(
                        signature_name(plan.name, bucket), _Named(plan, module), sample_kwargs=_example(plan, bucket)
                    )
            try:
                converter.convert().export(str(file))
            except Exception as error:  # it documents none of its exceptions
                names = ", ".join(plan.name for plan, _ in pairs)
                raise ExportError(
                    f"litert-torch {version('litert-torch')} cannot write {names} as TFLite: {_first_line(error)}"
                ) from error
        if file.stat().st_size > _MAX_BYTES:
            raise ExportError(f"{FILE} would have more than 2 GB; export narrower widths or train a smaller encoder")

    def quantize(
        self,
        graphs: Sequence[GraphPlan],
        source: Path,
        folder: Path,
        preset: Preset,
        calibration: Sequence[TokenBatch] = (),
    ) -> Mapping[str, Quantization]:
        """Quantizes the file of ``source``: linears but the router's, and the word embeddings.

        With static scales, what linears give is int8, too. Residual sums hold outliers that 8 bits with one scale
        cannot, so that linears which add to these keep dynamic scales.
        """
        granularity = QuantGranularity.CHANNELWISE if preset.per_channel else QuantGranularity.TENSORWISE
        tool = quantizer.Quantizer(str(source / FILE))
        if preset.quantization == "int8_dynamic":
            tool.add_dynamic_config(_LINEARS, TFLOperationName.FULLY_CONNECTED, 8, granularity)
        if preset.quantization == "int8_static":
            tool.add_static_config(_LINEARS, TFLOperationName.FULLY_CONNECTED, 8, 8, granularity)
            for name in residual_linears(source / FILE):
                tool.add_dynamic_config(f"^{re.escape(name)};?$", TFLOperationName.FULLY_CONNECTED, 8, granularity)
        if preset.embeddings != "float32":
            bits = _EMBEDDING_BITS[preset.embeddings]
            tool.add_dynamic_config(_WORDS, TFLOperationName.EMBEDDING_LOOKUP, bits)
        try:
            with _quiet():
                ranges = None
                if tool.need_calibration:
                    recipe = tool.get_quantization_recipe()
                    ranges = activation_ranges(source / FILE, graphs, calibration, recipe)
                result = tool.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
        except Exception as error:  # it documents none of its exceptions
            raise ExportError(
                f"ai-edge-quantizer {version('ai-edge-quantizer')} cannot quantize {FILE}: {_first_line(error)}"
            ) from error
        file = folder / FILE
        file.write_bytes(result.quantized_model)
        return {plan.name: _quantization(plan, file, preset) for plan in graphs}

    def share(self, graphs: Sequence[GraphPlan], folder: Path) -> tuple[str, ...]:
        """Makes the one file smaller, see :func:`compact`; that costs no time on the device."""
        compact(folder / FILE, folder / FILE)
        return ()

    def join(self, trunk: Path, tail: Path, file: Path) -> None:
        """ExportError: every signature is a graph of one artifact."""
        raise ExportError("TFLite graphs are not joined; export with --backend onnx")

    def tools(self) -> Mapping[str, str]:
        """Versions of torch, litert-torch and ai-edge-quantizer."""
        return {name: version(name) for name in ("torch", "litert-torch", "ai-edge-quantizer")}


class _Named(nn.Module):
    """A graph's module with named inputs and outputs, which a signature takes its names from."""

    def __init__(self, plan: GraphPlan, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.inputs = [spec.name for spec in plan.inputs]
        self.outputs = [spec.name for spec in plan.outputs]

    def forward(self, **feeds: Tensor) -> dict[str, Tensor]:
        results = self.module(*(feeds[name] for name in self.inputs))
        return dict(zip(self.outputs, results if isinstance(results, tuple) else (results,), strict=True))


def _example(plan: GraphPlan, bucket: int) -> dict[str, Tensor]:
    """One tensor of ones per input, each an object of its own: a tracer takes one object passed twice for one input."""
    sizes = {"batch": 1, "tokens": bucket}
    return {
        spec.name: torch.ones(
            tuple(sizes[size] if isinstance(size, str) else size for size in spec.shape),
            dtype=getattr(torch, spec.dtype),
        )
        for spec in plan.inputs
    }


@contextmanager
def _norms_written_out(modules: Iterable[nn.Module]) -> Iterator[None]:
    """LayerNorms in a form that the converter leaves alone.

    It would multiply a LayerNorm's weight into the linears behind it. Each width has LayerNorms of its own, so that a
    narrow width's matrices would no longer be the leading rows of the full width's.
    """
    norms = {part for module in modules for part in module.modules() if isinstance(part, nn.LayerNorm)}
    for norm in norms:
        if norm.bias is not None:
            object.__setattr__(norm, "forward", partial(_layer_norm, norm))
    try:
        yield
    finally:
        for norm in norms:
            norm.__dict__.pop("forward", None)


def _layer_norm(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    """bias - normalised x * -weight: the converter looks for sums behind products."""
    centred = x - x.mean(dim=-1, keepdim=True)
    variance = (centred * centred).mean(dim=-1, keepdim=True)
    return norm.bias - centred * torch.rsqrt(variance + norm.eps) * -norm.weight


def _quantization(plan: GraphPlan, file: Path, preset: Preset) -> Quantization:
    assert plan.buckets is not None  # since `fixed_lengths`
    is_table = plan.role == "trunk" and preset.embeddings != "float32"
    embeddings = {"embeddings": preset.embeddings} if is_table else {}
    coverage = matmul_coverage(file, signature_name(plan.name, plan.buckets[0]))
    if coverage == 0.0:
        return Quantization("none", 0.0, embeddings)
    # Presets of both backends are of one class, which has a field for what only onnxruntime does.
    options = {name: value for name, value in preset.options.items() if name != "reduce_range"}
    return Quantization(preset.quantization, coverage, {**options, **embeddings})


@contextmanager
def _quiet() -> Iterator[None]:
    """Conversion shows progress, and warns of deprecated calls of its own."""
    shown = litert_torch.config.show_progress
    level = logging.root.manager.disable
    litert_torch.config.show_progress = False
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
        litert_torch.config.show_progress = shown


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
