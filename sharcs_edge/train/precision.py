"""Mixed precision: the encoder's forward pass in bfloat16 or float16, everything that decides in float32.

Weights, gradients and the optimizer stay in float32. So do the router and the heads: a bfloat16 logit near 5 has steps
of 0.03, too coarse for the probabilities that hardness labels compare with thresholds. Evaluation has no part in this.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from sharcs_edge.errors import UsageError
from sharcs_edge.model.encoder import SharcsForSequenceClassification, SharcsOutput
from sharcs_edge.train.options import Precision

DTYPES: Mapping[Precision, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}
_CPU_BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")


def check_precision(precision: Precision, device: torch.device) -> str | None:
    """A note for the user where ``device`` has no instructions for ``precision``, which then costs time.

    Raises:
        UsageError: float16 without a CUDA device: its gradients need a loss scaler.
    """
    if precision == "fp16" and device.type != "cuda":
        raise UsageError(
            f"precision fp16 needs a CUDA device, and this training would run on {device.type}; use bf16 or fp32"
        )
    if precision == "bf16" and not _has_bfloat16(device):
        return f"precision bf16 is slow here: this {device.type} has no bfloat16 instructions; fp32 is likely faster"
    return None


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu" and hasattr(torch.cpu, "get_capabilities"):
        return any(torch.cpu.get_capabilities().get(name) for name in _CPU_BFLOAT16)
    return True  # nobody to ask


class MixedPrecisionEncoder(nn.Module):
    """Calls ``model`` under autocast; its router and heads compute in float32, and float32 is what comes out."""

    def __init__(self, model: SharcsForSequenceClassification, dtype: torch.dtype) -> None:
        super().__init__()
        self.model = model
        self.dtype = dtype
        for part in (model.router, model.head, *model.narrow_heads):
            _keep_in_float32(part)

    def forward(self, *args: Any, **kwargs: Any) -> SharcsOutput:
        """As the model's."""
        device = self.model.device.type
        # The fused attention of the CPU, which is taken where nothing is dropped out, is slow backwards in bfloat16:
        # five times as slow at 20 tokens, 1.7 times at 128.
        attention = sdpa_kernel(SDPBackend.MATH) if device == "cpu" else nullcontext()
        with torch.autocast(device, self.dtype), attention:
            output: SharcsOutput = self.model(*args, **kwargs)
        tails = (replace(tail, hidden_states=tuple(x.float() for x in tail.hidden_states)) for tail in output.tails)
        return replace(output, tails=tuple(tails))


def _keep_in_float32(module: nn.Module) -> None:
    inner = module.forward

    def forward(*args: Any) -> Any:
        floats = (x.float() if isinstance(x, Tensor) and x.is_floating_point() else x for x in args)
        with torch.autocast(next(module.parameters()).device.type, enabled=False):
            return inner(*floats)

    module.forward = forward  # autocast has no way to leave out a module
