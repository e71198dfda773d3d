"""The cache of packed weights: where it is, what it is named by, and that nothing half-written is ever read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sharcs_edge_runtime.errors import UsageError
from sharcs_edge_runtime.session import Session
from sharcs_edge_runtime.weight_cache import cache_folder, processor_id, with_weight_cache
from tests.runtime.conftest import ArtifactBuilder

PACKED = b"packed weights"


def load(file: Path | None) -> bytes | None:
    """As the library does: reads a file that is there, else writes it."""
    if file is None:
        return None
    if not file.exists():
        file.write_bytes(PACKED)
    return file.read_bytes()


def cached(folder: Path | None, artifact: Path, sha256: str = "a" * 64) -> tuple[bytes | None, Path | None]:
    return with_weight_cache(folder, artifact / "model.tflite", sha256, "1.0", load)


def test_the_folder_is_the_callers_then_the_environments_then_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SHARCS_EDGE_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder(None) == tmp_path / ".cache" / "sharcs-edge"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder(None) == tmp_path / "xdg" / "sharcs-edge"
    monkeypatch.setenv("SHARCS_EDGE_CACHE", str(tmp_path / "named"))
    assert cache_folder(None) == tmp_path / "named"
    assert cache_folder(tmp_path / "chosen") == tmp_path / "chosen"


def test_it_is_written_once_and_found_again(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    _, first = cached(folder, tmp_path)
    assert first is not None
    written = first.stat().st_mtime_ns
    assert cached(folder, tmp_path) == (PACKED, first)
    assert first.stat().st_mtime_ns == written
    assert list(folder.iterdir()) == [first]


def test_another_artifact_in_the_same_place_replaces_it(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    _, old = cached(folder, tmp_path / "one", "a" * 64)
    _, other = cached(folder, tmp_path / "two", "a" * 64)
    _, new = cached(folder, tmp_path / "one", "b" * 64)
    assert old is not None and not old.exists()
    assert sorted(folder.iterdir()) == sorted(file for file in (other, new) if file is not None)


def test_it_depends_on_the_processor(tmp_path: Path) -> None:
    for name, flags in (("one", "avx2 fma"), ("two", "avx2 fma avx512_vnni"), ("three", "avx2 fma")):
        (tmp_path / name).write_text(f"processor : 0\nflags\t\t: {flags}\ncpu MHz : {len(name)}\n")
    one, two, three = (processor_id(tmp_path / name) for name in ("one", "two", "three"))
    assert one == three != two
    assert processor_id(tmp_path / "none") not in (one, two)


def test_a_file_that_was_cut_off_is_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    _, file = cached(folder, tmp_path)
    assert file is not None
    file.write_bytes(PACKED[:3])
    assert cached(folder, tmp_path) == (PACKED, file)


def test_what_a_crash_leaves_behind_is_not_read(tmp_path: Path) -> None:
    def crash(file: Path | None) -> None:
        assert file is not None
        file.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        with_weight_cache(tmp_path, tmp_path / "model.tflite", "a" * 64, "1.0", crash)
    assert not list(tmp_path.iterdir())


def test_a_library_that_writes_nothing_is_no_error(tmp_path: Path) -> None:
    assert with_weight_cache(tmp_path, tmp_path / "m", "a" * 64, "1.0", lambda file: 7) == (7, None)


def test_a_folder_that_cannot_be_written_is_refused_if_it_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"cannot hold the weight cache: .*; name a folder that can be written"):
        cached(tmp_path / "file", tmp_path)
    with pytest.raises(UsageError, match="its name holds a quote"):
        cached(tmp_path / 'a "quoted" name', tmp_path)
    monkeypatch.setenv("SHARCS_EDGE_CACHE", str(tmp_path / "file"))
    assert cached(None, tmp_path) == (None, None)


_CHILD = """
import json, sys
from sharcs_edge_runtime import Session
session = Session.load(sys.argv[1], weight_cache=sys.argv[2])
print(json.dumps([str(session.weight_cache), session.predict("turn on the light").scores]))
"""


def test_processes_that_start_together_share_one_cache(make_artifact: ArtifactBuilder, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    from tests.runtime.tables import as_tflite

    artifact, folder = as_tflite(make_artifact(token_types=False)), tmp_path / "cache"
    command = [sys.executable, "-c", _CHILD, str(artifact), str(folder)]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) for _ in range(3)]
    answers = [json.loads(child.communicate(timeout=120)[0]) for child in children]
    assert [child.returncode for child in children] == [0, 0, 0]
    assert answers[0] == answers[1] == answers[2]
    session = Session.load(artifact, weight_cache=folder)
    assert [str(file) for file in folder.iterdir()] == [str(session.weight_cache)] == [answers[0][0]]
    assert list(session.predict("turn on the light").scores or ()) == answers[0][1]
