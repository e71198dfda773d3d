"""Rows of text that fit what an artifact or a bundle takes."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from sharcs_edge.cli.output import STANDARD_STREAM
from sharcs_edge.data import Columns, Example, read_examples
from sharcs_edge.errors import DataError

if TYPE_CHECKING:
    from sharcs_edge_runtime.manifest import TaskName
    from sharcs_edge_runtime.tokenization import Text

_TAKES = {1: "single texts", 2: "pairs"}


def read_rows(
    source: str,
    columns: Columns,
    text_inputs: int,
    *,
    label_names: Collection[str] | None = None,
    task: TaskName = "classification",
    limit: int | None = None,
) -> Iterator[tuple[str, Example]]:
    """The first ``limit`` rows of a file, ``-`` or ``demo``, each with its name for messages.

    Raises:
        DataError: what `read_examples` raises, or a single text where pairs are taken, or the other way round.
    """
    name = "standard input" if source == STANDARD_STREAM else source
    examples = read_examples(source, columns, label_names=label_names, task=task)
    for number, example in enumerate(islice(examples, limit), start=1):
        where = f"{name}, row {number}"
        require_inputs(where, example.inputs, text_inputs)
        yield where, example


def require_inputs(where: str, text: Text, expected: int) -> None:
    """Raises DataError unless ``text`` is a single text or a pair, as ``expected`` (1 or 2) says."""
    given = 1 if isinstance(text, str) else 2
    if given != expected:
        cure = "leave the second text out" if expected == 1 else "give the second text too"
        raise DataError(f"{where}: {_TAKES[expected]} are expected here, not {_TAKES[given]}; {cure}")
