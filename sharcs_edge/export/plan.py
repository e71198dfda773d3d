"""What an export would write, from a bundle's configuration alone: no weights are read, nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sharcs_edge.bundle import Bundle
from sharcs_edge.config import WidthSlice, check_widths
from sharcs_edge.device import DeviceProfile, Preset, load_device
from sharcs_edge.errors import BundleError, UsageError, WidthError
from sharcs_edge.export.exporter import Exporter, GraphPlan, load_exporter
from sharcs_edge.parity import GOLDEN_ROWS
from sharcs_edge_runtime.manifest import TensorSpec, find_width, format_widths, tail_name

if TYPE_CHECKING:
    from torch import nn

    from sharcs_edge.model.configuration import SharcsEncoderConfig
    from sharcs_edge.model.encoder import SharcsForSequenceClassification

QuantizationRecipe = Literal["none", "int8_dynamic"]


@dataclass(frozen=True)
class ExportPlan:
    """An export that can be carried out.

    ``graph_bytes`` estimates the size of each graph in the artifact, in the order of ``graphs``; ``golden_rows`` is how
    many real inputs the parity check runs.
    """

    bundle: Bundle
    device: DeviceProfile
    exporter: Exporter
    preset: Preset
    slices: tuple[WidthSlice, ...]
    graphs: tuple[GraphPlan, ...]
    graph_bytes: tuple[int, ...]
    golden_rows: int

    @property
    def widths(self) -> tuple[float, ...]:
        return tuple(width.width for width in self.slices)

    @property
    def estimated_bytes(self) -> int:
        """Graphs and tokenizer; the golden rows and the model card are small beside them."""
        return sum(self.graph_bytes) + self.bundle.tokenizer_file.stat().st_size

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain JSON values."""
        return {
            "bundle": str(self.bundle.path),
            "target": self.device.name,
            "backend": self.exporter.backend,
            "quantization": {"recipe": self.preset.quantization, **self.preset.options},
            "widths": list(self.widths),
            "graphs": [
                {"name": graph.name, "file": graph.file, "width": graph.width, "estimated_bytes": size}
                for graph, size in zip(self.graphs, self.graph_bytes, strict=True)
            ],
            "estimated_bytes": self.estimated_bytes,
            "golden_rows": self.golden_rows,
        }


def plan_export(
    bundle_path: str | Path,
    *,
    target: str,
    widths: Sequence[float] | None = None,
    backend: str = "onnx",
    quantization: QuantizationRecipe | None = None,
) -> ExportPlan:
    """Checks what is asked for and says what would be written.

    Args:
        target: name of a device profile, whose preset quantizes unless ``quantization`` says otherwise.
        widths: some of the bundle's widths; all of them if left out.

    Raises:
        BundleError: the bundle cannot be read.
        DeviceError: unknown target, or one without a preset for the backend.
        WidthError: a width that the bundle lacks; the message lists those that it has.
        UsageError: the bundle reads images, or the backend is unknown; MissingDependencyError: it lacks a library.
        ExportError: the format cannot hold the graphs.
    """
    bundle = Bundle.open(bundle_path)
    if bundle.info.modality != "text":
        raise UsageError(
            f"{bundle.path} reads images, but the device runtime reads text; it can be evaluated, not exported"
        )
    device = load_device(target)
    preset = device.preset(backend)
    if quantization is not None:
        preset = replace(preset, quantization=quantization)
    exporter = load_exporter(backend)
    import torch  # after the exporter, which says how to install what is missing

    model = _without_data(bundle)
    config = model.config
    slices = _choose(bundle, config, widths)
    graphs = plan_graphs(config, len(bundle.info.labels), slices, exporter)
    with torch.device("meta"):
        sizes = [exporter.estimate(graph.name, make_module(model, graph, slices), preset) for graph in graphs]
    return ExportPlan(
        bundle=bundle,
        device=device,
        exporter=exporter,
        preset=preset,
        slices=slices,
        graphs=graphs,
        graph_bytes=tuple(sizes),
        golden_rows=min(GOLDEN_ROWS, len(bundle.examples)),
    )


def plan_graphs(
    config: SharcsEncoderConfig, labels: int, slices: Sequence[WidthSlice], exporter: Exporter
) -> tuple[GraphPlan, ...]:
    """The trunk and one tail per width, ascending."""
    from sharcs_edge.model.macs import tail_macs, trunk_macs

    tokens = ("batch", "tokens")
    ids, mask, types = (TensorSpec(name, "int64", tokens) for name in ("input_ids", "attention_mask", "token_type_ids"))
    hidden = TensorSpec("hidden", "float32", (*tokens, config.hidden_size))
    router_logits = TensorSpec("router_logits", "float32", ("batch", len(slices)))
    logits = TensorSpec("logits", "float32", ("batch", labels))
    trunk_inputs = (ids, mask, types) if config.uses_token_types else (ids, mask)
    trunk = GraphPlan(
        "trunk", "trunk", None, exporter.file_name("trunk"), trunk_inputs, (hidden, router_logits), trunk_macs(config)
    )
    tails = (
        GraphPlan(name, "tail", width.width, exporter.file_name(name), (hidden, mask), (logits,), macs)
        for width in slices
        for name, macs in [(tail_name(width.width), tail_macs(config, width))]
    )
    return (trunk, *tails)


def make_module(model: SharcsForSequenceClassification, graph: GraphPlan, slices: Sequence[WidthSlice]) -> nn.Module:
    """The module that a graph is traced from; a tail's weights are copied, the trunk's are the model's own."""
    from sharcs_edge.model.submodels import Tail, Trunk

    if graph.width is None:
        return Trunk(model, tuple(slices)).eval()
    return Tail(model, model.width_slice(graph.width)).eval()


def _choose(bundle: Bundle, config: SharcsEncoderConfig, widths: Sequence[float] | None) -> tuple[WidthSlice, ...]:
    if widths is None:
        return config.slices
    check_widths(sorted(widths))
    there = config.sharcs.widths
    lacking = []
    chosen = []
    for width in sorted(widths):
        try:
            chosen.append(config.slices[find_width(there, width)])
        except WidthError:
            lacking.append(width)
    if lacking:
        raise WidthError(
            f"{bundle.path} has no width {format_widths(lacking)}; it was trained with {format_widths(there)}: "
            "export some of these, or train again"
        )
    return tuple(chosen)


def _without_data(bundle: Bundle) -> SharcsForSequenceClassification:
    """The bundle's model with shapes and no weights."""
    import torch

    from sharcs_edge.model.configuration import SharcsEncoderConfig
    from sharcs_edge.model.encoder import SharcsForSequenceClassification

    try:
        config = SharcsEncoderConfig.from_pretrained(bundle.path)
    except (OSError, ValueError, TypeError) as error:
        raise BundleError(f"cannot read {bundle.path / 'config.json'}: {error}; train again") from error
    with torch.device("meta"):
        return SharcsForSequenceClassification(config)
