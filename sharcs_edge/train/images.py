"""Images as a model takes them: read, scaled and normalised when a step asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from transformers import BaseImageProcessor

from sharcs_edge.data import read_image
from sharcs_edge.train.dataset import EncodedSplit, Features
from sharcs_edge.train.sampler import Assignment
from sharcs_edge.train.tasks import Classification, Task


@dataclass
class ImageFiles(EncodedSplit):
    """The files of a split and their labels; an image is in memory only while its step is.

    Attributes:
        labels: (samples, ...) as ``task`` has them.
        processor: makes ``pixel_values`` of images.
        tokens: of every image: one per patch, and the first one.
    """

    files: tuple[Path, ...]
    labels: NDArray[Any]
    processor: BaseImageProcessor
    tokens: int
    task: Task = field(default_factory=Classification)

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.full(len(self), self.tokens, dtype=np.int64)

    def __getitem__(self, assignment: Assignment) -> Features:
        sample, width = assignment
        return {"sample": sample, "width": width, "label": self.labels[sample], "file": self.files[sample]}

    def inputs(self, rows: Sequence[Features]) -> dict[str, Tensor]:
        """``pixel_values`` (batch, channels, height, width). Raises DataError for a file damaged since it was found."""
        images = [read_image(row["file"]) for row in rows]
        pixels: Tensor = self.processor(images, return_tensors="pt")["pixel_values"]
        return {"pixel_values": pixels}
