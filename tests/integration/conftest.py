"""Tiny bundles, complete and real but for their size: built here, random weights, a tokenizer of 60 words."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import BertProcessing
from transformers import AutoConfig, AutoModelForSequenceClassification

from sharcs_edge.bundle import BundleExample, BundleInfo, write_bundle_files
from sharcs_edge.config import SharcsConfig
from sharcs_edge.model.conversion import from_hugging_face

LABELS = ("bad", "good", "mixed")
WORDS = tuple(a + b for a in ("ka", "lo", "mi", "nu", "pe", "ro") for b in ("ba", "de", "fi", "go", "lu", "se", "ta"))
_SIZES: dict[str, dict[str, Any]] = {
    "bert": {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 6, "intermediate_size": 48},
    "roberta": {
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 6,
        "intermediate_size": 48,
        "max_position_embeddings": 66,
        "type_vocab_size": 1,
        "pad_token_id": 1,
    },
    "electra": {
        "hidden_size": 24,
        "embedding_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 6,
        "intermediate_size": 48,
    },
    "distilbert": {"dim": 24, "n_layers": 2, "n_heads": 6, "hidden_dim": 48},
    "albert": {
        "hidden_size": 24,
        "embedding_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 6,
        "intermediate_size": 48,
    },
    "mpnet": {
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 6,
        "intermediate_size": 48,
        "max_position_embeddings": 66,
        "pad_token_id": 1,
    },
    "modernbert": {
        "hidden_size": 24,
        "num_hidden_layers": 3,
        "num_attention_heads": 6,
        "intermediate_size": 48,
        "local_attention": 6,
        "norm_bias": True,
    },
}

TinyBundle = Callable[..., Path]


def tiny_tokenizer(pad_id: int) -> tokenizers.Tokenizer:
    """WordPiece over `WORDS`; the padding token has the id that the architecture's models give it."""
    special = ["[CLS]", "[SEP]", "[UNK]"]
    special.insert(pad_id, "[PAD]")
    pieces = [*special, *WORDS, *(f"##{word}" for word in WORDS[:8])]
    tokenizer = tokenizers.Tokenizer(WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = BertProcessing(("[SEP]", pieces.index("[SEP]")), ("[CLS]", pieces.index("[CLS]")))
    return tokenizer


def sentences(count: int, seed: int) -> list[str]:
    """Texts of 1 to 20 words, some of them unknown."""
    rng = np.random.default_rng(seed)
    words = (*WORDS, "zzz", "!")
    return [" ".join(rng.choice(words, size=rng.integers(1, 21))) for _ in range(count)]


def write_tiny_bundle(
    folder: Path,
    model_type: str,
    *,
    seed: int = 0,
    text_inputs: int = 1,
    rows: int = 24,
    sizes: tuple[tuple[str, Any], ...] = (),
    **plan: Any,
) -> Path:
    """A bundle in ``folder``; ``sizes``: fields of the architecture's configuration, ``plan``: of `SharcsConfig`."""
    torch.manual_seed(seed)
    common = {"vocab_size": 60, "max_position_embeddings": 64, "num_labels": len(LABELS), "pad_token_id": 0}
    config = AutoConfig.for_model(model_type, **(common | _SIZES[model_type] | dict(sizes)))
    config.id2label = dict(enumerate(LABELS))
    config.label2id = {label: index for index, label in enumerate(LABELS)}
    fields: dict[str, Any] = {"widths": (1 / 6, 0.5, 1.0), "trunk_layers": 1, "router_hidden_size": 16} | plan
    model = from_hugging_face(AutoModelForSequenceClassification.from_config(config), SharcsConfig(**fields))
    with torch.no_grad():  # fresh LayerNorms and biases are ones and zeros, which would hide mistakes
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(folder)
    tiny_tokenizer(config.pad_token_id).save(str(folder / "tokenizer.json"))
    texts, pairs = sentences(rows, seed), sentences(rows, seed + 1)
    examples = [
        BundleExample(text, pair if text_inputs == 2 else None, LABELS[index % len(LABELS)])
        for index, (text, pair) in enumerate(zip(texts, pairs, strict=True))
    ]
    info = BundleInfo(LABELS, text_inputs, max_length=48, source_model=f"/home/someone/models/Tiny {model_type}")
    record = {
        "data": "/home/someone/data/words",
        "widths": list(fields["widths"]),
        "recipe": "none: random weights",
        "samples": {"dev": rows},
        "dev": {
            "accuracy": [0.5 + 0.1 * index for index in range(len(fields["widths"]))],
            "shares": [1 / len(fields["widths"])] * len(fields["widths"]),
            "routed_accuracy": 0.625,
            "random_accuracy": 0.6,
        },
    }
    write_bundle_files(folder, info, record, examples)
    return folder


@pytest.fixture(scope="session")
def tiny_bundle(traced_once: None, tmp_path_factory: pytest.TempPathFactory) -> TinyBundle:
    """``tiny_bundle("bert", trunk_layers=0, ...)`` -> a folder, built once per session and not to be changed."""

    @functools.cache
    def build(model_type: str = "bert", **options: Any) -> Path:
        return write_tiny_bundle(tmp_path_factory.mktemp(f"{model_type}-bundle"), model_type, **options)

    return build
