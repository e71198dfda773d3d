"""The model card of an artifact: what it is, how good it is, where it comes from and what it is not for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sharcs_edge.bundle import Bundle, LabelScale
from sharcs_edge.device import DeviceProfile
from sharcs_edge.export.vocabulary import TrimmedVocabulary
from sharcs_edge_runtime.manifest import Graph, Manifest, find_width, format_widths
from sharcs_edge_runtime.tasks import METRICS, Metric

CARD_FILE = "README.md"
_TOKENS = 32
_SURE = "possibly with a high score: scores are no calibrated probabilities."
_STRANGER = {
    "classification": f"one of the labels too, {_SURE}",
    "multi_label": f"labels too, {_SURE}",
    "regression": "a value too, and nothing says how far to trust it. Values outside the training range can occur.",
}
"""What becomes of a text unlike the training texts."""


def model_card(
    manifest: Manifest, bundle: Bundle, device: DeviceProfile, vocabulary: TrimmedVocabulary | None = None
) -> str:
    """The card in Markdown. It holds no date and no path: equal artifacts get equal cards.

    ``vocabulary``: what the source model's was trimmed to.
    """
    sections = [
        f"# {manifest.family}",
        _summary(manifest, device, bundle.info.label_scale),
        "## Use",
        _use(manifest, device),
        "## Graphs",
        _table(
            ("graph", "bytes", "weights", f"multiply-adds at {_TOKENS} tokens"),
            [
                *(
                    (graph.name, f"{graph.bytes:,}", _weights(graph), f"{graph.macs.count(_TOKENS):,}")
                    for graph in manifest.graphs
                ),
                *((file.file, f"{file.bytes:,}", "of all graphs", "") for file in manifest.files),
            ],
        ),
        "## Quality",
        _quality(manifest, bundle.record),
        "## Provenance",
        _provenance(manifest, bundle),
        "## Intended use and limits",
        _limits(manifest, vocabulary),
    ]
    return "\n\n".join(sections) + "\n"


def public_name(name: str) -> str:
    """A model's or data set's name as it may leave this machine: of a path only the last part."""
    path = Path(name).expanduser()
    return path.name if path.is_absolute() or path.parts[:1] == ("..",) else name


def _summary(manifest: Manifest, device: DeviceProfile, scale: LabelScale | None) -> str:
    texts = "a pair of texts" if manifest.text_inputs == 2 else "a text"
    return (
        f"{_does(manifest, texts, scale)} with a transformer encoder that picks "
        f"its own width per input: a trunk of {manifest.trunk_layers} of {manifest.num_layers} layers with a router, "
        f"and one tail per width ({format_widths(manifest.widths)} of the encoder). Exported for the target "
        f"`{manifest.target}` ({device.title})."
    )


def _does(manifest: Manifest, texts: str, scale: LabelScale | None) -> str:
    labels = ", ".join(f"`{label}`" for label in manifest.labels)
    if scale is not None:
        return f"Gives {texts} a value ({labels}; {scale.lowest:g} to {scale.highest:g} in training)"
    count = f"{len(manifest.labels)} labels ({labels})"
    return (
        f"Says which of {count} hold for {texts}"
        if manifest.task == "multi_label"
        else f"Sorts {texts} into one of {count}"
    )


def _use(manifest: Manifest, device: DeviceProfile) -> str:
    example = '("a text", "another")' if manifest.text_inputs == 2 else '"a text"'
    lines = [
        "```python",
        "from sharcs_edge_runtime import Session",
        "",
        f'print(Session.load("path/of/this/folder").predict({example}))',
        "```",
        "",
        "`python -m sharcs_edge_runtime.verify path/of/this/folder` checks on the device that it answers as torch did.",
    ]
    lines += [f"Not with {entry.package} {entry.versions}: it {entry.reason}." for entry in device.blocked]
    return "\n".join(lines)


def _weights(graph: Graph) -> str:
    done = graph.quantization
    linears = "float32" if done.recipe == "none" else f"{done.recipe}, {done.matmul_coverage:.0%} of the linears"
    return f"{linears}, {done.options['embeddings']} embeddings" if "embeddings" in done.options else linears


def _quality(manifest: Manifest, record: Mapping[str, Any]) -> str:
    """Scores on the dev rows, as the training record has them; they were measured before quantization."""
    dev, trained = record.get("dev", {}), record.get("widths", [])
    metrics = METRICS[manifest.task]
    columns = [dev.get(metric.name, []) for metric in metrics]
    shares = dev.get("shares", [])
    if not trained or any(len(column) != len(trained) for column in (*columns, shares)):
        return "The training record holds no quality per width; measure it with `sharcs-edge evaluate`."
    rows = []
    for width in manifest.widths:
        index = find_width(trained, width)
        scores = [_score(metric, column[index]) for metric, column in zip(metrics, columns, strict=True)]
        rows.append((f"{width:g}", *scores, f"{shares[index]:.1%}"))
    if len(rows) == len(trained):
        for title, prefix in (("routed", "routed_"), ("same shares at random", "random_")):
            rows.append((title, *(_score(metric, dev[prefix + metric.name]) for metric in metrics), ""))
        note = "the router's choice among them"
    else:
        note = "the router's choice among all trained widths, of which this artifact has a part"
    counted = f"{record.get('samples', {}).get('dev', 'the')} dev rows"
    return (
        f"Measured on {counted}, in float32 before export; shares are {note}. Measure the artifact itself with "
        "`sharcs-edge evaluate`.\n\n" + _table(("width", *(metric.title for metric in metrics), "share of rows"), rows)
    )


def _score(metric: Metric, value: float) -> str:
    return f"{value:.2%}" if metric.is_share else f"{value:.4f}"


def _provenance(manifest: Manifest, bundle: Bundle) -> str:
    record = bundle.record
    lines = [
        f"Source model: {public_name(bundle.info.source_model)}",
        f"Data: {public_name(str(record.get('data', 'not recorded')))}",
        *(str(note) for note in record.get("data_notes", [])),
    ]
    if "data_fingerprint" in record:
        lines.append(f"Data fingerprint: {record['data_fingerprint']}")
    settings = ("recipe", "width_dims", "epochs", "best_epoch", "batch_size", "learning_rate", "max_length", "seed")
    lines.append("Training: " + ", ".join(f"{name} {record[name]}" for name in settings if name in record))
    lines.append("Trained with: " + _versions(record.get("versions", {})))
    lines.append("Exported with: " + _versions(manifest.tools))
    return "\n".join(f"- {line}" for line in lines)


def _limits(manifest: Manifest, vocabulary: TrimmedVocabulary | None) -> str:
    tolerance = manifest.tolerance
    text = (
        "For texts like those it was trained on; tokens after the first "
        f"{manifest.tokenizer.max_length} are cut off. A text of another language, topic or form gets "
        f"{_STRANGER[manifest.task]} Biases of the source model and of the training data remain."
    )
    if vocabulary is not None:
        text += (
            f" Its vocabulary holds {len(vocabulary.kept):,} of the source model's {vocabulary.source_size:,} tokens; "
            "words beyond it are read in smaller pieces, of which less may be known."
        )
    if all(graph.quantization.recipe == "none" and not graph.quantization.options for graph in manifest.graphs):
        return text
    return (
        f"{text} Quantization shifts logits, and close decisions with them: on the golden rows `verify` asks "
        f"for {tolerance.label_agreement:.0%} of the rows within {tolerance.logits:g} of torch's and with the same "
        f"answer, and for {tolerance.route_agreement:.0%} equal routes."
    )


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(versions.items())) or "not recorded"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
