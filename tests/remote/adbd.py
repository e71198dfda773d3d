"""A stand-in for the daemon on an Android device: the wire protocol of `adb`, shells of this machine behind it.

Spoken: CNXN without authentication, OPEN of ``shell,v2,raw:COMMAND``, OKAY, WRTE, CLSE (the AOSP documents protocol.txt
and SHELL_PROTOCOL). Everything that the real client sends for `adb connect` and `adb shell` is answered.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Mapping

_HEADER = struct.Struct("<6I")  # command, two arguments, length, checksum, the command's bits inverted
_PACKET = struct.Struct("<BI")  # of the shell protocol: kind, length
_STDIN, _STDOUT, _STDERR, _EXIT, _CLOSE_STDIN = range(5)
_VERSION, _MAX_DATA = 0x01000001, 1 << 18


def _command(name: bytes) -> int:
    return int.from_bytes(name, "little")


class Daemon:
    """Listens on loopback; every shell has `environment`. `features` is what the device says it can do."""

    def __init__(self, environment: Mapping[str, str], features: str = "shell_v2,cmd") -> None:
        self._environment = dict(environment)
        self._features = features
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """As if the cable were pulled."""
        self._socket.close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self.connections.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        link = _Link(connection)
        shells: dict[int, _Shell] = {}
        try:
            while True:
                command, first, second, data = link.receive()
                if command == _command(b"CNXN"):
                    banner = f"device::ro.product.model=Stand-in;features={self._features}"
                    link.send(b"CNXN", _VERSION, _MAX_DATA, banner.encode())
                elif command == _command(b"OPEN"):
                    self._open(link, shells, first, data)
                elif command == _command(b"WRTE") and second in shells:
                    shells[second].feed(data)
                    link.send(b"OKAY", second, first)
                elif command == _command(b"OKAY") and second in shells:
                    shells[second].acknowledged.release()
                elif command == _command(b"CLSE") and second in shells:
                    shells.pop(second).hang_up()
        except (EOFError, OSError):
            pass
        for shell in shells.values():
            shell.hang_up()

    def _open(self, link: _Link, shells: dict[int, _Shell], remote: int, data: bytes) -> None:
        service, _, command = data.rstrip(b"\0").decode().partition(":")
        if not service.startswith("shell,v2"):
            link.send(b"CLSE", 0, remote)
            return
        local = len(shells) + 1
        link.send(b"OKAY", local, remote)
        shells[local] = _Shell(link, local, remote, command, self._environment)


class _Link:
    """Whole messages over one connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._stream = connection.makefile("rb")
        self._connection = connection
        self._sending = threading.Lock()

    def receive(self) -> tuple[int, int, int, bytes]:
        command, first, second, length, _, _ = _HEADER.unpack(self._exactly(_HEADER.size))
        return command, first, second, self._exactly(length)

    def send(self, name: bytes, first: int, second: int, data: bytes = b"") -> None:
        number = _command(name)
        head = _HEADER.pack(number, first, second, len(data), sum(data) & 0xFFFFFFFF, number ^ 0xFFFFFFFF)
        with self._sending:
            self._connection.sendall(head + data)

    def _exactly(self, size: int) -> bytes:
        data = self._stream.read(size)
        if len(data) < size:
            raise EOFError
        return data


class _Shell:
    """One command; its stdin, stdout, stderr and exit code in packets of the shell protocol."""

    def __init__(self, link: _Link, local: int, remote: int, command: str, environment: Mapping[str, str]) -> None:
        self._link, self._local, self._remote = link, local, remote
        self.acknowledged = threading.Semaphore(0)
        self._writing = threading.Lock()
        self._pending = b""
        self._input: queue.Queue[bytes | None] = queue.Queue()
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            ["sh", "-c", command], stdin=pipe, stdout=pipe, stderr=pipe, env=environment, start_new_session=True
        )
        threading.Thread(target=self._swallow, daemon=True).start()
        threading.Thread(target=self._work, daemon=True).start()

    def feed(self, data: bytes) -> None:
        """Bytes of packets; a packet may come in pieces."""
        self._pending += data
        while len(self._pending) >= _PACKET.size:
            kind, length = _PACKET.unpack_from(self._pending)
            if len(self._pending) < _PACKET.size + length:
                return
            payload = self._pending[_PACKET.size : _PACKET.size + length]
            self._pending = self._pending[_PACKET.size + length :]
            if kind == _STDIN:
                self._input.put(payload)
            elif kind == _CLOSE_STDIN:
                self._input.put(None)

    def hang_up(self) -> None:
        """The host has gone: the real daemon closes the pipes, and sends SIGHUP."""
        self._input.put(None)
        self.acknowledged.release(1000)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGHUP)

    def _swallow(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            while (piece := self._input.get()) is not None:
                self._process.stdin.write(piece)
                self._process.stdin.flush()
            self._process.stdin.close()

    def _work(self) -> None:
        assert self._process.stdout is not None and self._process.stderr is not None
        pumps = [
            threading.Thread(target=self._pump, args=(kind, stream.fileno()), daemon=True)
            for kind, stream in ((_STDOUT, self._process.stdout), (_STDERR, self._process.stderr))
        ]
        for pump in pumps:
            pump.start()
        for pump in pumps:
            pump.join()
        code = self._process.wait()
        with contextlib.suppress(OSError):
            self._write(_EXIT, bytes([code if code >= 0 else 128 - code]))
            self._link.send(b"CLSE", self._local, self._remote)

    def _pump(self, kind: int, descriptor: int) -> None:
        with contextlib.suppress(OSError):
            while piece := os.read(descriptor, 1 << 16):
                self._write(kind, piece)

    def _write(self, kind: int, data: bytes) -> None:
        with self._writing:  # one message is under way per direction
            self._link.send(b"WRTE", self._local, self._remote, _PACKET.pack(kind, len(data)) + data)
            self.acknowledged.acquire()
