"""The model card of an artifact: what it is, how good it is, where it comes from and what it is not for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sharcs_edge.bundle import Bundle
from sharcs_edge.device import DeviceProfile
from sharcs_edge_runtime.manifest import Graph, Manifest, find_width, format_widths

CARD_FILE = "README.md"
_TOKENS = 32


def model_card(manifest: Manifest, bundle: Bundle, device: DeviceProfile) -> str:
    """The card in Markdown. It holds no date and no path: equal artifacts get equal cards."""
    sections = [
        f"# {manifest.family}",
        _summary(manifest, device),
        "## Use",
        _use(manifest, device),
        "## Graphs",
        _table(
            ("graph", "bytes", "weights", f"multiply-adds at {_TOKENS} tokens"),
            (
                (graph.name, f"{graph.bytes:,}", _weights(graph), f"{graph.macs.count(_TOKENS):,}")
                for graph in manifest.graphs
            ),
        ),
        "## Quality",
        _quality(manifest, bundle.record),
        "## Provenance",
        _provenance(manifest, bundle),
        "## Intended use and limits",
        _limits(manifest),
    ]
    return "\n\n".join(sections) + "\n"


def public_name(name: str) -> str:
    """A model's or data set's name as it may leave this machine: of a path only the last part."""
    path = Path(name).expanduser()
    return path.name if path.is_absolute() or path.parts[:1] == ("..",) else name


def _summary(manifest: Manifest, device: DeviceProfile) -> str:
    texts = "a pair of texts" if manifest.text_inputs == 2 else "a text"
    labels = ", ".join(f"`{label}`" for label in manifest.labels)
    return (
        f"Sorts {texts} into one of {len(manifest.labels)} labels ({labels}) with a transformer encoder that picks "
        f"its own width per input: a trunk of {manifest.trunk_layers} of {manifest.num_layers} layers with a router, "
        f"and one tail per width ({format_widths(manifest.widths)} of the encoder). Exported for the target "
        f"`{manifest.target}` ({device.title})."
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
    if graph.quantization.recipe == "none":
        return "float32"
    return f"{graph.quantization.recipe}, {graph.quantization.matmul_coverage:.0%} of the linears"


def _quality(manifest: Manifest, record: Mapping[str, Any]) -> str:
    """Accuracy on the dev rows, as the training record has it; it was measured before quantization."""
    dev, trained = record.get("dev", {}), record.get("widths", [])
    accuracy, shares = dev.get("accuracy", []), dev.get("shares", [])
    if not trained or len(accuracy) != len(trained) or len(shares) != len(trained):
        return "The training record holds no quality per width; measure it with `sharcs-edge evaluate`."
    rows = []
    for width in manifest.widths:
        index = find_width(trained, width)
        rows.append((f"{width:g}", f"{accuracy[index]:.2%}", f"{shares[index]:.1%}"))
    if len(rows) == len(trained):
        rows.append(("routed", f"{dev['routed_accuracy']:.2%}", ""))
        rows.append(("same shares at random", f"{dev['random_accuracy']:.2%}", ""))
        note = "the router's choice among them"
    else:
        note = "the router's choice among all trained widths, of which this artifact has a part"
    counted = f"{record.get('samples', {}).get('dev', 'the')} dev rows"
    return (
        f"Accuracy on {counted}, in float32 before export; shares are {note}. Measure the artifact itself with "
        "`sharcs-edge evaluate`.\n\n" + _table(("width", "accuracy", "share of rows"), rows)
    )


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


def _limits(manifest: Manifest) -> str:
    tolerance = manifest.tolerance
    text = (
        "For texts like those it was trained on; tokens after the first "
        f"{manifest.tokenizer.max_length} are cut off. A text of another language, topic or form gets one of the "
        "labels too, possibly with a high score: scores are no calibrated probabilities. Biases of the source model "
        "and of the training data remain."
    )
    if all(graph.quantization.recipe == "none" for graph in manifest.graphs):
        return text
    return (
        f"{text} Quantization shifts logits, and close decisions with them: on the golden rows `verify` allows a "
        f"difference of {tolerance.logits:g} to torch and asks for {tolerance.label_agreement:.0%} equal labels and "
        f"{tolerance.route_agreement:.0%} equal routes."
    )


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(versions.items())) or "not recorded"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
