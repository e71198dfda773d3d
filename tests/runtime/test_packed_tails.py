"""Packed tails: made where the caller asks, used again, made anew when something changed, and never another answer."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from sharcs_edge_runtime import Budget, Session
from sharcs_edge_runtime.artifact import Artifact
from sharcs_edge_runtime.errors import UsageError
from sharcs_edge_runtime.manifest import FileRef
from sharcs_edge_runtime.packed_tails import PackedTails
from sharcs_edge_runtime.weight_cache import FOLDER_VARIABLE

TEXTS = ("good movie", "a plot so bad", "fine")


def answers(session: Session) -> list[tuple[float, ...] | None]:
    return [session.predict(text, budget=Budget(width=width)).scores for text in TEXTS for width in session.widths]


def inodes(folder: Path) -> dict[str, int]:
    return {path.relative_to(folder).as_posix(): path.stat().st_ino for path in folder.rglob("*") if path.is_file()}


def test_answers_are_the_same_and_the_files_are_used_again(tiny_artifact: Path, tmp_path: Path) -> None:
    expected = answers(Session.load(tiny_artifact))
    session = Session.load(tiny_artifact, weight_cache=tmp_path / "new" / "cache")
    assert session.weight_cache == tmp_path / "new" / "cache"
    assert answers(session) == expected
    made = inodes(tmp_path / "new" / "cache")
    assert len([name for name in made if name.endswith("graph.onnx")]) == len(session.widths)
    assert not any("trunk" in name or name.startswith(".") for name in made)
    assert answers(Session.load(tiny_artifact, weight_cache=tmp_path / "new" / "cache")) == expected
    assert inodes(tmp_path / "new" / "cache") == made


def test_nothing_is_written_unasked(tiny_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    assert Session.load(tiny_artifact).weight_cache is None
    assert not (tmp_path / "xdg").exists()
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "named"))
    assert Session.load(tiny_artifact).weight_cache == tmp_path / "named"
    assert inodes(tmp_path / "named")


def test_a_file_that_was_cut_off_is_made_again(tiny_artifact: Path, tmp_path: Path) -> None:
    expected = answers(Session.load(tiny_artifact, weight_cache=tmp_path / "cache"))
    graph = next((tmp_path / "cache").glob("*tail_w025*/graph.onnx"))
    graph.write_bytes(graph.read_bytes()[:100])
    assert answers(Session.load(tiny_artifact, weight_cache=tmp_path / "cache")) == expected


def test_a_file_that_was_damaged_is_dropped(tiny_artifact: Path, tmp_path: Path) -> None:
    expected = answers(Session.load(tiny_artifact, weight_cache=tmp_path / "cache"))
    graph = next((tmp_path / "cache").glob("*tail_w025*/graph.onnx"))
    graph.write_bytes(bytes(graph.stat().st_size))
    assert answers(Session.load(tiny_artifact, weight_cache=tmp_path / "cache")) == expected
    assert not graph.exists()


def test_a_new_artifact_drops_what_the_former_one_left(tiny_artifact: Path, tmp_path: Path) -> None:
    manifest = Artifact.open(tiny_artifact).manifest
    cache, graph = tmp_path / "cache", manifest.tail(1.0)

    def packed(weights: str) -> PackedTails:
        files = (FileRef("weights.bin", weights, 0),)
        return PackedTails(cache, True, Artifact(tiny_artifact, replace(manifest, files=files)), "1.22.0")

    first = packed("a" * 64).file(graph, lambda file: file.write_bytes(b"first"))
    assert first is not None and first.read_bytes() == b"first"
    second = packed("b" * 64).file(graph, lambda file: file.write_bytes(b"second"))
    assert second is not None and second.read_bytes() == b"second"
    assert not first.exists()
    assert [path.parent for path in cache.glob("*/*")] == [second.parent]


def test_two_processes_at_once_share_what_the_faster_one_made(tiny_artifact: Path, tmp_path: Path) -> None:
    manifest = Artifact.open(tiny_artifact).manifest
    graph, both = manifest.tail(1.0), threading.Barrier(2)
    found: list[Path | None] = []

    def write(file: Path) -> None:
        both.wait(10)  # both have seen that there is none
        file.write_bytes(b"packed")

    def make() -> None:
        found.append(
            PackedTails(tmp_path / "cache", True, Artifact(tiny_artifact, manifest), "1.22.0").file(graph, write)
        )

    threads = [threading.Thread(target=make) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] is not None and found[0] == found[1]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [found[0].parent.name]


def test_a_folder_that_cannot_be_written(tiny_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot hold the weight cache: .*; name a folder that can be written"):
        Session.load(tiny_artifact, weight_cache=tmp_path / "file")
    monkeypatch.setenv(FOLDER_VARIABLE, os.fspath(tmp_path / "file"))
    assert answers(Session.load(tiny_artifact)) == answers(Session.load(tiny_artifact, budget=Budget(memory_mb=1000)))


def test_versions_that_cannot_save_packed_weights_do_without(tiny_artifact: Path, tmp_path: Path) -> None:
    opened = Artifact.open(tiny_artifact)
    assert PackedTails.of(opened, tmp_path, "1.20.1") is None
    assert PackedTails.of(opened, tmp_path, "1.31.1") is not None
