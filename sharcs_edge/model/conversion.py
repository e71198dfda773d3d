"""Hugging Face weights into the nested-width encoder, and the full width back out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel

from sharcs_edge.config import SharcsConfig, distinct_widths
from sharcs_edge.errors import BundleError, UsageError
from sharcs_edge.model.architectures import Architecture, Part, architecture_of
from sharcs_edge.model.configuration import SharcsEncoderConfig
from sharcs_edge.model.encoder import SharcsForSequenceClassification


def from_hugging_face(model: PreTrainedModel, plan: SharcsConfig) -> SharcsForSequenceClassification:
    """The nested-width encoder with the weights of a transformers sequence or image classifier.

    Every width's LayerNorms start as (the leading part of) the source's; the router and the entry norms are new.

    Raises:
        UsageError: an architecture, or a variant of one, that has no row in the architecture table.
    """
    row = architecture_of(model.config.model_type)
    nested = SharcsForSequenceClassification(configure(model.config, plan))
    source = model.state_dict()
    target = nested.state_dict()
    links = list(weight_links(nested.config, row, target))
    if unused := source.keys() - {link.theirs for link in links}:
        raise UsageError(f"this {row.classifier} has weights without a place in ours: {', '.join(sorted(unused))}")
    for link in links:
        value = source[link.theirs].chunk(link.parts)[link.index]
        # A narrow LayerNorm starts as the leading part of the full one.
        target[link.ours].copy_(value[: target[link.ours].shape[0]] if value.dim() == 1 else value)
    nested.copy_own_layers()
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
    source_config.problem_type = config.problem_type
    model: PreTrainedModel = getattr(transformers, row.classifier)(source_config)
    state = nested.state_dict()
    # Of several LayerNorms the full width's comes last; of the parts of a weight, each has its place.
    parts: dict[str, dict[int, Tensor]] = {}
    for link in weight_links(config, row, state):
        parts.setdefault(link.theirs, {})[link.index] = state[link.ours]
    weights = {theirs: torch.cat([by_index[index] for index in sorted(by_index)]) for theirs, by_index in parts.items()}
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
    row = architecture_of(_read_config(source).model_type)
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


def fit_widths(source: str | Path, plan: SharcsConfig) -> SharcsConfig:
    """The plan without the narrow widths that this encoder, with few heads, could not tell from the next wider one.

    Raises:
        UsageError: as :func:`load_pretrained`.
    """
    config = _read_config(source)
    heads = getattr(config, architecture_of(config.model_type).sizes["num_heads"])
    return replace(plan, widths=distinct_widths(plan.widths, heads))


def _read_config(source: str | Path) -> PreTrainedConfig:
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"cannot load a model from {str(source)!r}: expected a folder with config.json and weights, or a hub "
            f"name that can be reached ({first_line(error)})"
        ) from error
    return config


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
    sizes |= {} if row.derived is None else row.derived(source)
    sizes.setdefault("embedding_size", sizes["hidden_size"])
    if sizes["head_dropout"] is None:
        sizes["head_dropout"] = sizes["hidden_dropout"]
    if row.counts_padding:
        sizes["position_offset"] = source.pad_token_id + 1
    _check_sizes(row.model_type, sizes, plan)
    config = SharcsEncoderConfig(
        architecture=row.model_type,
        source_config={key: value for key, value in source.to_dict().items() if key != "_name_or_path"},
        id2label=source.id2label,
        label2id=source.label2id,
        **sizes,
        **asdict(plan) | {"widths": list(plan.widths)},
    )
    config.slices  # noqa: B018  raises WidthError for widths that round to the same heads
    return config


def _check_sizes(model_type: str, sizes: Mapping[str, Any], plan: SharcsConfig) -> None:
    if sizes["hidden_size"] % sizes["num_heads"]:
        raise UsageError(
            f"{model_type} with hidden size {sizes['hidden_size']} and {sizes['num_heads']} attention heads is not "
            "supported; expected heads that divide it evenly"
        )
    if plan.trunk_layers >= sizes["num_layers"]:
        raise UsageError(
            f"trunk_layers is {plan.trunk_layers}, but the encoder has {sizes['num_layers']} layers; at least one "
            "must be left for the tails"
        )
    if plan.entry_norm == "every" and sizes.get("norm_first"):
        raise UsageError(
            f'entry_norm "every" is for encoders with LayerNorms behind their layers; {model_type} has them inside, '
            "where every layer normalises what it reads; give --set entry_norm=narrow"
        )


@dataclass(frozen=True)
class WeightLink:
    """``ours`` is block ``index`` of the ``parts`` equal blocks of rows of ``theirs``."""

    ours: str
    theirs: str
    index: int
    parts: int


def weight_links(config: SharcsEncoderConfig, row: Architecture, names: Collection[str]) -> Iterator[WeightLink]:
    """Every weight of ours (``names``) that transformers has, too; of LayerNorms every width's, ascending."""
    yield from _links("", row.encoder, row.base, config, names)
    for module in sorted(set(config.modules)):
        theirs = row.base + row.layer_prefix.format(layer=module)
        yield from _links(f"layers.{module}.", row.layer, theirs, config, names)
    yield from _links("", row.head, "", config, names)


def _links(
    prefix: str, modules: Mapping[str, str | Part], base: str, config: SharcsEncoderConfig, names: Collection[str]
) -> Iterator[WeightLink]:
    for ours, theirs in modules.items():
        part = theirs if isinstance(theirs, Part) else Part(theirs, 0, 1)
        for width in range(len(config.slices)) if "{width}" in ours else (0,):
            name = prefix + ours.format(width=width)
            for suffix in ("", ".weight", ".bias"):  # without a suffix: a parameter of its own
                if name + suffix in names:
                    yield WeightLink(name + suffix, base + part.name + suffix, part.index, part.parts)


def first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
