"""What carries commands to a device: one connection per command, stdin and stdout as they are, no terminal."""

from __future__ import annotations

import signal
import subprocess
from dataclasses import dataclass
from typing import Final, Protocol

from sharcs_edge.errors import SharcsEdgeError

_SIGNALS: Final = {
    signal.SIGILL: "an instruction that this CPU does not have (SIGILL): install another version of the engine there",
    signal.SIGKILL: "SIGKILL, as when memory runs out: end other programs there, or profile an artifact with less RAM",
}


class RemoteError(SharcsEdgeError):
    """A device cannot be reached or cannot do what is asked of it; the message names the device and the cure."""


def stopped(program: str, name: str, number: int) -> RemoteError:
    """What to say of a program on the device `name` that the signal `number` ended."""
    sign = signal.Signals(number)
    return RemoteError(f"{program} on {name} was stopped by {_SIGNALS.get(sign, sign.name)}")


@dataclass(frozen=True)
class Completed:
    """How a command on a device ended."""

    returncode: int
    stdout: bytes
    stderr: str


class Transport(Protocol):
    """A way to start commands on one device."""

    @property
    def name(self) -> str:
        """The device, as the user wrote it."""

    def start(self, command: str) -> subprocess.Popen[bytes]:
        """Start `command`, one line for the device's POSIX shell, with pipes for stdin, stdout and stderr.

        The end of stdin tells the command that nobody waits for it any more. Raises RemoteError where the program that
        connects is missing on this machine.
        """

    def failure(self, returncode: int, stderr: str) -> RemoteError | None:
        """Why there was no connection, from how the connecting program ended; None if the command itself ended so."""


def run(transport: Transport, command: str, stdin: bytes = b"") -> Completed:
    """Run `command`, one line for the device's POSIX shell, to its end.

    Raises RemoteError if the device cannot be reached; a command that fails is for the caller to judge.
    """
    with transport.start(command) as process:
        try:
            stdout, stderr = process.communicate(stdin)
        except BaseException:
            process.terminate()
            raise
    text = stderr.decode("utf-8", "replace")
    if error := transport.failure(process.returncode, text):
        raise error
    return Completed(process.returncode, stdout, text)
