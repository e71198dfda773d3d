"""Tokenised samples and the collation of a step into one padded part per width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerFast

from sharcs_edge.data import Split
from sharcs_edge.train.sampler import Assignment

Features = dict[str, Any]


@dataclass
class TokenizedSplit(Dataset[Features]):
    """``input_ids`` (and segment ids of pairs) of every sample, unpadded, with class indices."""

    input_ids: list[list[int]]
    token_type_ids: list[list[int]] | None
    labels: NDArray[np.int64]

    @classmethod
    def encode(
        cls,
        split: Split,
        label_names: Sequence[str],
        tokenizer: PreTrainedTokenizerFast,
        max_length: int,
        token_types: bool,
    ) -> TokenizedSplit:
        """Truncates to ``max_length`` tokens; of a pair, the longer text loses tokens first."""
        encoded = tokenizer(
            list(split.texts),
            None if split.pairs is None else list(split.pairs),
            truncation=True,
            max_length=max_length,
            return_token_type_ids=token_types,
            return_attention_mask=False,
            verbose=False,
        )
        labels = np.array(split.label_ids(label_names), dtype=np.int64)
        return cls(encoded["input_ids"], encoded["token_type_ids"] if token_types else None, labels)

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.array([len(ids) for ids in self.input_ids], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.input_ids)

    def __getitem__(self, assignment: Assignment) -> Features:
        sample, width = assignment
        features: Features = {
            "sample": sample,
            "width": width,
            "label": int(self.labels[sample]),
            "input_ids": self.input_ids[sample],
        }
        if self.token_type_ids is not None:
            features["token_type_ids"] = self.token_type_ids[sample]
        return features


class Collator:
    """A step -> ``{"parts": [part per width]}``.

    A part holds ``inputs`` (padded tensors, (batch, tokens)), ``labels`` and ``samples`` (batch,), ``width`` (int).
    """

    def __init__(self, pad_id: int) -> None:
        self.pad_id = pad_id

    def __call__(self, features: Sequence[Features]) -> dict[str, list[dict[str, Any]]]:
        parts = []
        for width, group in groupby(features, key=lambda feature: int(feature["width"])):
            rows = list(group)
            part: dict[str, Any] = {
                "inputs": self.pad(rows),
                "labels": torch.tensor([row["label"] for row in rows]),
                "samples": torch.tensor([row["sample"] for row in rows]),
                "width": width,
            }
            parts.append(part)
        return {"parts": parts}

    def pad(self, rows: Sequence[Features]) -> dict[str, Tensor]:
        """Right-padded ``input_ids``, ``attention_mask`` and, where present, ``token_type_ids``."""
        longest = max(len(row["input_ids"]) for row in rows)
        shape = (len(rows), longest)
        inputs = {
            "input_ids": torch.full(shape, self.pad_id),
            "attention_mask": torch.zeros(shape, dtype=torch.long),
        }
        if "token_type_ids" in rows[0]:
            inputs["token_type_ids"] = torch.zeros(shape, dtype=torch.long)
        for index, row in enumerate(rows):
            length = len(row["input_ids"])
            inputs["input_ids"][index, :length] = torch.tensor(row["input_ids"])
            inputs["attention_mask"][index, :length] = 1
            if "token_type_ids" in row:
                inputs["token_type_ids"][index, :length] = torch.tensor(row["token_type_ids"])
        return inputs
