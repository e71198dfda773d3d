"""OpenVINO: int8 weights and activations by NNCF's post-training quantization, latency mode, one compiled model per
number of tokens, to the next of which a text is padded. With free dimensions it takes half as long again on real texts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import openvino

from benchmarks.peers.workers.tokens import BUCKETS, Answer, Encoder, calibration, installed


def convert(source: Path, folder: Path) -> None:
    import nncf

    inputs = calibration(source)
    model = openvino.Core().read_model(source / "model.onnx")
    quantized = nncf.quantize(
        model, nncf.Dataset(inputs), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(inputs)
    )
    openvino.save_model(quantized, folder / "model.xml")


def load(source: Path, folder: Path, threads: int) -> Answer:
    core, encode = openvino.Core(), Encoder(source)
    inputs = json.loads((source / "spec.json").read_text(encoding="utf-8"))["inputs"]
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
    requests: dict[int, Any] = {}

    def answer(text: Any, way: str) -> int:
        feeds = encode(text, BUCKETS)
        tokens = feeds["input_ids"].shape[1]
        if tokens not in requests:
            model = core.read_model(folder / "model.xml")
            model.reshape({name: [1, tokens] for name in inputs})
            requests[tokens] = core.compile_model(model, "CPU", options).create_infer_request()
        return int(np.argmax(requests[tokens].infer(feeds, share_inputs=True)[0]))

    return answer


def versions() -> dict[str, str]:
    return installed("openvino")
