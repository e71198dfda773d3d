"""One declarative row per Hugging Face architecture: where its sizes and its weights are, and how it differs from BERT.

An architecture made of the parts that :class:`~sharcs_edge.model.configuration.SharcsEncoderConfig` can name is one
more row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from sharcs_edge.errors import UsageError
from sharcs_edge.model.positions import RELATIVE_BUCKETS


@dataclass(frozen=True)
class Part:
    """One of ``parts`` equal blocks of rows of their weight ``name``."""

    name: str
    index: int
    parts: int


# Ours -> theirs, relative to the layer's prefix. BERT's names are shared by RoBERTa and ELECTRA.
_BERT_LAYER: Mapping[str, str | Part] = MappingProxyType(
    {
        "attention.query": "attention.self.query",
        "attention.key": "attention.self.key",
        "attention.value": "attention.self.value",
        "attention.output": "attention.output.dense",
        "attention_norms.{width}": "attention.output.LayerNorm",
        "up": "intermediate.dense",
        "down": "output.dense",
        "output_norms.{width}": "output.LayerNorm",
    }
)
_BERT_EMBEDDINGS: Mapping[str, str] = MappingProxyType(
    {
        "embeddings.words": "embeddings.word_embeddings",
        "embeddings.positions": "embeddings.position_embeddings",
        "embeddings.token_types": "embeddings.token_type_embeddings",
        "embeddings.norm": "embeddings.LayerNorm",
    }
)
_BERT_SIZES: Mapping[str, str] = MappingProxyType(
    {
        "vocab_size": "vocab_size",
        "pad_token_id": "pad_token_id",
        "hidden_size": "hidden_size",
        "num_layers": "num_hidden_layers",
        "num_heads": "num_attention_heads",
        "intermediate_size": "intermediate_size",
        "hidden_activation": "hidden_act",
        "hidden_dropout": "hidden_dropout_prob",
        "attention_dropout": "attention_probs_dropout_prob",
        "head_dropout": "classifier_dropout",
        "max_positions": "max_position_embeddings",
        "token_types": "type_vocab_size",
        "norm_eps": "layer_norm_eps",
        "initializer_range": "initializer_range",
    }
)
_ROBERTA_HEAD: Mapping[str, str] = MappingProxyType(
    {"head.dense": "classifier.dense", "head.classifier": "classifier.out_proj"}
)


@dataclass(frozen=True)
class Architecture:
    """How to read and write one ``model_type`` of transformers.

    Attributes:
        classifier: transformers class of the sequence or image classifier.
        base: prefix of the encoder's weights.
        layer_prefix: prefix of layer ``{layer}``, after ``base``.
        encoder: our module (or parameter) outside the layers -> theirs, after ``base``.
        layer: our module of a layer -> theirs, after the layer's prefix; a :class:`Part` where theirs are joined.
        head: our module -> theirs, without ``base``.
        sizes: our configuration field -> the attribute of theirs.
        constants: our configuration fields that are the same for every model of this type.
        derived: our configuration fields that follow from theirs by more than a name; may raise UsageError.
        counts_padding: positions start behind the padding id, as in RoBERTa.
        refuse: configuration attribute -> the only value we can represent.
    """

    model_type: str
    classifier: str
    base: str
    layer_prefix: str
    encoder: Mapping[str, str]
    layer: Mapping[str, str | Part]
    head: Mapping[str, str]
    sizes: Mapping[str, str]
    constants: Mapping[str, object] = field(default_factory=dict)
    derived: Callable[[Any], Mapping[str, object]] | None = None
    counts_padding: bool = False
    refuse: Mapping[str, object] = field(default_factory=dict)


def _without(names: Mapping[str, Any], *left_out: str) -> dict[str, Any]:
    return {ours: theirs for ours, theirs in names.items() if ours not in left_out}


def _albert_groups(source: Any) -> dict[str, object]:
    layers, groups = source.num_hidden_layers, source.num_hidden_groups
    if groups > layers:
        raise UsageError(f"albert with {groups} groups of layers for {layers} layers is not supported: some are unused")
    return {"layer_modules": [int(layer / (layers / groups)) for layer in range(layers)]}


def _modernbert_choices(source: Any) -> dict[str, object]:
    for kind, rope in source.rope_parameters.items():
        if rope["rope_type"] != "default":
            raise UsageError(
                f"modernbert with rope_type={rope['rope_type']!r} for {kind} is not supported; expected 'default'"
            )
    return {
        "rotary_bases": [float(source.rope_parameters[kind]["rope_theta"]) for kind in source.layer_types],
        "attention_windows": [
            source.sliding_window if kind == "sliding_attention" else None for kind in source.layer_types
        ],
        "head_pooling": "mean" if source.classifier_pooling == "mean" else "first",
    }


def _vit_sizes(source: Any) -> dict[str, object]:
    image, patch = (
        [size, size] if isinstance(size, int) else list(size) for size in (source.image_size, source.patch_size)
    )
    return {"image_size": image, "patch_size": patch}


_ROWS = (
    Architecture(
        model_type="bert",
        classifier="BertForSequenceClassification",
        base="bert.",
        layer_prefix="encoder.layer.{layer}.",
        encoder=_BERT_EMBEDDINGS,
        layer=_BERT_LAYER,
        head={"head.dense": "bert.pooler.dense", "head.classifier": "classifier"},
        sizes=_BERT_SIZES,
        constants={"head_activation": "tanh"},
        refuse={"position_embedding_type": "absolute", "is_decoder": False},
    ),
    Architecture(
        model_type="roberta",
        classifier="RobertaForSequenceClassification",
        base="roberta.",
        layer_prefix="encoder.layer.{layer}.",
        encoder=_BERT_EMBEDDINGS,
        layer=_BERT_LAYER,
        head=_ROBERTA_HEAD,
        sizes=_BERT_SIZES,
        constants={"head_activation": "tanh"},
        counts_padding=True,
        refuse={"position_embedding_type": "absolute", "is_decoder": False},
    ),
    Architecture(
        model_type="electra",
        classifier="ElectraForSequenceClassification",
        base="electra.",
        layer_prefix="encoder.layer.{layer}.",
        encoder={**_BERT_EMBEDDINGS, "embeddings.projection": "embeddings_project"},
        layer=_BERT_LAYER,
        head=_ROBERTA_HEAD,
        sizes={**_BERT_SIZES, "embedding_size": "embedding_size"},
        constants={"head_activation": "gelu"},
        refuse={"position_embedding_type": "absolute", "is_decoder": False},
    ),
    Architecture(
        model_type="distilbert",
        classifier="DistilBertForSequenceClassification",
        base="distilbert.",
        layer_prefix="transformer.layer.{layer}.",
        encoder=_without(_BERT_EMBEDDINGS, "embeddings.token_types"),
        layer={
            "attention.query": "attention.q_lin",
            "attention.key": "attention.k_lin",
            "attention.value": "attention.v_lin",
            "attention.output": "attention.out_lin",
            "attention_norms.{width}": "sa_layer_norm",
            "up": "ffn.lin1",
            "down": "ffn.lin2",
            "output_norms.{width}": "output_layer_norm",
        },
        head={"head.dense": "pre_classifier", "head.classifier": "classifier"},
        sizes={
            "vocab_size": "vocab_size",
            "pad_token_id": "pad_token_id",
            "hidden_size": "dim",
            "num_layers": "n_layers",
            "num_heads": "n_heads",
            "intermediate_size": "hidden_dim",
            "hidden_activation": "activation",
            "hidden_dropout": "dropout",
            "attention_dropout": "attention_dropout",
            "head_dropout": "seq_classif_dropout",
            "max_positions": "max_position_embeddings",
            "initializer_range": "initializer_range",
        },
        constants={"token_types": 0, "norm_eps": 1e-12, "head_activation": "relu"},
    ),
    Architecture(
        model_type="albert",
        classifier="AlbertForSequenceClassification",
        base="albert.",
        layer_prefix="encoder.albert_layer_groups.{layer}.albert_layers.0.",
        encoder={**_BERT_EMBEDDINGS, "embeddings.projection": "encoder.embedding_hidden_mapping_in"},
        layer={
            "attention.query": "attention.query",
            "attention.key": "attention.key",
            "attention.value": "attention.value",
            "attention.output": "attention.dense",
            "attention_norms.{width}": "attention.LayerNorm",
            "up": "ffn",
            "down": "ffn_output",
            "output_norms.{width}": "full_layer_layer_norm",
        },
        head={"head.dense": "albert.pooler", "head.classifier": "classifier"},
        sizes={**_BERT_SIZES, "embedding_size": "embedding_size", "head_dropout": "classifier_dropout_prob"},
        constants={"head_activation": "tanh", "embedding_projection": True},
        derived=_albert_groups,
        refuse={"inner_group_num": 1},
    ),
    Architecture(
        model_type="mpnet",
        classifier="MPNetForSequenceClassification",
        base="mpnet.",
        layer_prefix="encoder.layer.{layer}.",
        encoder={
            **_without(_BERT_EMBEDDINGS, "embeddings.token_types"),
            "contexts.relative": "encoder.relative_attention_bias",
        },
        layer={
            **_BERT_LAYER,
            "attention.query": "attention.attn.q",
            "attention.key": "attention.attn.k",
            "attention.value": "attention.attn.v",
            "attention.output": "attention.attn.o",
            "attention_norms.{width}": "attention.LayerNorm",
        },
        head=_ROBERTA_HEAD,
        sizes={**_without(_BERT_SIZES, "token_types"), "head_dropout": "hidden_dropout_prob"},
        constants={"token_types": 0, "head_activation": "tanh", "relative_bias": True},
        counts_padding=True,
        # transformers counts positions from 2 and distances in 32 buckets, whatever these say.
        refuse={"pad_token_id": 1, "relative_attention_num_buckets": RELATIVE_BUCKETS},
    ),
    Architecture(
        model_type="modernbert",
        classifier="ModernBertForSequenceClassification",
        base="model.",
        layer_prefix="layers.{layer}.",
        encoder={
            "embeddings.words": "embeddings.tok_embeddings",
            "embeddings.norm": "embeddings.norm",
            "final_norms.{width}": "final_norm",
        },
        layer={
            "attention_norms.{width}": "attn_norm",
            "attention.query": Part("attn.Wqkv", 0, 3),
            "attention.key": Part("attn.Wqkv", 1, 3),
            "attention.value": Part("attn.Wqkv", 2, 3),
            "attention.output": "attn.Wo",
            "output_norms.{width}": "mlp_norm",
            "up": Part("mlp.Wi", 0, 2),
            "gate": Part("mlp.Wi", 1, 2),
            "down": "mlp.Wo",
        },
        head={"head.dense": "head.dense", "head.norm": "head.norm", "head.classifier": "classifier"},
        sizes={
            **_without(_BERT_SIZES, "token_types"),
            "hidden_activation": "hidden_activation",
            "hidden_dropout": "mlp_dropout",  # where BERT drops out: transformers does so inside the FFN
            "attention_dropout": "attention_dropout",
            "norm_eps": "norm_eps",
            "norm_bias": "norm_bias",
            "qkv_bias": "attention_bias",
            "attention_output_bias": "attention_bias",
            "ffn_bias": "mlp_bias",
            "head_activation": "classifier_activation",
            "head_dense_bias": "classifier_bias",
        },
        constants={
            "token_types": 0,
            "learned_positions": False,
            "norm_first": True,
            "first_attention_norm": False,
            "gated": True,
            "head_norm": True,
        },
        derived=_modernbert_choices,
    ),
    Architecture(
        model_type="vit",
        classifier="ViTForImageClassification",
        base="vit.",
        layer_prefix="layers.{layer}.",
        encoder={
            "embeddings.first_token": "embeddings.cls_token",
            "embeddings.positions": "embeddings.position_embeddings",
            "embeddings.patches": "embeddings.patch_embeddings.projection",
            "final_norms.{width}": "layernorm",
        },
        layer={
            "attention_norms.{width}": "layernorm_before",
            "attention.query": "attention.q_proj",
            "attention.key": "attention.k_proj",
            "attention.value": "attention.v_proj",
            "attention.output": "attention.o_proj",
            "output_norms.{width}": "layernorm_after",
            "up": "mlp.fc1",
            "down": "mlp.fc2",
        },
        head={"head.classifier": "classifier"},
        sizes={
            **_without(_BERT_SIZES, "vocab_size", "pad_token_id", "head_dropout", "max_positions", "token_types"),
            "qkv_bias": "qkv_bias",
            "num_channels": "num_channels",
        },
        constants={
            "vocab_size": 0,
            "pad_token_id": None,
            "token_types": 0,
            "head_dropout": 0.0,
            "norm_first": True,
            "head_dense": False,
        },
        derived=_vit_sizes,
    ),
)
ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType({row.model_type: row for row in _ROWS})


def architecture_of(model_type: str) -> Architecture:
    """The row of a transformers ``model_type``.

    Raises:
        UsageError: no such row; the message lists those that exist.
    """
    try:
        return ARCHITECTURES[model_type]
    except KeyError:
        known = ", ".join(sorted(ARCHITECTURES))
        raise UsageError(
            f"model type {model_type!r} is not supported; expected one of: {known}. "
            "A new architecture is one row in sharcs_edge/model/architectures.py"
        ) from None
