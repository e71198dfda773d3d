"""torch in float32, as transformers runs it: the reference of all answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification

from benchmarks.peers.workers.tokens import Answer, Encoder, installed


def convert(source: Path, folder: Path) -> None:
    (folder / "model.safetensors").hardlink_to(source / "transformers" / "model.safetensors")


def load(source: Path, folder: Path, threads: int) -> Answer:
    model = AutoModelForSequenceClassification.from_pretrained(source / "transformers")
    return answering(model, source, threads)


def answering(model: nn.Module, source: Path, threads: int) -> Answer:
    """Of a transformers classifier in evaluation mode."""
    torch.set_num_threads(threads)
    model.eval()
    encode = Encoder(source)

    def answer(text: Any, way: str) -> int:
        with torch.inference_mode():
            return int(model(**tensors(encode(text))).logits.argmax())

    return answer


def tensors(feeds: Mapping[str, NDArray[np.int64]]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(values) for name, values in feeds.items()}


def versions() -> dict[str, str]:
    return installed("torch", "transformers")
