"""`sharcs-edge devices list|show`."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sharcs_edge.cli.options import FormatOption
from sharcs_edge.cli.output import Format, emit

if TYPE_CHECKING:
    from sharcs_edge.device import DeviceProfile

devices = typer.Typer(name="devices", help="Show the profiles that `--target` takes.", no_args_is_help=True)


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


def _record(profile: DeviceProfile) -> dict[str, Any]:
    return asdict(replace(profile, presets=dict(profile.presets)))
