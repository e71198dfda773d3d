"""What a user sees when a command fails: one sentence on stderr and an exit code, never a traceback unless asked."""

from __future__ import annotations

import errno
import os
import sys

import typer

from sharcs_edge.cli.output import talk
from sharcs_edge.errors import OtherProcessFailed, SharcsEdgeError

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_USAGE = 2


class Interrupted(SharcsEdgeError):
    """Ctrl-C; the message says what is left behind and how to go on."""


def report(error: Exception) -> int:
    """Says on stderr what went wrong and returns the exit code."""
    _drop_what_stdout_cannot_take()
    if isinstance(error, BrokenPipeError):
        return 1  # the reader (`head`, a pager) has what it wants
    if isinstance(error, typer.TyperException):
        context = getattr(error, "ctx", None)
        hint = f" (see `{context.command_path} --help`)" if context is not None else ""
        message = error.format_message().strip().rstrip(".")
        if message:  # a group without a command shows its help and has nothing to add
            talk(f"error: {message}{hint}", style="red")
        return error.exit_code
    if isinstance(error, Interrupted | typer.Abort):
        talk(f"interrupted: {error}" if str(error) else "interrupted", style="yellow")
        return Interrupted.exit_code
    if isinstance(error, OtherProcessFailed):
        return 0  # that one says why, and its exit code is what the launcher must see
    if isinstance(error, SharcsEdgeError):
        talk(f"error: {error}", style="red")
        return error.exit_code
    talk(_unexpected(error), style="red")
    return 1


def _drop_what_stdout_cannot_take() -> None:
    """After a write to a closed pipe or a full disk, Python would try again while it exits, and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _unexpected(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename is not None else ""
        cure = "; free some space and run the command again" if error.errno in _NO_SPACE else ""
        return f"error: {where}{error.strerror}{cure}"
    if isinstance(error, MemoryError):
        return "error: not enough memory; close other programs, or use shorter texts or a smaller batch"
    what = f"{type(error).__name__}: {error}".splitlines()[0]
    return f"internal error: {what}; run again as `sharcs-edge --debug ...` for the traceback"
