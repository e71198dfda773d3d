"""torch with int8 linears: `quantize_dynamic`, eager, by the CPU's default engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification

from benchmarks.peers.workers import torch_float32
from benchmarks.peers.workers.tokens import Answer

versions = torch_float32.versions


def convert(source: Path, folder: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(source / "transformers")
    torch.save(_quantized(model).state_dict(), folder / "model.pt")


def load(source: Path, folder: Path, threads: int) -> Answer:
    config = AutoConfig.from_pretrained(source / "transformers")
    model = _quantized(AutoModelForSequenceClassification.from_config(config))
    model.load_state_dict(torch.load(folder / "model.pt"))
    return torch_float32.answering(model, source, threads)


def _quantized(model: nn.Module) -> Any:
    return torch.ao.quantization.quantize_dynamic(model.eval(), {nn.Linear}, dtype=torch.qint8)
