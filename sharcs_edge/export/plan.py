"""What an export would write, from a bundle's configuration alone: no weights are read, nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sharcs_edge.bundle import Bundle
from sharcs_edge.config import WidthSlice, check_widths
from sharcs_edge.data import Columns, read_examples
from sharcs_edge.data.draws import draw_rows
from sharcs_edge.device import DeviceProfile, Preset, load_device
from sharcs_edge.errors import BundleError, DeviceError, UsageError, WidthError
from sharcs_edge.export.buckets import bundle_lengths, choose_buckets
from sharcs_edge.export.exporter import Exporter, GraphPlan, load_exporter
from sharcs_edge.export.options import ExportOptions
from sharcs_edge.export.vocabulary import TrimmedVocabulary, trim_vocabulary
from sharcs_edge.parity import GOLDEN_ROWS
from sharcs_edge_runtime.manifest import TensorSpec, find_width, format_widths, tail_name
from sharcs_edge_runtime.tokenization import Text

if TYPE_CHECKING:
    from torch import nn

    from sharcs_edge.model.configuration import SharcsEncoderConfig
    from sharcs_edge.model.encoder import SharcsForSequenceClassification

CALIBRATION_ROWS = 128  # docs/adr/0018-static-activation-scales.md was measured with them


@dataclass(frozen=True)
class ExportPlan:
    """An export that can be carried out.

    ``graph_bytes`` estimates the size of each graph in the artifact, in the order of ``graphs``; ``golden_rows`` is how
    many real inputs the parity check runs. ``vocabulary``: the tokens to keep; None for all. ``calibration``: the texts
    that the scales of activations are taken from; empty where these are not fixed.
    """

    bundle: Bundle
    device: DeviceProfile
    exporter: Exporter
    preset: Preset
    slices: tuple[WidthSlice, ...]
    graphs: tuple[GraphPlan, ...]
    graph_bytes: tuple[int, ...]
    golden_rows: int
    vocabulary: TrimmedVocabulary | None
    calibration: tuple[Text, ...] = ()

    @property
    def buckets(self) -> tuple[int, ...] | None:
        return self.graphs[0].buckets

    @property
    def widths(self) -> tuple[float, ...]:
        return tuple(width.width for width in self.slices)

    @property
    def estimated_bytes(self) -> int:
        """Graphs and tokenizer; the golden rows and the model card are small beside them."""
        tokenizer = self.bundle.tokenizer_file.stat().st_size
        return sum(self.graph_bytes) + (tokenizer if self.vocabulary is None else len(self.vocabulary.tokenizer))

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain JSON values."""
        return {
            "bundle": str(self.bundle.path),
            "target": self.device.name,
            "backend": self.exporter.backend,
            "quantization": {"recipe": self.preset.quantization, **self.preset.options},
            "embeddings": self.preset.embeddings,
            "vocabulary": None if self.vocabulary is None else self.vocabulary.to_dict(),
            "layout": self.preset.layout,
            "buckets": None if self.buckets is None else list(self.buckets),
            "widths": list(self.widths),
            "graphs": [
                {"name": graph.name, "file": graph.file, "width": graph.width, "estimated_bytes": size}
                for graph, size in zip(self.graphs, self.graph_bytes, strict=True)
            ],
            "estimated_bytes": self.estimated_bytes,
            "golden_rows": self.golden_rows,
            "calibration_rows": len(self.calibration),
        }


