"""The artifact folder: damage is named, paths do not escape, writing is all or nothing."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from sharcs_edge_runtime.artifact import Artifact, staged_folder, write_file_atomically
from sharcs_edge_runtime.errors import ArtifactError, ManifestError, SharcsEdgeError, UsageError

GRAPHS = ["trunk.onnx", "tail_w025.onnx", "tail_w050.onnx", "tail_w100.onnx"]
FILES = [*GRAPHS, "tokenizer.json", "golden.npz", "README.md"]


def test_open_reads_what_was_written(tiny_artifact: Path) -> None:
    artifact = Artifact.open(tiny_artifact)
    assert artifact.manifest.widths == (0.25, 0.5, 1.0)
    assert {entry.file for entry in artifact.manifest.all_files} == set(FILES)
    assert artifact.tokenizer_file.is_file()
    assert artifact.file(artifact.manifest.tail(0.5)).name == "tail_w050.onnx"


def test_files_that_the_manifest_does_not_name_are_no_fault(tiny_artifact: Path) -> None:
    (tiny_artifact / "latency.json").write_text("{}")
    Artifact.open(tiny_artifact)


@pytest.mark.parametrize("name", FILES)
def test_an_edited_byte_is_found_and_the_file_named(name: str, tiny_artifact: Path) -> None:
    file = tiny_artifact / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(ArtifactError, match=f"{name} has SHA-256 [0-9a-f]{{64}}, the manifest says .*export it again"):
        Artifact.open(tiny_artifact)
    Artifact.open(tiny_artifact, verify_hashes=False)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("verify_hashes", [True, False])
def test_a_cut_or_missing_file_is_found_without_hashing(name: str, verify_hashes: bool, tiny_artifact: Path) -> None:
    file = tiny_artifact / name
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match=rf"{name} has \d+ bytes, the manifest says \d+: it was cut off"):
        Artifact.open(tiny_artifact, verify_hashes)
    file.unlink()
    with pytest.raises(ArtifactError, match=f"names {name}, which is not there"):
        Artifact.open(tiny_artifact, verify_hashes)


def test_a_link_out_of_the_folder_is_refused(tiny_artifact: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.onnx"
    (tiny_artifact / "trunk.onnx").rename(outside)
    (tiny_artifact / "trunk.onnx").symlink_to(outside)
    with pytest.raises(ArtifactError, match=r"trunk\.onnx is a link that leads out"):
        Artifact.open(tiny_artifact)


def test_the_folder_itself_may_be_a_link(tiny_artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(tiny_artifact)
    Artifact.open(tmp_path / "current")


def test_what_is_no_artifact_is_said(tmp_path: Path, tiny_artifact: Path) -> None:
    with pytest.raises(ArtifactError, match="does not exist"):
        Artifact.open(tmp_path / "nowhere")
    with pytest.raises(ArtifactError, match="is a file"):
        Artifact.open(tiny_artifact / "README.md")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtifactError, match=r"holds no manifest\.json"):
        Artifact.open(tmp_path / "empty")


def test_manifest_errors_name_the_file(tiny_artifact: Path) -> None:
    document = json.loads((tiny_artifact / "manifest.json").read_bytes())
    document["surprise"] = 1
    (tiny_artifact / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(
        ManifestError, match=r"artifact/manifest\.json: 1 problem in the manifest: unknown field surprise"
    ):
        Artifact.open(tiny_artifact)


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_staged_folder_appears_only_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "bundle"
    with staged_folder(target) as folder:
        (folder / "a").write_text("1")
        assert not target.exists()
        assert folder.parent == target.parent
    assert (target / "a").read_text() == "1"
    assert listing(tmp_path / "deep") == ["bundle"]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("overwrite", [True, False])
def test_nothing_stays_after_a_failure(failure: type[BaseException], overwrite: bool, tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    if overwrite:
        target.mkdir()
        (target / "old").write_text("old")
    with pytest.raises(failure), staged_folder(target, overwrite) as folder:
        (folder / "a").write_text("half")
        raise failure
    assert listing(tmp_path) == (["bundle"] if overwrite else [])
    assert not overwrite or (target / "old").read_text() == "old"


def test_an_existing_folder_is_kept_unless_overwriting(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    target.mkdir()
    with staged_folder(target) as folder:  # empty: no harm
        (folder / "a").write_text("1")
    with pytest.raises(UsageError, match="exists and is not empty"), staged_folder(target):
        raise AssertionError("the block must not run")
    with staged_folder(target, overwrite=True) as folder:
        (folder / "b").write_text("2")
        assert listing(target) == ["a"]
    assert listing(target) == ["b"]
    assert listing(tmp_path) == ["bundle"]


def test_a_folder_that_appeared_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    with pytest.raises(UsageError, match="exists and is not empty"), staged_folder(target) as folder:
        (folder / "a").write_text("1")
        target.mkdir()
        (target / "theirs").write_text("2")
    assert listing(tmp_path) == ["bundle"]
    assert listing(target) == ["theirs"]


def test_files_and_the_working_directory_are_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="is a file"), staged_folder(tmp_path / "file", overwrite=True):
        raise AssertionError
    inside = tmp_path / "project" / "src"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    for target in (tmp_path / "project", Path("..")):
        with pytest.raises(UsageError, match="holds the working directory"), staged_folder(target, overwrite=True):
            raise AssertionError


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with (
        pytest.raises(SharcsEdgeError, match=r"bundle: the disk is full, \d+ are free"),
        staged_folder(tmp_path / "bundle"),
    ):
        full()
    (tmp_path / "file").write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SharcsEdgeError, match=r"file: the disk is full, 3 bytes are needed, \d+ are free"):
        write_file_atomically(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_text() == "old"
    assert listing(tmp_path) == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_without_permission_is_one_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(SharcsEdgeError, match="cannot write"), staged_folder(tmp_path / "bundle"):
        raise AssertionError
    with pytest.raises(SharcsEdgeError, match="cannot write"):
        write_file_atomically(tmp_path / "file", b"x")


def test_a_parent_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(SharcsEdgeError, match="cannot write"), staged_folder(tmp_path / "file" / "bundle"):
        raise AssertionError


def test_other_errors_of_the_block_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), staged_folder(tmp_path / "bundle"):
        (tmp_path / "no such input").read_text()


def test_an_interrupted_replacement_restores_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "bundle"
    target.mkdir()
    (target / "old").write_text("old")
    rename = Path.rename

    def fail_second(self: Path, destination: Path) -> Path:
        if self.suffix == ".tmp":
            raise KeyboardInterrupt
        return rename(self, destination)

    monkeypatch.setattr(Path, "rename", fail_second)
    with pytest.raises(KeyboardInterrupt), staged_folder(target, overwrite=True) as folder:
        (folder / "new").write_text("new")
    assert listing(target) == ["old"]
    assert listing(tmp_path) == ["bundle"]


def test_written_files_have_the_permissions_of_ordinary_files(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("x")
    (tmp_path / "plain_folder").mkdir()
    write_file_atomically(tmp_path / "ours", b"x")
    with staged_folder(tmp_path / "our_folder") as folder:
        (folder / "a").write_text("x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert (tmp_path / "our_folder").stat().st_mode == (tmp_path / "plain_folder").stat().st_mode


def test_ctrl_c_in_a_real_process_leaves_nothing(tmp_path: Path) -> None:
    program = textwrap.dedent(
        f"""
        import signal, time
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job inherits that it is ignored
        from sharcs_edge_runtime.artifact import staged_folder
        with staged_folder({str(tmp_path / "bundle")!r}) as folder:
            (folder / "a").write_text("half")
            print("ready", flush=True)
            time.sleep(60)
        """
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    assert len(listing(tmp_path)) == 1
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode != 0
    assert listing(tmp_path) == []
