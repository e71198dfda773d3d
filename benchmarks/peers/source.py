"""What every engine starts from: a plain fine-tuned model as transformers has it, its float32 ONNX, its tokenizer and
texts to calibrate on. Engines read these files and nothing of the project.

    transformers/         config.json, model.safetensors
    model.onnx            torch's export, all dimensions free
    tokenizer.json
    spec.json             what a tokenizer does not say
    calibration.jsonl     one training text (or pair, as a list) a line
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sharcs_edge.bundle import TOKENIZER_FILE, Bundle
from sharcs_edge.errors import UsageError
from sharcs_edge.model.conversion import to_hugging_face
from sharcs_edge_runtime.artifact import file_sha256, staged_folder
from sharcs_edge_runtime.tokenization import Text

CALIBRATION_TEXTS = 300


def source_of(bundle: Bundle, texts: Sequence[Text], work: Path) -> Path:
    """The source folder of a plain bundle, in `work`; kept, and named by a hash of the weights.

    Raises UsageError for a bundle that is no plain text classifier.
    """
    model = bundle.load_model()
    if bundle.info.task != "classification" or bundle.info.modality != "text" or len(model.slices) != 1:
        raise UsageError(
            f"{bundle.path} is not what other engines run: expected the single width 1 and the classification of "
            "texts; train with --widths 1"
        )
    folder = work / f"source-{file_sha256(bundle.path / 'model.safetensors')[:10]}"
    if folder.exists():
        return folder
    config = model.config
    inputs = ["input_ids", "attention_mask", *(["token_type_ids"] if config.uses_token_types else [])]
    spec = {
        "inputs": inputs,
        "pad_id": config.pad_token_id,
        "max_length": min(bundle.info.max_length, config.max_tokens),
        "labels": len(bundle.info.labels),
    }
    with staged_folder(folder) as staging:
        plain = to_hugging_face(model)
        plain.save_pretrained(staging / "transformers")
        _export(plain, inputs, staging / "model.onnx")
        shutil.copyfile(bundle.tokenizer_file, staging / TOKENIZER_FILE)
        (staging / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
        step = max(1, len(texts) // CALIBRATION_TEXTS)
        lines = [json.dumps(text, ensure_ascii=False) for text in texts[::step][:CALIBRATION_TEXTS]]
        (staging / "calibration.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


class _Logits(nn.Module):
    """The model with its inputs by position, and its logits alone."""

    def __init__(self, model: PreTrainedModel, inputs: Sequence[str]) -> None:
        super().__init__()
        self.model, self.inputs = model, inputs

    def forward(self, *values: Tensor) -> Tensor:
        logits: Tensor = self.model(**dict(zip(self.inputs, values, strict=True))).logits
        return logits


def _export(model: PreTrainedModel, inputs: Sequence[str], file: Path) -> None:
    free = {0: "batch", 1: "tokens"}
    examples = tuple(torch.ones((2, 7), dtype=torch.int64) for _ in inputs)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the tracer, about libraries that nobody asked for
        torch.onnx.export(
            _Logits(model, inputs).eval(),
            examples,
            file,
            dynamo=True,
            external_data=False,
            input_names=list(inputs),
            output_names=["logits"],
            dynamic_shapes=(tuple(free for _ in inputs),),
            verbose=False,
        )
