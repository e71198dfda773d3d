"""Commands over OpenSSH's own client, with the user's configuration, keys, agent and jump hosts as they are."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from dataclasses import dataclass
from typing import Final

from sharcs_edge.errors import UsageError
from sharcs_edge.remote.transport import RemoteError

COMMAND_VARIABLE: Final = "SHARCS_EDGE_SSH"
"""Environment variable with the command to use for `ssh`, options included (such as ``ssh -F my_config``)."""

# No password is ever asked for or passed on, and a device that falls silent is noticed within a minute.
_OPTIONS: Final = (
    *("-T", "-x", "-a"),
    *("-o", "BatchMode=yes"),
    *("-o", "ConnectTimeout=20"),
    *("-o", "ServerAliveInterval=15"),
    *("-o", "ServerAliveCountMax=4"),
)
_FAILED: Final = 255  # OpenSSH's own exit code for "no connection" and for "connection lost"

# The client's own words among those of the program on the device.
_OWN_LINE: Final = re.compile(r"(ssh|client_loop|kex_exchange_identification|mux_client|Connection|Timeout|Read)\b")

# What the client says -> what to do about it.
_CAUSES: Final = (
    (
        re.compile(r"REMOTE HOST IDENTIFICATION HAS CHANGED"),
        "its host key is not the one in known_hosts: if the device was set up anew, `ssh-keygen -R {host}`, then "
        "`ssh {name}` once to accept the new key",
    ),
    (
        re.compile(r"Host key verification failed|key is known for .* and you have requested strict checking"),
        "its host key is not known here: `ssh {name}` once to check and accept it",
    ),
    (
        re.compile(r"Permission denied|Too many authentication failures|no such identity"),
        "it accepts none of this machine's keys, and passwords are not used: `ssh-copy-id {name}`, or load the key "
        "with `ssh-add`",
    ),
    (
        re.compile(
            r"Could not resolve|Connection refused|timed out|No route to host|Network is unreachable|Host is down"
        ),
        "check its name, that it is switched on and that its SSH server runs (`ssh {name}` should log in)",
    ),
    (
        re.compile(r"too long for Unix domain socket|ControlPath too long|[Bb]ad configuration option|unix_listener"),
        "correct that in ssh's configuration (`ssh {name}` should log in)",
    ),
)


@dataclass(frozen=True)
class SshTransport:
    """A device by its destination as `ssh` takes it: ``user@pi``, a host of ``~/.ssh/config``, ``ssh://user@pi:2222``.

    Raises UsageError for a destination that `ssh` would take for an option.
    """

    name: str

    def __post_init__(self) -> None:
        if not self.name or self.name.startswith("-") or self.name != self.name.strip():
            raise UsageError(f"the host is {self.name!r}; expected a destination of ssh such as user@raspberrypi")

    def start(self, command: str) -> subprocess.Popen[bytes]:
        """See `Transport.start`."""
        program = shlex.split(os.environ.get(COMMAND_VARIABLE) or "ssh")
        pipe = subprocess.PIPE
        words = [*program, *_OPTIONS, "--", self.name, command]
        try:
            # A group of its own: Ctrl-C reaches this program, which then lets the device tidy up before it hangs up.
            return subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)
        except OSError as error:
            raise RemoteError(
                f"cannot run {program[0]} ({error.strerror}): install the OpenSSH client, or name it in "
                f"{COMMAND_VARIABLE}"
            ) from None

    def failure(self, returncode: int, stderr: str) -> RemoteError | None:
        """See `Transport.failure`."""
        if returncode != _FAILED:
            return None
        for pattern, cure in _CAUSES:
            if pattern.search(stderr):
                line = _telling_line(stderr, pattern)
                host = self.name.rpartition("@")[2]
                return RemoteError(f"cannot reach {self.name} ({line}): {cure.format(name=self.name, host=host)}")
        own = [line.strip() for line in stderr.splitlines() if _OWN_LINE.match(line)]
        said = f" ({own[-1]})" if own else ""
        return RemoteError(
            f"the connection to {self.name} was lost{said}; run the command again: what was sent is kept there"
        )


def _telling_line(stderr: str, pattern: re.Pattern[str]) -> str:
    line = next(line for line in stderr.splitlines() if pattern.search(line))
    return line.strip(" @\r.")
