"""What stands between data and model, and is saved beside it: a tokenizer for text, an image processor for images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from transformers import AutoImageProcessor, AutoTokenizer, BaseImageProcessor, PreTrainedTokenizerFast

from sharcs_edge.bundle import PROCESSOR_FILES
from sharcs_edge.data import ImageDataset, ImageSplit, Split, TextDataset
from sharcs_edge.errors import UsageError
from sharcs_edge.model.configuration import SharcsEncoderConfig
from sharcs_edge.model.conversion import first_line
from sharcs_edge.train.dataset import EncodedSplit, TokenizedSplit
from sharcs_edge.train.images import ImageFiles
from sharcs_edge.train.tasks import Task

Processor = PreTrainedTokenizerFast | BaseImageProcessor
_PROCESSOR_FILE = PROCESSOR_FILES["image"]


def load_processor(source: str | Path, given: str, config: SharcsEncoderConfig) -> Processor:
    """The tokenizer or image processor beside a model in ``source``, a folder or a hub name; ``given`` names it.

    Raises:
        UsageError: there is none, it is damaged, or it does not fit the model.
    """
    return _image_processor(source, given, config) if config.reads_images else _tokenizer(source, given)


def check_fits(data: TextDataset | ImageDataset, config: SharcsEncoderConfig, given: str) -> None:
    """Raises UsageError for images and a model of text, or the other way round."""
    if config.reads_images and isinstance(data, TextDataset):
        raise UsageError(f"{given!r} reads images, but the data is text; give a folder of images, one folder per class")
    if isinstance(data, ImageDataset) and not config.reads_images:
        raise UsageError(f"{given!r} reads text, but the data is a folder of images; give a model that reads images")


def longest_input(config: SharcsEncoderConfig, max_length: int) -> int:
    """In tokens; all images have the same."""
    return config.max_tokens if config.reads_images else min(max_length, config.max_tokens)


def encode(
    split: Split | ImageSplit,
    processor: Processor,
    config: SharcsEncoderConfig,
    label_names: Sequence[str],
    max_length: int,
    task: Task,
) -> EncodedSplit:
    """The samples of ``split`` for the model of ``config``; ``max_length``: of texts, in tokens."""
    if isinstance(split, ImageSplit):
        assert isinstance(processor, BaseImageProcessor)  # `load_processor` chose it for the same model
        labels = task.encode_labels(split.labels, label_names)
        return ImageFiles(split.files, labels, processor, config.max_tokens, task)
    assert isinstance(processor, PreTrainedTokenizerFast)
    longest = longest_input(config, max_length)
    return TokenizedSplit.encode(split, label_names, processor, longest, config.uses_token_types, task)


def _tokenizer(source: str | Path, given: str) -> PreTrainedTokenizerFast:
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, use_fast=True)
    except (OSError, ValueError, ImportError) as error:
        raise UsageError(f"cannot load the tokenizer of {given!r}: {first_line(error)}") from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise UsageError(
            f"{given!r} has no fast tokenizer (tokenizer.json), which the device runtime needs; "
            "convert it with transformers first"
        )
    return tokenizer


def _image_processor(source: str | Path, given: str, config: SharcsEncoderConfig) -> BaseImageProcessor:
    if Path(source).is_dir() and not (Path(source) / _PROCESSOR_FILE).is_file():
        raise UsageError(
            f"{given!r} has no {_PROCESSOR_FILE}, which says how images are scaled for the model; save it there, from "
            "the model that it was made from, with AutoImageProcessor.from_pretrained(...).save_pretrained(...)"
        )
    try:
        # The backend that needs Pillow alone, also where torchvision is installed: pixels are then the same everywhere.
        processor: BaseImageProcessor = AutoImageProcessor.from_pretrained(  # type: ignore[no-untyped-call]
            source, backend="pil"
        )
        pixels = processor([np.zeros((2, 3, 3), dtype=np.uint8)], return_tensors="np")["pixel_values"]
    except (OSError, ValueError, ImportError, AttributeError) as error:
        raise UsageError(f"cannot load the image processor of {given!r}: {first_line(error)}") from error
    made, expected = pixels.shape[1:], (config.num_channels, *(config.image_size or ()))
    if made != expected:
        raise UsageError(
            f"the image processor of {given!r} makes arrays of {made} (channels, height, width), but the model takes "
            f"{expected}; correct {_PROCESSOR_FILE}"
        )
    return processor
