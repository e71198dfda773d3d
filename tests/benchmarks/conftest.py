"""A tiny encoder and tiny data sets in folders, as `--model` and `--data` take them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import BertProcessing
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

WORDS = [a + b for a in ("ka", "lo", "mi", "nu") for b in ("ba", "de", "fi", "go", "lu")]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]

DataFolder = Callable[[str], Path]


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three layers, four heads."""
    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(SPECIAL + WORDS),
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=32,
        max_position_embeddings=32,
        pad_token_id=0,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(SPECIAL + WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    """``tiny_data("classification")`` (single texts), ``"regression"`` (pairs) or ``"multi_label"``."""

    def write(task: str) -> Path:
        folder = tmp_path_factory.mktemp(task)
        rng = np.random.default_rng(0)
        for split, rows in (("train", 48), ("dev", 24), ("test", 24)):
            lines = [json.dumps(_row(task, rng)) for _ in range(rows)]
            (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return folder

    return write


def _row(task: str, rng: np.random.Generator) -> dict[str, object]:
    words = rng.choice(WORDS, size=rng.integers(1, 9)).tolist()
    text = " ".join(words)
    share = sum(word.startswith("k") for word in words) / len(words)
    if task == "regression":
        return {"text": text, "text_pair": str(rng.choice(WORDS)), "label": round(5 * share + 0.001, 3)}
    if task == "multi_label":
        return {"text": text, "label": [letter for letter in "klm" if any(w.startswith(letter) for w in words)]}
    return {"text": text, "label": "many" if share > 0.3 else "few" if share else "none"}
