"""Labelled text in, checked rows out: files (JSONL, CSV, TSV, Parquet), the shipped demo, or a `datasets` name. Or
labelled images, from a folder.

Importing this package costs nothing beyond the standard library: pyarrow, datasets and Pillow are imported when a
Parquet file, a `datasets` name or an image is read.
"""

from sharcs_edge.data.images import (
    ImageDataset,
    ImageSplit,
    is_image_folder,
    load_images,
    read_image,
    read_image_folder,
)
from sharcs_edge.data.loading import load_data
from sharcs_edge.data.records import Columns, Example, Split, TextDataset, sort_labels
from sharcs_edge.data.review import doubts
from sharcs_edge.data.rows import read_examples

__all__ = [
    "Columns",
    "Example",
    "ImageDataset",
    "ImageSplit",
    "Split",
    "TextDataset",
    "doubts",
    "is_image_folder",
    "load_data",
    "load_images",
    "read_examples",
    "read_image",
    "read_image_folder",
    "sort_labels",
]
