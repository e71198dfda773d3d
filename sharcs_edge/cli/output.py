"""Data to stdout, talk to stderr."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from sharcs_edge.errors import SharcsEdgeError, UsageError
from sharcs_edge.render._json import write_json

STANDARD_STREAM = "-"


class Format(StrEnum):
    """How data is printed."""

    TABLE = "table"
    JSON = "json"


class ReportFormat(StrEnum):
    """How data is printed that people also paste into a pull request."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"


def talk(message: str, style: str = "", console: Console | None = None) -> None:
    """One line on stderr, never wrapped or taken for markup; above the bar of ``console`` where it shows one."""
    (console or Console(stderr=True)).print(Text(message, style=style), soft_wrap=True)


def shell_word(path: Path) -> str:
    """A path as a shell takes it, for commands that are shown to be copied."""
    return shlex.quote(str(path))


def emit(
    record: Mapping[str, Any] | Sequence[Mapping[str, Any]], form: Format, *, table: Callable[[], RenderableType]
) -> None:
    """Prints ``record`` to stdout as JSON, or what ``table`` makes of it."""
    if form is Format.JSON:
        write_json(record, sys.stdout, indent=2)
    else:
        Console(highlight=False).print(table())


@contextmanager
def progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr while the block runs, where stderr is a terminal; yields ``advance(done, total)``."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def require_folder(path: Path) -> Path:
    """The absolute path of a file to be written. Raises UsageError if its folder is not there."""
    target = path.resolve()
    if not target.parent.is_dir():
        raise UsageError(f"cannot write {path}: {target.parent} is no folder; create it first")
    return target


@contextmanager
def open_output(path: Path | None) -> Iterator[TextIO]:
    """A UTF-8 text stream to a file that appears only when the block ends well; stdout for None and ``-``.

    What is there and no regular file (a pipe, ``/dev/null``) is written to as it is.
    """
    if path is None or str(path) == STANDARD_STREAM:
        yield sys.stdout
        return
    target = require_folder(path)
    if target.exists() and not target.is_file():
        with target.open("w", encoding="utf-8") as stream:
            yield stream
        return
    staged = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with staged.open("x", encoding="utf-8") as stream:
            yield stream
        staged.replace(target)
    except BaseException as error:
        staged.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise SharcsEdgeError(f"cannot write {path}: {error.strerror or error}; nothing was written") from error
        raise
