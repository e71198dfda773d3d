"""`sharcs-edge devices list|show|new`."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sharcs_edge.cli.options import FormatOption, OverwriteOption
from sharcs_edge.cli.output import Format, emit, talk
from sharcs_edge.errors import UsageError

if TYPE_CHECKING:
    from sharcs_edge.device import DeviceProfile

devices = typer.Typer(name="devices", help="The profiles that `--target` takes.", no_args_is_help=True)


@devices.command("list")
def list_devices(form: FormatOption = Format.TABLE) -> None:
    """List every device profile.

    Example: `sharcs-edge devices list`
    """
    from sharcs_edge import device
    from sharcs_edge.render.devices import render_devices

    profiles = device.list_devices()
    emit([_record(profile) for profile in profiles], form, table=lambda: render_devices(profiles))


@devices.command("show")
def show_device(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A target, such as `rpi4`.", show_default=False)],
    form: FormatOption = Format.TABLE,
) -> None:
    """Show one device profile: every fact with its source.

    Example: `sharcs-edge devices show rpi4`
    """
    from sharcs_edge.device import load_device
    from sharcs_edge.render.devices import render_device

    profile = load_device(name)
    emit(_record(profile), form, table=lambda: render_device(profile))


@devices.command("new")
def new_device(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What `--target` will take.", show_default=False)],
    host: Annotated[
        str | None,
        typer.Option(
            "--from-host", metavar="USER@HOST", help="Read that machine, over SSH; else this one.", show_default=False
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="NAME.toml in any folder; else in the one where your own profiles are found.",
            show_default=False,
        ),
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Write a device profile from a live machine.

    It says where every fact comes from; read it, and correct what you know better.

    Example: `sharcs-edge devices new kiosk --from-host user@pi`
    """
    from datetime import date

    from sharcs_edge import device
    from sharcs_edge.device_writer import write_profile
    from sharcs_edge.render.devices import render_device
    from sharcs_edge_runtime.artifact import write_file_atomically

    file = output or device.own_folder() / f"{name}.toml"
    if file.exists() and not overwrite:
        raise UsageError(f"{file} exists: give --overwrite to replace it, or another name")
    if output is not None and not file.parent.is_dir():
        raise UsageError(f"cannot write {file}: {file.parent} is no folder; create it first")
    read = f"read from {host or 'this machine'} on {date.today().isoformat()} by sharcs-edge devices new"
    known = [profile for profile in device.list_devices() if profile.name != name]
    text = write_profile(name, _facts(host), known, read)
    profile = device.parse_device(text, file)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_file_atomically(file, text.encode())
    talk(f"wrote {file}")
    emit(_record(profile), Format.TABLE, table=lambda: render_device(profile))


def _facts(host: str | None) -> dict[str, Any]:
    """What a machine is, and its clocks."""
    if host is None:
        from sharcs_edge_runtime.fingerprint import read_device, read_state

        return read_device() | {"clocks": read_state()["clocks"]}
    from sharcs_edge.remote.device import connect
    from sharcs_edge.remote.ssh import SshTransport

    with connect(SshTransport(host), talk) as device:
        return device.fingerprint()


def _record(profile: DeviceProfile) -> dict[str, Any]:
    return asdict(replace(profile, presets=dict(profile.presets)))
