"""One declarative row per Hugging Face architecture: where its sizes and its weights are.

A new architecture of the same family (learned positions, post-LayerNorm, first-token head) is one more row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from sharcs_edge.errors import UsageError

# Ours -> theirs, relative to the layer's prefix. BERT's names are shared by RoBERTa and ELECTRA.
_BERT_LAYER: Mapping[str, str] = MappingProxyType(
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
        "words": "embeddings.word_embeddings",
        "positions": "embeddings.position_embeddings",
        "token_types": "embeddings.token_type_embeddings",
        "norm": "embeddings.LayerNorm",
    }
)
_BERT_SIZES: Mapping[str, str] = MappingProxyType(
    {
        "hidden_size": "hidden_size",
        "num_layers": "num_hidden_layers",
        "num_heads": "num_attention_heads",
        "intermediate_size": "intermediate_size",
        "hidden_activation": "hidden_act",
        "hidden_dropout": "hidden_dropout_prob",
        "attention_dropout": "attention_probs_dropout_prob",
        "max_positions": "max_position_embeddings",
        "token_types": "type_vocab_size",
        "norm_eps": "layer_norm_eps",
    }
)
_ROBERTA_HEAD: Mapping[str, str] = MappingProxyType({"dense": "classifier.dense", "classifier": "classifier.out_proj"})


@dataclass(frozen=True)
class Architecture:
    """How to read and write one ``model_type`` of transformers.

    Attributes:
        classifier: transformers class of the sequence classifier.
        sizes: our configuration field -> the attribute of theirs.
        constants: our configuration fields that theirs fixes.
        base: prefix of the encoder's weights.
        layer_prefix: prefix of layer ``{layer}``, after ``base``.
        embeddings, layer, head: our module -> theirs; ``head`` names are not under ``base``.
        counts_padding: positions start behind the padding id, as in RoBERTa.
        refuse: configuration attribute -> the only value we can represent.
    """

    model_type: str
    classifier: str
    base: str
    layer_prefix: str
    sizes: Mapping[str, str]
    embeddings: Mapping[str, str]
    layer: Mapping[str, str]
    head: Mapping[str, str]
    head_activation: str
    head_dropout: str
    constants: Mapping[str, float] = field(default_factory=dict)
    counts_padding: bool = False
    refuse: Mapping[str, object] = field(default_factory=dict)


ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        row.model_type: row
        for row in (
            Architecture(
                model_type="bert",
                classifier="BertForSequenceClassification",
                base="bert.",
                layer_prefix="encoder.layer.{layer}.",
                sizes=_BERT_SIZES,
                embeddings=_BERT_EMBEDDINGS,
                layer=_BERT_LAYER,
                head={"dense": "bert.pooler.dense", "classifier": "classifier"},
                head_activation="tanh",
                head_dropout="classifier_dropout",
                refuse={"position_embedding_type": "absolute", "is_decoder": False},
            ),
            Architecture(
                model_type="roberta",
                classifier="RobertaForSequenceClassification",
                base="roberta.",
                layer_prefix="encoder.layer.{layer}.",
                sizes=_BERT_SIZES,
                embeddings=_BERT_EMBEDDINGS,
                layer=_BERT_LAYER,
                head=_ROBERTA_HEAD,
                head_activation="tanh",
                head_dropout="classifier_dropout",
                counts_padding=True,
                refuse={"position_embedding_type": "absolute", "is_decoder": False},
            ),
            Architecture(
                model_type="electra",
                classifier="ElectraForSequenceClassification",
                base="electra.",
                layer_prefix="encoder.layer.{layer}.",
                sizes={**_BERT_SIZES, "embedding_size": "embedding_size"},
                embeddings={**_BERT_EMBEDDINGS, "projection": "embeddings_project"},
                layer=_BERT_LAYER,
                head=_ROBERTA_HEAD,
                head_activation="gelu",
                head_dropout="classifier_dropout",
                refuse={"position_embedding_type": "absolute", "is_decoder": False},
            ),
            Architecture(
                model_type="distilbert",
                classifier="DistilBertForSequenceClassification",
                base="distilbert.",
                layer_prefix="transformer.layer.{layer}.",
                sizes={
                    "hidden_size": "dim",
                    "num_layers": "n_layers",
                    "num_heads": "n_heads",
                    "intermediate_size": "hidden_dim",
                    "hidden_activation": "activation",
                    "hidden_dropout": "dropout",
                    "attention_dropout": "attention_dropout",
                    "max_positions": "max_position_embeddings",
                },
                embeddings={k: v for k, v in _BERT_EMBEDDINGS.items() if k != "token_types"},
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
                head={"dense": "pre_classifier", "classifier": "classifier"},
                head_activation="relu",
                head_dropout="seq_classif_dropout",
                constants={"token_types": 0, "norm_eps": 1e-12},
            ),
        )
    }
)


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
