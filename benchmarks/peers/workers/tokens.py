"""The inputs of every engine that is not ours: the source's own tokenizer, right padding where asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

BUCKETS = (16, 24, 32, 48, 64, 96, 128)
"""Numbers of tokens for engines that want them fixed: finer than powers of two, so that little is padded."""
Feeds = dict[str, NDArray[np.int64]]
Answer = Callable[[Any, str], int]
"""From a text, or a pair, and the way to answer it to the number of the label."""


class Encoder:
    """Text, or a pair of them, to the model's inputs, each int64 (1, tokens)."""

    def __init__(self, source: Path) -> None:
        spec = json.loads((source / "spec.json").read_text(encoding="utf-8"))
        self._inputs = spec["inputs"]
        self._pad_id = spec["pad_id"]
        self._tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(spec["max_length"])

    def __call__(self, text: Any, buckets: tuple[int, ...] = ()) -> Feeds:
        """`buckets`: lengths to pad to, ascending; the first that holds the text."""
        encoding = self._tokenizer.encode(*text) if isinstance(text, tuple) else self._tokenizer.encode(text)
        tokens = len(encoding.ids)
        length = next((bucket for bucket in buckets if bucket >= tokens), tokens)
        rows = {
            "input_ids": (encoding.ids, self._pad_id),
            "attention_mask": ([1] * tokens, 0),
            "token_type_ids": (encoding.type_ids, 0),
        }
        feeds = {}
        for name in self._inputs:
            values, padding = rows[name]
            feeds[name] = np.full((1, length), padding, dtype=np.int64)
            feeds[name][0, :tokens] = values
        return feeds


def calibration(source: Path) -> list[Feeds]:
    """Inputs of training texts, for engines that measure activations."""
    encoder = Encoder(source)
    lines = (source / "calibration.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line) for line in lines]
    return [encoder(tuple(text) if isinstance(text, list) else text) for text in texts]


def installed(*packages: str) -> dict[str, str]:
    return {package: version(package) for package in packages}
