"""Data that can be read only once, from its first row to its last, is refused where training needs more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sized
from pathlib import Path
from typing import Final

from sharcs_edge.errors import UsageError

STANDARD_INPUT: Final = "-"


def refuse_stream(source: object) -> None:
    """Does nothing for a path to a file or a folder, a name, or data that knows its length.

    Args:
        source: what a caller gave as training data, of any type: `datasets.IterableDataset`, a dictionary of such, a
            generator, the path of a pipe, or `-` for standard input are streams.

    Raises:
        UsageError: it is a stream.
    """
    name = _stream_name(source)
    if name is not None:
        raise UsageError(
            f"cannot train on {name}: a stream is read once, from its first row to its last, while training goes over "
            "the samples many times, in an order of its own: by length, and by the hardness it remembers of each one; "
            "write the rows to a file first"
        )


def _stream_name(source: object) -> str | None:
    if source == STANDARD_INPUT:
        return "standard input"
    if isinstance(source, str | Path):
        path = Path(source)
        try:
            is_pipe = path.exists() and not (path.is_file() or path.is_dir())
        except OSError:  # a name that is too long, a folder without permission: for the reader to say
            return None
        return f"the pipe or device {source}" if is_pipe else None
    parts = source.values() if isinstance(source, Mapping) else (source,)
    for part in parts:
        if isinstance(part, Iterable) and not isinstance(part, Sized):
            return f"a stream ({type(part).__name__})"
    return None
