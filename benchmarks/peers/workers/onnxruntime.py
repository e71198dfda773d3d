"""What most people run: the model as transformers has it, torch's ONNX export, `quantize_dynamic`, default options."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from benchmarks.peers.workers.tokens import Answer, Encoder, installed


def convert(source: Path, folder: Path) -> None:
    import onnx
    from onnxruntime.quantization import quantize_dynamic

    model = onnx.load(source / "model.onnx")
    del model.graph.value_info[:]  # shapes of the float graph, on which the quantized one fails
    quantize_dynamic(model, folder / "model.onnx")


def load(source: Path, folder: Path, threads: int) -> Answer:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    encode = Encoder(source)
    return lambda text, way: int(np.argmax(session.run(None, encode(text))[0]))


def versions() -> dict[str, str]:
    return installed("onnxruntime")
