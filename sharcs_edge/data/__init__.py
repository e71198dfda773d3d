"""Labelled text in, checked rows out: files (JSONL, CSV, TSV, Parquet), the shipped demo, or a `datasets` name.

Importing this package costs nothing beyond the standard library: pyarrow and datasets are imported when a Parquet file
or a `datasets` name is read.
"""

from sharcs_edge.data.loading import load_data
from sharcs_edge.data.records import Columns, Example, Split, TextDataset, sort_labels
from sharcs_edge.data.rows import read_examples

__all__ = ["Columns", "Example", "Split", "TextDataset", "load_data", "read_examples", "sort_labels"]
