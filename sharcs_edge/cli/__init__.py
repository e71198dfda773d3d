"""The command line: one file per command, which parses, calls and renders.

Nothing heavy is imported here: a command imports what it needs when it runs, so that ``--help`` is quick and the
commands around an artifact work without torch.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from typing import Annotated

import typer

from sharcs_edge import __version__
from sharcs_edge.cli import calibrate, devices, evaluate, export, inspect, plan, profile, run, train, verify
from sharcs_edge.cli.failure import Interrupted, report

__all__ = ["app", "main"]

_TYPER_INTERRUPTED = 130  # what typer makes of Ctrl-C that a command does not handle


@dataclass
class _Invocation:
    """What the global options of one call say."""

    debug: bool = False


app = typer.Typer(
    name="sharcs-edge",
    help="Train encoders with sample-adaptive width, ship them to small devices, measure them there.",
    rich_markup_mode="markdown",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_MAKE, _MEASURE, _USE, _TARGETS = "Make", "Check and measure", "Use", "Targets"
app.command(rich_help_panel=_MAKE)(train.train)
app.command(rich_help_panel=_MAKE)(export.export)
app.command(rich_help_panel=_MAKE)(calibrate.calibrate)
app.command(rich_help_panel=_MEASURE)(verify.verify)
app.command(rich_help_panel=_MEASURE)(evaluate.evaluate)
app.command(rich_help_panel=_MEASURE)(profile.profile)
app.command(rich_help_panel=_MEASURE)(plan.plan)
app.command(rich_help_panel=_USE)(run.run)
app.command(rich_help_panel=_USE)(inspect.inspect)
app.add_typer(devices.devices, rich_help_panel=_TARGETS)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _global_options(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    if isinstance(ctx.obj, _Invocation):
        ctx.obj.debug = debug


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line (``sys.argv`` by default) and returns its exit code."""
    invocation = _Invocation()
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime reports its start, too, when it is imported
    for stream in (sys.stdout, sys.stderr):
        # A character that the terminal's encoding lacks is shown as an escape; it must not stop a command.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = app(args=arguments, prog_name="sharcs-edge", standalone_mode=False, obj=invocation)
        sys.stdout.flush()
        if code == _TYPER_INTERRUPTED:
            raise Interrupted
    except Exception as error:
        if invocation.debug:
            traceback.print_exception(error)
        return report(error)
    return code if isinstance(code, int) else 0
