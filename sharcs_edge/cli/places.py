"""The options that name machines to measure on, other than this one, and what they print while they work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from sharcs_edge.cli.output import talk
from sharcs_edge.errors import UsageError

if TYPE_CHECKING:
    from sharcs_edge.remote.profile import Job

_PANEL: Final = "Another machine"
HostOption = Annotated[
    str | None,
    typer.Option(
        "--host", metavar="USER@HOST", help="Measure there, over SSH.", rich_help_panel=_PANEL, show_default=False
    ),
]
AdbOption = Annotated[
    str | None,
    typer.Option(
        "--adb", metavar="SERIAL", help="Measure on that Android device.", rich_help_panel=_PANEL, show_default=False
    ),
]
HostsOption = Annotated[
    Path | None,
    typer.Option(
        "--hosts",
        metavar="FILE",
        help="Measure on the devices of a TOML file, side by side.",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]

RunnerOption = Annotated[
    Path | None,
    typer.Option(
        "--runner",
        metavar="FOLDER",
        help="Measure there with the C tools of this folder, built for it: a device without Python.",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]


def named_place(host: str | None, adb: str | None, hosts: Path | None, runner: Path | None, *, save: bool) -> bool:
    """Whether one of the options was given.

    Raises UsageError for two of them, for `--save` with a fleet, and for `--runner` without any.
    """
    given = [f"--{name}" for name, value in (("host", host), ("adb", adb), ("hosts", hosts)) if value is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} name different places to measure; give one of them")
    if save and hosts is not None:
        raise UsageError("--save keeps the times of one device and --hosts measures on several: profile the one alone")
    if runner is not None and not given:
        raise UsageError("--runner measures on another machine: name it with --adb, --host or --hosts")
    return bool(given)


def measure_there(job: Job, host: str | None, adb: str | None, hosts: Path | None) -> tuple[list[dict[str, Any]], str]:
    """The records from the place that was named, and the sentence that says which devices of a fleet failed, if any.

    Raises that error where there is no record at all.
    """
    from sharcs_edge.remote.adb import AdbTransport
    from sharcs_edge.remote.fleet import profile_fleet, read_fleet
    from sharcs_edge.remote.profile import profile_remote
    from sharcs_edge.remote.ssh import SshTransport
    from sharcs_edge.remote.transport import RemoteError

    if hosts is None:
        transport = SshTransport(host) if host is not None else AdbTransport(adb or "")
        return [profile_remote(transport, job, talk)], ""
    members = read_fleet(hosts, job)
    with _lines([member.name for member in members]) as say:
        outcomes = profile_fleet(members, say)
    records = [outcome.record for outcome in outcomes if outcome.record is not None]
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    said = "; ".join(f"{outcome.name}: {outcome.error}" for outcome in failed)
    sentence = f"{len(failed)} of {len(outcomes)} devices failed: {said}" if failed else ""
    if not records:
        raise RemoteError(sentence)
    return records, sentence


@contextmanager
def _lines(names: list[str]) -> Iterator[Callable[[str, str], None]]:
    """One line per device that says what it does; without a terminal, a line for everything that happens."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda name, message: talk(f"{name}: {message}")
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TextColumn("{task.fields[doing]}", markup=False))
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        tasks = {name: progress.add_task(Text(name).markup, total=None, doing="") for name in names}
        yield lambda name, message: progress.update(tasks[name], doing=message)
