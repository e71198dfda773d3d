"""Profiling over SSH on a 64-bit ARM machine: the same server, with a Python that runs on an emulated Cortex-A72."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.emulated.userland import ROOT, NoUserland, open_userland
from sharcs_edge.remote.profile import profile_remote
from sharcs_edge.remote.ssh import SshTransport
from tests.remote.conftest import Boards
from tests.remote.test_ssh import job, retarget


@pytest.mark.slow
def test_profile_on_arm(boards: Boards, artifact: Path, tmp_path: Path) -> None:
    folder = Path(os.environ.get("SHARCS_AARCH64", ROOT / "build" / "aarch64")).resolve()
    try:
        open_userland(folder)
    except NoUserland as reason:
        pytest.skip(f"NOTHING WAS PROFILED ON ARM: {reason}")
    board = boards("arm", python=str(folder / "cpu" / "cortex-a72" / "bin" / "python3"))
    said: list[str] = []
    record = profile_remote(SshTransport("arm"), job(retarget(artifact, tmp_path / "for-rpi4", "rpi4")), said.append)
    assert record["device"]["machine"] == "aarch64"
    assert record["device"]["cpu"][0]["part"] == "Cortex-A72"
    assert not {"dotprod", "fp16"} & set(record["device"]["features"])
    assert any(line.startswith("arm: aarch64, Python 3.") for line in said)
    assert board.runs == []
