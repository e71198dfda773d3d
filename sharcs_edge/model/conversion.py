"""Hugging Face weights into the nested-width encoder, and the full width back out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import transformers
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel

from sharcs_edge.config import SharcsConfig
from sharcs_edge.errors import BundleError, UsageError
from sharcs_edge.model.architectures import Architecture, architecture_of
from sharcs_edge.model.configuration import SharcsEncoderConfig
from sharcs_edge.model.encoder import SharcsForSequenceClassification


def from_hugging_face(model: PreTrainedModel, plan: SharcsConfig) -> SharcsForSequenceClassification:
    """The nested-width encoder with the weights of a transformers sequence classifier.

    Every width's LayerNorms start as (the leading part of) the source's; the router and the entry norms are new.

    Raises:
        UsageError: an architecture, or a variant of one, that has no row in the architecture table.
    """
    row = architecture_of(model.config.model_type)
    config = configure(model.config, plan)
    nested = SharcsForSequenceClassification(config)
    source = model.state_dict()
    target = nested.state_dict()
    for ours, theirs in weight_names(config, row):
        value = source[theirs]
        # A narrow LayerNorm starts as the leading part of the full one.
        target[ours].copy_(value[: target[ours].shape[0]] if value.dim() == 1 else value)
    return nested


def to_hugging_face(nested: SharcsForSequenceClassification) -> PreTrainedModel:
    """The full width as the transformers model it came from, with the trained weights.

    Raises:
        BundleError: the full width has an entry LayerNorm, which no transformers class can hold.
    """
    config = nested.config
    row = architecture_of(config.architecture)
    if config.has_entry_norm(config.slices[-1]):
        raise BundleError(
            'a model with entry_norm="every" has a LayerNorm before its full width that transformers models lack; '
            'train with entry_norm="narrow" to save back'
        )
    source_config = AutoConfig.for_model(**(config.source_config or {}))
    source_config.id2label, source_config.label2id = config.id2label, config.label2id
    model: PreTrainedModel = getattr(transformers, row.classifier)(source_config)
    state = nested.state_dict()
    full = len(config.slices) - 1
    weights = {theirs: state[ours] for ours, theirs in weight_names(config, row, norm_widths=(full,))}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    if missing or unexpected:
        raise BundleError(
            f"cannot save back to {row.classifier}: missing {sorted(missing)}, unexpected {sorted(unexpected)}"
        )
    model.train(False)
    return model


def load_pretrained(source: str | Path, labels: list[str], plan: SharcsConfig) -> SharcsForSequenceClassification:
    """A nested-width encoder from a local folder or a hub name, with a head for ``labels``.

    Raises:
        UsageError: not a folder with a model, not on the hub (or no network), or an unsupported architecture.
    """
    try:
        config = AutoConfig.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"cannot load a model from {str(source)!r}: expected a folder with config.json and weights, or a hub "
            f"name that can be reached ({first_line(error)})"
        ) from error
    row = architecture_of(config.model_type)
    names = dict(enumerate(labels))
    model = getattr(transformers, row.classifier).from_pretrained(
        source,
        num_labels=len(labels),
        id2label=names,
        label2id={label: index for index, label in names.items()},
        ignore_mismatched_sizes=True,  # a checkpoint fine-tuned on other labels: its classifier is replaced
        dtype="float32",
    )
    return from_hugging_face(model, plan)


def configure(source: PreTrainedConfig, plan: SharcsConfig) -> SharcsEncoderConfig:
    """Our configuration for a transformers one. Raises UsageError for what we cannot represent."""
    row = architecture_of(source.model_type)
    for attribute, expected in row.refuse.items():
        if getattr(source, attribute, expected) != expected:
            raise UsageError(
                f"{row.model_type} with {attribute}={getattr(source, attribute)!r} is not supported; "
                f"expected {expected!r}"
            )
    sizes: dict[str, Any] = {ours: getattr(source, theirs) for ours, theirs in row.sizes.items()}
    sizes |= row.constants
    sizes.setdefault("embedding_size", sizes["hidden_size"])
    if plan.trunk_layers >= sizes["num_layers"]:
        raise UsageError(
            f"trunk_layers is {plan.trunk_layers}, but the encoder has {sizes['num_layers']} layers; at least one "
            "must be left for the tails"
        )
    head_dropout = getattr(source, row.head_dropout, None)
    config = SharcsEncoderConfig(
        architecture=row.model_type,
        source_config={key: value for key, value in source.to_dict().items() if key != "_name_or_path"},
        vocab_size=source.vocab_size,
        position_offset=source.pad_token_id + 1 if row.counts_padding else 0,
        head_activation=row.head_activation,
        head_dropout=sizes["hidden_dropout"] if head_dropout is None else head_dropout,
        initializer_range=source.initializer_range,
        pad_token_id=source.pad_token_id,
        id2label=source.id2label,
        label2id=source.label2id,
        **sizes,
        **asdict(plan) | {"widths": list(plan.widths)},
    )
    config.slices  # noqa: B018  raises WidthError for widths that round to the same heads
    return config


def weight_names(
    config: SharcsEncoderConfig, row: Architecture, norm_widths: tuple[int, ...] | None = None
) -> Iterator[tuple[str, str]]:
    """(our weight, their weight) for every tensor both have; ``norm_widths`` limits the private LayerNorms."""
    every = tuple(range(len(config.slices)))
    for ours, theirs in row.embeddings.items():
        if ours == "projection" and config.embedding_size == config.hidden_size:
            continue
        suffixes = ("weight", "bias") if ours in ("norm", "projection") else ("weight",)
        yield from ((f"embeddings.{ours}.{s}", f"{row.base}{theirs}.{s}") for s in suffixes)
    for layer in range(config.num_layers):
        prefix = row.base + row.layer_prefix.format(layer=layer)
        widths: tuple[int, ...] = (0,) if layer < config.trunk_layers else (norm_widths or every)
        for ours, theirs in row.layer.items():
            for width in widths if "{width}" in ours else (0,):
                name = f"layers.{layer}.{ours.format(width=width)}"
                yield from ((f"{name}.{s}", f"{prefix}{theirs}.{s}") for s in ("weight", "bias"))
    for ours, theirs in row.head.items():
        yield from ((f"head.{ours}.{s}", f"{theirs}.{s}") for s in ("weight", "bias"))


def first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
