"""Pressure on this process, for measurements: less processor time, or company on its core. Linux."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PERIOD_MS = 100
_ROOT = Path("/sys/fs/cgroup")

_DUTY_CYCLE = """
import os, signal, sys, time
pid, share, period = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
try:
    while os.getppid() == pid:
        time.sleep(period * share)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(period * (1 - share))
        os.kill(pid, signal.SIGCONT)
except ProcessLookupError:
    pass
finally:
    os.kill(pid, signal.SIGCONT)
"""
_BUSY = "import os, sys\nparent = int(sys.argv[1])\nwhile os.getppid() == parent:\n    for _ in range(10**6): pass\n"


@contextmanager
def one_core() -> Iterator[int]:
    """Runs the block on one processor, and yields its number."""
    before = os.sched_getaffinity(0)
    core = max(before)
    os.sched_setaffinity(0, {core})
    try:
        yield core
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def quota(share: float) -> Iterator[str]:
    """Leaves this process a share of one processor while the block runs; yields by what means.

    A control group where one can be made (the kernel's own bandwidth control), else a helper that stops and continues
    this process, as cpulimit does. Both in periods of 100 ms.
    """
    group = _make_group(share)
    if group is None:
        with _duty_cycle(share):
            yield "SIGSTOP and SIGCONT by a helper process"
        return
    home = _home_of(group)
    try:
        (group / "cgroup.procs").write_text(str(os.getpid()))
        yield f"control group {group}"
    finally:
        (home / "cgroup.procs").write_text(str(os.getpid()))
        group.rmdir()


def _make_group(share: float) -> Path | None:
    """A group of version 2 or 1 with this quota for one processor; None where that is not allowed."""
    period = PERIOD_MS * 1000
    limits = {"cpu.max": f"{share * period:.0f} {period}", "cpu.cfs_quota_us": f"{share * period:.0f}"}
    for root, name in ((_ROOT, "cpu.max"), (_ROOT / "cpu", "cpu.cfs_quota_us")):
        group = root / f"sharcs-edge-bench-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        if (group / name).exists():  # else the folder is no control group, or has no processor controller
            (group / name).write_text(limits[name])
            return group
        group.rmdir()
    return None


def _home_of(group: Path) -> Path:
    """The group of the same hierarchy that this process is in."""
    kind = "cpu" if group.parent.name == "cpu" else ""
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        _, kinds, path = line.split(":", 2)
        if kind in kinds.split(","):
            return group.parent / path.lstrip("/")
    return group.parent


@contextmanager
def _duty_cycle(share: float) -> Iterator[None]:
    arguments = [str(os.getpid()), str(share), str(PERIOD_MS / 1000)]
    with _helper(_DUTY_CYCLE, arguments):
        yield


@contextmanager
def hog(core: int) -> Iterator[None]:
    """Keeps a busy process of the same priority on a processor while the block runs."""
    with _helper(_BUSY, [str(os.getpid())]) as process:
        os.sched_setaffinity(process.pid, {core})
        yield


@contextmanager
def _helper(code: str, arguments: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process that ends with the block, or by itself if this process dies."""
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()  # not SIGINT, which a background job's children ignore
        process.wait()