def plan_export(bundle_path: str | Path, options: ExportOptions) -> ExportPlan:
    """Checks what is asked for and says what would be written.

    Raises:
        BundleError: the bundle cannot be read.
        DeviceError: unknown target, one without a preset for the backend, or one that the engine installed here must
            not be used on.
        WidthError: a width that the bundle lacks; the message lists those that it has.
        UsageError: the bundle reads images, its vocabulary cannot be trimmed, the backend is unknown, or calibration
            texts are missing or not asked for; MissingDependencyError: the backend lacks a library.
        DataError: the texts to trim the vocabulary to, or to calibrate on, cannot be read.
        ExportError: the format cannot hold the graphs.
    """
    bundle = Bundle.open(bundle_path)
    if bundle.info.modality != "text":
        raise UsageError(
            f"{bundle.path} reads images, but the device runtime reads text; it can be evaluated, not exported"
        )
    device = load_device(options.target)
    preset = options.preset(device)
    calibration = _calibration_texts(preset, options.calibration_data, options.columns)
    exporter = load_exporter(options.backend)
    _refuse_blocked(device, exporter)
    import torch  # after the exporter, which says how to install what is missing

    from sharcs_edge.model.encoder import SharcsForSequenceClassification

    config = _read_config(bundle)
    vocabulary = None if options.trim_vocab is None else _trim(bundle, config, options.trim_vocab, options.columns)
    with torch.device("meta"):
        model = SharcsForSequenceClassification(config)
    slices = _choose(bundle, config, options.widths)
    graphs = plan_graphs(config, len(bundle.info.labels), slices, exporter)
    if exporter.fixed_lengths:
        longest = min(bundle.info.max_length, config.max_tokens)
        buckets = choose_buckets(bundle_lengths(bundle, longest), longest)
        graphs = tuple(replace(graph, buckets=buckets) for graph in graphs)
    with torch.device("meta"):
        sizes = [exporter.estimate(graph.name, _stored(model, graph, slices, preset), preset) for graph in graphs]
    return ExportPlan(
        bundle=bundle,
        device=device,
        exporter=exporter,
        preset=preset,
        slices=slices,
        graphs=graphs,
        graph_bytes=tuple(sizes),
        golden_rows=min(GOLDEN_ROWS, len(bundle.examples)),
        vocabulary=vocabulary,
        calibration=calibration,
    )


def _calibration_texts(preset: Preset, source: str | None, columns: Columns) -> tuple[Text, ...]:
    """A part of the texts of ``source``, drawn at random; the same part in every export."""
    if preset.quantization != "int8_static":
        if source is not None:
            raise UsageError(
                f"--calibration-data is for --quantization int8_static; {preset.quantization} fixes no scales of "
                "activations"
            )
        return ()
    if source is None:
        raise UsageError(
            "int8_static takes the scales of activations from texts, and there are none: name the training texts with "
            "--calibration-data, or use --quantization int8_dynamic"
        )
    rows = list(read_examples(source, columns))
    chosen = draw_rows(min(CALIBRATION_ROWS, len(rows)), len(rows), seed=0)
    return tuple(rows[index].inputs for index in chosen)


def _refuse_blocked(device: DeviceProfile, exporter: Exporter) -> None:
    """Parity is checked with the engine installed here: that has to be one which runs on the target."""
    for package, version in exporter.tools().items():
        entry = device.blocked_by(package, version)
        if entry is not None:
            raise DeviceError(
                f"{package} {version} must not be used on {device.name} ({entry.reason}), so that a check with it says "
                f"nothing of that device: install another version with `pip install '{package}!={version}'`"
            )


def plan_graphs(
    config: SharcsEncoderConfig, labels: int, slices: Sequence[WidthSlice], exporter: Exporter
) -> tuple[GraphPlan, ...]:
    """The trunk and one tail per width, ascending."""
    from sharcs_edge.model.macs import tail_macs, trunk_macs

    tokens = ("batch", "tokens")
    names = ("input_ids", "attention_mask", "token_type_ids")
    ids, mask, types = (TensorSpec(name, exporter.token_type, tokens) for name in names)
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


def _stored(
    model: SharcsForSequenceClassification, graph: GraphPlan, slices: Sequence[WidthSlice], preset: Preset
) -> nn.Module:
    """What of a graph takes room: in a shared layout, of a narrower tail only what the widest one does not have."""
    from sharcs_edge.model.submodels import Tail, without_shared

    module = make_module(model, graph, slices)
    if preset.layout != "shared" or not isinstance(module, Tail) or graph.width in (None, slices[-1].width):
        return module
    return module if model.config.sharcs.has_own_layers(graph.width) else without_shared(module)


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


def _trim(bundle: Bundle, config: SharcsEncoderConfig, source: str, columns: Columns) -> TrimmedVocabulary:
    """The vocabulary for the texts of ``source``, which ``config`` has then."""
    rows = read_examples(source, columns)
    texts = (text for row in rows for text in (row.text, row.text_pair) if text is not None)
    vocabulary = trim_vocabulary(bundle.tokenizer_file, texts, config.pad_token_id)
    vocabulary.trim_config(config)
    return vocabulary


def _read_config(bundle: Bundle) -> SharcsEncoderConfig:
    from sharcs_edge.model.configuration import SharcsEncoderConfig

    try:
        return SharcsEncoderConfig.from_pretrained(bundle.path)
    except (OSError, ValueError, TypeError) as error:
        raise BundleError(f"cannot read {bundle.path / 'config.json'}: {error}; train again") from error
