"""LiteRT: int8 linears by the AI Edge Quantizer's dynamic recipe, one signature per number of tokens, XNNPACK with its
weight cache. LiteRT has no free dimensions here: a text is padded to the next signature.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.options import CpuOptions, Options

from benchmarks.peers.workers.tokens import BUCKETS, Answer, Encoder, installed


def convert(source: Path, folder: Path) -> None:
    import litert_torch
    import torch
    from ai_edge_quantizer import quantizer, recipe
    from transformers import AutoModelForSequenceClassification

    spec = json.loads((source / "spec.json").read_text(encoding="utf-8"))
    model = AutoModelForSequenceClassification.from_pretrained(source / "transformers").eval()

    class Logits(torch.nn.Module):
        def forward(self, **feeds: Any) -> Any:
            return {"logits": model(**feeds).logits}

    buckets = [bucket for bucket in BUCKETS if bucket <= spec["max_length"]] or [spec["max_length"]]
    converter = litert_torch
    for bucket in buckets:
        feeds = {name: torch.ones((1, bucket), dtype=torch.int32) for name in spec["inputs"]}
        converter = converter.signature(f"tokens_{bucket}", Logits().eval(), sample_kwargs=feeds)
    converter.convert().export(str(folder / "float32.tflite"))
    quantize = quantizer.Quantizer(str(folder / "float32.tflite"))
    quantize.load_quantization_recipe(recipe.dynamic_wi8_afp32())
    quantize.quantize().export_model(str(folder / "model.tflite"))
    (folder / "float32.tflite").unlink()


def load(source: Path, folder: Path, threads: int) -> Answer:
    options = Options(cpu_options=CpuOptions(num_threads=threads, xnnpack_weight_cache_path=f"{folder}.xnnpack_cache"))
    model = CompiledModel.from_file(str(folder / "model.tflite"), options=options)
    encode = Encoder(source)
    labels = json.loads((source / "spec.json").read_text(encoding="utf-8"))["labels"]
    signatures = {int(name.removeprefix("tokens_")): entry for name, entry in model.get_signature_list().items()}
    buckets = tuple(sorted(signatures))
    buffers: dict[int, Any] = {}

    def answer(text: Any, way: str) -> int:
        feeds = encode(text, buckets)
        bucket = feeds["input_ids"].shape[1]
        name = f"tokens_{bucket}"
        if bucket not in buffers:
            inputs = {key: model.create_input_buffer_by_name(name, key) for key in signatures[bucket]["inputs"]}
            outputs = {key: model.create_output_buffer_by_name(name, key) for key in signatures[bucket]["outputs"]}
            buffers[bucket] = inputs, outputs
        inputs, outputs = buffers[bucket]
        for key, buffer in inputs.items():
            buffer.write(feeds[key].astype(np.int32))
        model.run_by_name(name, inputs, outputs)
        (logits,) = outputs.values()
        return int(np.argmax(logits.read(labels, np.float32)))

    return answer


def versions() -> dict[str, str]:
    return installed("ai-edge-litert")
