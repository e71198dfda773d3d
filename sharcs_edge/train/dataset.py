"""The samples of a split as a model takes them, and the collation of a step into one part per width."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerFast

from sharcs_edge.data import Split
from sharcs_edge.train.sampler import Assignment
from sharcs_edge.train.tasks import Classification, Task

Features = dict[str, Any]

_TEXTS_AT_ONCE = 10_000


class EncodedSplit(Dataset[Features], ABC):
    """The samples of a split: texts as tokens here, images in `sharcs_edge.train.images`.

    Attributes:
        labels: (samples, ...) as ``task`` has them.
    """

    labels: NDArray[Any]
    task: Task

    @property
    @abstractmethod
    def lengths(self) -> NDArray[np.int64]:
        """(samples,) tokens of each one."""

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def __getitem__(self, assignment: Assignment) -> Features:
        """``sample``, ``width``, ``label``, and what :meth:`inputs` reads."""

    @abstractmethod
    def inputs(self, rows: Sequence[Features]) -> dict[str, Tensor]:
        """The model's arguments for a batch of samples."""


@dataclass
class TokenizedSplit(EncodedSplit):
    """The tokens of every sample, one after the other, and its label.

    Attributes:
        tokens: ids of all samples without padding, int32: four bytes a token, where lists would take some 36.
        offsets: (samples + 1,) where each sample begins in ``tokens``, and their end.
        token_types: segment ids of pairs, int8, as long as ``tokens``; None where the model takes none.
        pad_id: of the token that fills shorter rows of a batch up; it is masked.
    """

    tokens: NDArray[np.int32]
    offsets: NDArray[np.int64]
    token_types: NDArray[np.int8] | None
    labels: NDArray[Any]
    task: Task = field(default_factory=Classification)
    pad_id: int = 0

    @classmethod
    def encode(
        cls,
        split: Split,
        label_names: Sequence[str],
        tokenizer: PreTrainedTokenizerFast,
        max_length: int,
        token_types: bool,
        task: Task | None = None,
    ) -> TokenizedSplit:
        """Truncates to ``max_length`` tokens; of a pair, the longer text loses tokens first. ``task``: classification
        unless given."""
        task = task or Classification()
        tokens, types, lengths = [], [], [np.zeros(1, dtype=np.int64)]
        for start in range(0, len(split), _TEXTS_AT_ONCE):
            rows = slice(start, start + _TEXTS_AT_ONCE)
            encoded = tokenizer(
                list(split.texts[rows]),
                None if split.pairs is None else list(split.pairs[rows]),
                truncation=True,
                max_length=max_length,
                return_token_type_ids=token_types,
                return_attention_mask=False,
                verbose=False,
            )
            lengths.append(np.array([len(ids) for ids in encoded["input_ids"]], dtype=np.int64))
            tokens.append(np.fromiter(chain.from_iterable(encoded["input_ids"]), dtype=np.int32))
            if token_types:
                types.append(np.fromiter(chain.from_iterable(encoded["token_type_ids"]), dtype=np.int8))
        return cls(
            np.concatenate(tokens),
            np.cumsum(np.concatenate(lengths)),
            np.concatenate(types) if token_types else None,
            task.encode_labels(split.labels, label_names),
            task,
            tokenizer.pad_token_id or 0,
        )

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.offsets)

    def __getitem__(self, assignment: Assignment) -> Features:
        sample, width = assignment
        place = slice(self.offsets[sample], self.offsets[sample + 1])
        features: Features = {
            "sample": sample,
            "width": width,
            "label": self.labels[sample],
            "input_ids": self.tokens[place],
        }
        if self.token_types is not None:
            features["token_type_ids"] = self.token_types[place]
        return features

    def inputs(self, rows: Sequence[Features]) -> dict[str, Tensor]:
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
            inputs["attention_mask"][index, :length] = 1
            for name in inputs.keys() & row.keys():
                inputs[name][index, :length] = torch.from_numpy(row[name])
        return inputs


class Collator:
    """A step -> ``{"parts": [part per width]}``.

    A part holds ``inputs`` (the model's, made by the function given), ``labels`` and ``samples`` (batch, ...) and
    ``width`` (int).
    """

    def __init__(self, inputs: Callable[[Sequence[Features]], dict[str, Tensor]]) -> None:
        self.inputs = inputs

    def __call__(self, features: Sequence[Features]) -> dict[str, list[dict[str, Any]]]:
        parts = []
        for width, group in groupby(features, key=lambda feature: int(feature["width"])):
            rows = list(group)
            part: dict[str, Any] = {
                "inputs": self.inputs(rows),
                "labels": torch.from_numpy(np.stack([row["label"] for row in rows])),
                "samples": torch.tensor([row["sample"] for row in rows]),
                "width": width,
            }
            parts.append(part)
        return {"parts": parts}
