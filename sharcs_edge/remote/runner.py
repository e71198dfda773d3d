"""The folder that `--runner` names: the C tools, built for one kind of device."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sharcs_edge.errors import UsageError

PROGRAM: Final = "sharcs-edge-bench"
_ENGINE: Final = "libonnxruntime.so"
_BUILD: Final = "build it for the device as runtime/c/README.md says"
_NAME: Final = re.compile(r"[A-Za-z0-9._+-]+")
_SYNONYMS: Final = {"arm64": "aarch64", "amd64": "x86_64", "armv7l": "arm", "armv8l": "arm", "i686": "i386"}
_ELF_MACHINES: Final = {3: "i386", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv64"}  # <elf.h>, e_machine


@dataclass(frozen=True)
class Runner:
    """`files`: the program and the libraries beside it, by name; `engine`: the name of ONNX Runtime's."""

    folder: Path
    files: Mapping[str, Path]
    engine: str
    machine: str

    @classmethod
    def open(cls, folder: Path) -> Runner:
        """Raises UsageError for a folder that lacks a file, or holds those of different kinds of machine."""
        if not (folder / PROGRAM).is_file():
            raise UsageError(f"{folder} has no {PROGRAM}: {_BUILD}")
        libraries = {path.name: path for path in sorted(folder.glob("lib*.so*")) if path.is_file()}
        engines = [name for name in libraries if name == _ENGINE or name.startswith(f"{_ENGINE}.")]
        if not engines:
            raise UsageError(
                f"{folder} has no {_ENGINE}: copy that of ONNX Runtime 1.20 or newer there, built for the same device"
            )
        files = {PROGRAM: folder / PROGRAM, **libraries}
        machines = {name: _machine(path) for name, path in files.items()}
        for name, machine in machines.items():
            if not _NAME.fullmatch(name):
                raise UsageError(f"{folder} holds {name!r}; names are of letters, digits and . _ + -: rename it")
            if machine != machines[PROGRAM]:
                raise UsageError(
                    f"{folder / name} is built for {machine} and {PROGRAM} beside it for {machines[PROGRAM]}: "
                    "put files of one build there"
                )
        return cls(folder, files, engines[0], machines[PROGRAM])

    def require(self, name: str, machine: str) -> None:
        """UsageError unless the device `name`, a `machine` as `uname -m` says it, runs what is in the folder."""
        if _SYNONYMS.get(machine, machine) != self.machine:
            raise UsageError(
                f"{self.folder} holds programs for {self.machine}, and {name} is {machine}: {_BUILD}, and name that "
                "folder with --runner"
            )


def _machine(file: Path) -> str:
    """The kind of processor that an ELF file is for."""
    with file.open("rb") as stream:
        head = stream.read(20)
    if len(head) < 20 or head[:4] != b"\x7fELF":
        raise UsageError(f"{file} is no program or library for Linux or Android (ELF): {_BUILD}")
    number = int.from_bytes(head[18:20], "little" if head[5] == 1 else "big")
    return _ELF_MACHINES.get(number, f"processors of ELF's number {number}")
