"""ExecuTorch: int8 linears by XNNPACK's quantizer (dynamic, per channel), lowered to XNNPACK, tokens as they come."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from executorch.extension.pybindings import portable_lib

from benchmarks.peers.workers.tokens import Answer, Encoder, installed


def convert(source: Path, folder: Path) -> None:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from executorch.exir import to_edge_transform_and_lower
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from transformers import AutoModelForSequenceClassification

    spec = json.loads((source / "spec.json").read_text(encoding="utf-8"))
    model = AutoModelForSequenceClassification.from_pretrained(source / "transformers").eval()

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *values: Any) -> Any:
            feeds = dict(zip(spec["inputs"], values, strict=True))
            # As transformers would, but without the index arithmetic, whose numbers the quantizer makes floats.
            padding = 1.0 - feeds["attention_mask"][:, None, None, :].to(torch.float32)
            return self.model(**{**feeds, "attention_mask": padding * torch.finfo(torch.float32).min}).logits

    tokens = torch.export.Dim("tokens", min=2, max=spec["max_length"])
    examples = tuple(torch.ones((1, 16), dtype=torch.int64) for _ in spec["inputs"])
    shapes = tuple({1: tokens} for _ in examples)
    recipe = get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True)
    # Not all operators, as `set_global` would: it takes the index of a lookup for something to quantize, too.
    quantizer = XNNPACKQuantizer().set_operator_type(torch.ops.aten.linear.default, recipe)
    prepared = prepare_pt2e(torch.export.export(Logits(), examples, dynamic_shapes=(shapes,)).module(), quantizer)
    prepared(*examples)
    program = torch.export.export(convert_pt2e(prepared), examples, dynamic_shapes=shapes)
    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    (folder / "model.pte").write_bytes(lowered.to_executorch().buffer)


def load(source: Path, folder: Path, threads: int) -> Answer:
    portable_lib._unsafe_reset_threadpool(threads)
    spec = json.loads((source / "spec.json").read_text(encoding="utf-8"))
    module = portable_lib._load_for_executorch(str(folder / "model.pte"))
    encode = Encoder(source)

    def answer(text: Any, way: str) -> int:
        feeds = encode(text)
        (logits,) = module.forward([torch.from_numpy(feeds[name]) for name in spec["inputs"]])
        return int(logits.argmax())

    return answer


def versions() -> dict[str, str]:
    return installed("executorch", "torch")
