"""The pressure that `benchmarks/control.py` puts on itself goes away again, and its figures are what they say."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from benchmarks.control import STEP, WINDOW, swings
from benchmarks.pressure import machine

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="control groups and processor affinity are Linux's")


def inputs(*stretches: tuple[int, float]) -> list[bool]:
    """Whether the full width ran: stretches of (number of inputs, share of it), evenly mixed."""
    return [int((n + 1) * share) > int(n * share) for count, share in stretches for n in range(count)]


@pytest.mark.parametrize(
    ("stretches", "expected"),
    [
        ([(2000, 0.3)], 0),
        ([(1000, 0.3), (1000, 0.35)], 0),
        ([(1000, 0.3), (1000, 0.6)], 0),  # a step is no swing
        ([(800, 0.3), (800, 0.6), (800, 0.3)], 1),
        ([(800, 0.3), (800, 0.6), (800, 0.3), (800, 0.6)], 2),
        ([(WINDOW - STEP, 0.3)], 0),
    ],
)
def test_swings_are_turns_of_more_than_10_points(stretches: list[tuple[int, float]], expected: int) -> None:
    assert swings(inputs(*stretches)) == expected


def test_a_quota_ends_with_its_block(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Path("/proc/self/cgroup").read_text()
    with machine.quota(0.5) as means:
        assert means.startswith(("control group", "SIGSTOP"))
    assert Path("/proc/self/cgroup").read_text() == before
    monkeypatch.setattr(machine, "_make_group", lambda share: None)
    with machine.quota(0.5) as means:
        assert means == "SIGSTOP and SIGCONT by a helper process"
        start, used = time.perf_counter(), time.process_time()
        while time.perf_counter() - start < 0.6:
            pass
        assert time.process_time() - used < 0.6  # it was stopped for a part of the time
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)  # no helper is left


def test_a_hog_shares_the_core_and_ends_with_its_block() -> None:
    with machine.one_core() as core:
        assert os.sched_getaffinity(0) == {core}
        with machine.hog(core):
            pass
    assert len(os.sched_getaffinity(0)) >= 1
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
