"""Commands over the Android Debug Bridge's own client, to devices of Android 7 or newer."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from dataclasses import dataclass
from typing import Final

from sharcs_edge.errors import UsageError
from sharcs_edge.remote.transport import RemoteError

COMMAND_VARIABLE: Final = "SHARCS_EDGE_ADB"
"""Environment variable with the command to use for `adb`, options included (such as ``adb -P 5038``)."""

# What the client says -> what to do about it. The words are its own, at the start of a line.
_CAUSES: Final = (
    (
        re.compile(r"unauthorized|failed to authenticate"),
        "allow debugging from this computer on the device's screen",
    ),
    (
        re.compile(r"(device|adb) .*(not found|offline)|no devices|more than one device|device still "),
        "`adb devices` lists the serials of what is connected; for a device in the network, `adb connect` first",
    ),
    (
        re.compile(r"only supports allocating a pty"),
        "its shell passes neither bytes nor exit codes on: Android 7 or newer is needed",
    ),
    (
        re.compile(r"cannot connect to daemon|failed to check server version|closed|protocol fault"),
        "connect it again (`adb reconnect`, or `adb kill-server` for a fresh start), then run the command again: what "
        "was sent is kept there",
    ),
)
_SAID: Final = re.compile(r"^(?:error|adb(?:\.exe)?): (?P<what>.*)", re.MULTILINE)


@dataclass(frozen=True)
class AdbTransport:
    """A device by its serial, as ``adb devices`` lists it. Raises UsageError for what cannot be one."""

    name: str

    def __post_init__(self) -> None:
        if not self.name or self.name.startswith("-") or self.name.split() != [self.name]:
            raise UsageError(f"the adb serial is {self.name!r}; expected one that `adb devices` lists")

    def start(self, command: str) -> subprocess.Popen[bytes]:
        """See `Transport.start`."""
        program = shlex.split(os.environ.get(COMMAND_VARIABLE) or "adb")
        pipe = subprocess.PIPE
        words = [*program, "-s", self.name, "shell", "-T", command]
        try:
            # A group of its own: Ctrl-C reaches this program, which then lets the device tidy up before it hangs up.
            return subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)
        except OSError as error:
            raise RemoteError(
                f"cannot run {program[0]} ({error.strerror}): install Android's platform tools (on Debian: apt install "
                f"adb), or name it in {COMMAND_VARIABLE}"
            ) from None

    def failure(self, returncode: int, stderr: str) -> RemoteError | None:
        """See `Transport.failure`."""
        said = _SAID.search(stderr) if returncode != 0 else None
        if said is None:
            return None
        what = said["what"].strip().rstrip(".")
        cure = next((cure for pattern, cure in _CAUSES if pattern.search(what)), "`adb devices` says how it is")
        return RemoteError(f"cannot reach the device {self.name} with adb ({what}): {cure}")
