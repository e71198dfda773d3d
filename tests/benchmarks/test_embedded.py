"""The figures of the C runtime's README, on a tiny artifact; `make test-c` builds what is measured."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.embedded import main

DATA = Path(__file__).parents[1] / "c" / "data"


def test_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    build = os.environ.get("SHARCS_EDGE_C_TOOLS")
    if build is None:
        pytest.skip("THE C TOOLS ARE NOT BUILT: benchmarks/embedded.py is tested by: make test-c")
    few = ("--rounds", "1", "--starts", "1", "--predictions", "1000")
    main(["--artifact", str(DATA / "pairs"), "--build", build, *few])
    command, *table = capsys.readouterr().out.splitlines()
    assert command.startswith("`python benchmarks/embedded.py --artifact ")
    rows = [line.strip("| ").split(" | ") for line in table[3:]]
    assert [name.split(",")[0] for name, _ in rows] == [
        *["overhead of a prediction"] * 4,
        "tokens of a text",
        "start to the first answer",
        "growth over 1",
        "shared library",
    ]
    assert all(any(character.isdigit() for character in figures) for _, figures in rows)


def test_a_machine_without_cmake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match=r"cannot run cmake .*install it, or name a build folder of runtime/c"):
        main(["--artifact", str(DATA / "pairs"), "--build", str(tmp_path / "build")])
