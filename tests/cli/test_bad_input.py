"""What a user may get wrong: one sentence that names the place and the cure, the exit code, nothing half-written."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, command, environment, write_rows

Row = dict[str, object]
GOOD: list[Row] = [{"text": "a red car", "label": "red"}, {"text": "a blue car", "label": "blue"}] * 10


@pytest.fixture
def train(cli: Cli, source: Path, tmp_path: Path) -> Callable[..., None]:
    """Expects `train` to refuse, and to leave nothing behind."""

    def call(data: Path | str, code: int, *parts: str, options: tuple[str, ...] = ()) -> None:
        output = tmp_path / "out" / "bundle"
        output.parent.mkdir()
        cli("train", "--model", source, "--data", data, "--output", output, *options).failed(code, *parts)
        assert list(output.parent.iterdir()) == []

    return call


def test_missing_columns(train: Callable[..., None], tmp_path: Path) -> None:
    file = write_rows(tmp_path / "rows.jsonl", [{"sentence": "a", "label": "x"}])
    train(file, 1, str(file), "line 1", "no column 'text'", "found 'sentence', 'label'", "--text-column")


@pytest.mark.parametrize("stream", ["-", "/dev/null"])
def test_a_stream(train: Callable[..., None], stream: str) -> None:
    train(stream, 2, "cannot train on", "many times", "write the rows to a file first")


def test_a_label_that_only_dev_has(train: Callable[..., None], tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    write_rows(folder / "train.jsonl", GOOD)
    dev = write_rows(folder / "dev.jsonl", [*GOOD, {"text": "a green car", "label": "green"}])
    train(folder, 1, f"{dev}, line 21", "'green'", "'blue', 'red'")


def test_one_class_only(train: Callable[..., None], tmp_path: Path) -> None:
    file = write_rows(tmp_path / "rows.jsonl", GOOD[:1] * 20)
    train(file, 1, str(file), "every label is 'red'", "two classes")


def test_an_empty_text(train: Callable[..., None], tmp_path: Path) -> None:
    file = write_rows(tmp_path / "rows.jsonl", [*GOOD, {"text": " ", "label": "red"}])
    train(file, 1, f"{file}, line 21", "'text' is empty")


def test_a_file_that_is_not_utf8(train: Callable[..., None], tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(b"text,label\na red car,red\ncaf\xe9,blue\n")
    train(file, 1, f"{file}, line 3", "0xe9", "UTF-8")


def test_data_that_is_not_there(train: Callable[..., None], tmp_path: Path) -> None:
    train(tmp_path / "none.jsonl", 1, "none.jsonl", "no such file or folder")


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("--widths", "0.5"), "lack 1.0"),
        (("--widths", "0.5,0.55,1"), "at least 1/4 apart"),
        (("--widths", "half,1"), "'half'"),
        (("--epochs", "0"), "epochs is 0"),
        (("--trunk-layers", "2"), "trunk"),
        (("--dev-fraction", "1.5"), "dev_fraction"),
        (("--recipe", "sharcs", "--epochs", "3"), "label window"),
        (("--label-column", "text"), "must be different"),
    ],
)
def test_options_that_cannot_be(
    train: Callable[..., None], tmp_path: Path, options: tuple[str, ...], part: str
) -> None:
    train(write_rows(tmp_path / "rows.jsonl", GOOD), 2, part, options=options)


def test_very_long_texts(cli: Cli, artifact: Path, source: Path, tmp_path: Path) -> None:
    """100,000 characters are cut to the longest input, in training and on the device alike."""
    long = "a very big red house " * 5000
    answer = cli("run", artifact, "--input", "-", "--format", "json", stdin=json.dumps({"text": long}).encode())
    assert (answer.lines[0]["truncated"], answer.lines[0]["tokens"]) == (True, 40)
    file = write_rows(tmp_path / "rows.jsonl", [*GOOD, {"text": long, "label": "red"}])
    outcome = cli("train", "--model", source, "--data", file, "-o", tmp_path / "b", "--epochs", "1", "--threads", "1")
    assert outcome.code == 0, outcome.err


def test_existing_outputs_are_left_alone(
    cli: Cli, source: Path, data: Path, bundle: Path, artifact: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "mine.txt").write_text("keep")
    cli("train", "--model", source, "--data", data, "--output", folder).failed(2, "exists", "--overwrite")
    cli("export", bundle, "--target", "rpi4", "--output", folder).failed(2, str(folder), "another folder")
    cli("export", bundle, "--target", "rpi4", "--output", artifact).failed(2, "exists", "overwritten")
    assert [file.name for file in folder.iterdir()] == ["mine.txt"]


def test_models_that_cannot_be_loaded(cli: Cli, data: Path, tmp_path: Path) -> None:
    cli("train", "--model", tmp_path, "--data", data, "--output", tmp_path / "b").failed(2, "cannot load a model")


def test_export_options_that_cannot_be(cli: Cli, bundle: Path, tmp_path: Path) -> None:
    output = tmp_path / "artifact"
    cli("export", bundle, "--target", "rpi44", "-o", output).failed(2, 'unknown target "rpi44"', "did you mean rpi4")
    cli("export", bundle, "--target", "rpi4", "--widths", "0.3,1", "-o", output).failed(2, "no width 0.3", "0.25, 0.5")
    cli("export", bundle, "--target", "rpi4", "--backend", "tnn", "-o", output).failed(2, 'backend "tnn"', "onnx")
    cli("export", bundle, "--target", "rpi4").failed(2, "--output")
    cli("export", tmp_path, "--target", "rpi4", "-o", output).failed(1, "not a complete bundle")
    assert not output.exists()


@pytest.fixture
def copy(artifact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(artifact, tmp_path / "copy"))


def test_damaged_artifacts_name_the_file(cli: Cli, copy: Path) -> None:
    tail = copy / "tail_w025.onnx"
    whole = tail.read_bytes()
    tail.write_bytes(whole[:-1])
    for arguments in (("verify", copy), ("run", copy, "a"), ("inspect", copy), ("profile", copy)):
        cli(*arguments).failed(1, "tail_w025.onnx", "bytes")
    tail.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    cli("verify", copy).failed(1, "tail_w025.onnx", "SHA-256")
    tail.unlink()
    cli("evaluate", copy, "--data", "demo").failed(1, "tail_w025.onnx", "not there")


def test_a_manifest_of_a_newer_schema(cli: Cli, copy: Path) -> None:
    manifest = copy / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"schema_version": 1', '"schema_version": 7'))
    cli("verify", copy).failed(1, "schema_version is 7", "reads 1", "update sharcs-edge-runtime")


def test_a_manifest_with_several_faults_names_them_all(cli: Cli, copy: Path) -> None:
    manifest = copy / "manifest.json"
    content = json.loads(manifest.read_text()) | {"text_inputs": 3, "colour": "red"}
    manifest.write_text(json.dumps(content))
    cli("inspect", copy).failed(1, "2 problems", "$.text_inputs", "unknown field colour")


def test_an_artifact_that_answers_otherwise_fails_with_3(cli: Cli, copy: Path) -> None:
    """The tails of two widths exchanged, hashes and all: intact, and wrong."""
    manifest = copy / "manifest.json"
    content = json.loads(manifest.read_text())
    narrow, wide = (next(graph for graph in content["graphs"] if graph["width"] == width) for width in (0.25, 1.0))
    for key in ("file", "sha256", "bytes"):
        narrow[key], wide[key] = wide[key], narrow[key]
    content["tolerance"]["logits"] = 1e-4
    manifest.write_text(json.dumps(content))
    outcome = cli("verify", copy)
    outcome.failed(3, "tail_w025: max abs logit difference", "golden row")
    assert "FAILED" in outcome.out
    as_json = cli("verify", copy, "--format", "json")
    assert as_json.code == 3
    assert json.loads(as_json.out)["passed"] is False


def test_folders_that_are_neither(cli: Cli, tmp_path: Path) -> None:
    cli("inspect", tmp_path).failed(1, "is neither", "bundle", "artifact")
    cli("evaluate", tmp_path / "none", "--data", "demo").failed(1, "does not exist")
    cli("verify", tmp_path / "none").failed(1, "does not exist", "sharcs-edge export")
    cli("export", tmp_path / "none", "--target", "rpi4", "--dry-run").failed(1, "does not exist", "sharcs-edge train")


def test_a_bundle_and_an_artifact_taken_for_each_other(cli: Cli, bundle: Path, artifact: Path, tmp_path: Path) -> None:
    spaced = tmp_path / "my bundle"
    spaced.symlink_to(bundle)
    cli("run", spaced, "a").failed(2, "is a bundle", f"sharcs-edge export '{spaced}' --target")
    cli("export", artifact, "--target", "rpi4", "--dry-run").failed(1, "is an artifact")


def test_widths_that_are_not_there(cli: Cli, artifact: Path) -> None:
    cli("run", artifact, "a", "--width", "0.3").failed(2, "no width 0.3", "0.25, 0.5, 1")
    cli("run", artifact, "a", "--max-width", "0.1").failed(2, "no width lies within")
    cli("run", artifact, "a", "--width", "0.5", "--max-width", "1").failed(2, "cannot be combined")
    cli("run", artifact, "a", "--width", "2").failed(2, "width is 2.0")
    cli("run", artifact, "a", "--width", "1/0").failed(2, "'1/0' is no width", "1/12")
    cli("run", artifact, "a", "--width", "1/3").failed(2, "no width 0.333333", "0.25, 0.5, 1")
    assert cli("run", artifact, "a", "--width", "1/4", "--format", "json").lines[0]["width"] == 0.25


def test_evaluation_data_that_does_not_fit(cli: Cli, artifact: Path, bundle: Path, tmp_path: Path) -> None:
    file = write_rows(tmp_path / "rows.jsonl", [*GOOD, {"text": "a", "label": "pink"}])
    for path in (artifact, bundle):
        cli("evaluate", path, "--data", file).failed(1, f"{file}, line 21", "'pink'")
        cli("evaluate", path, "--data", file, "--limit", "21").failed(1, "line 21")
        assert cli("evaluate", path, "--data", file, "--limit", "20", "--format", "json").record["texts"] == 20
    pairs = write_rows(tmp_path / "pairs.jsonl", [{"text": "a", "text_pair": "b", "label": "red"}])
    for path in (artifact, bundle):
        cli("evaluate", path, "--data", pairs).failed(1, f"{pairs}, row 1", "single texts are expected")


def test_profile_options_that_cannot_be(cli: Cli, artifact: Path) -> None:
    cli("profile", artifact, "--lengths", "8,x").failed(2, "'8,x'")
    cli("profile", artifact, "--lengths", "4000").failed(2, "length 4000", "40")
    cli("profile", artifact, "--min-samples", "1").failed(2, "min_samples is 1")


def test_unknown_devices(cli: Cli) -> None:
    cli("devices", "show", "raspberry-pi4").failed(2, "unknown target", "devices list")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="mounts a small disk in a name space of its own")
def test_a_full_disk(source: Path, data: Path, bundle: Path, artifact: Path, tmp_path: Path) -> None:
    """Every command that writes, on a disk of 64 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    isolated = ["unshare", "--user", "--map-root-user", "--mount"]
    if shutil.which("unshare") is None or subprocess.run([*isolated, "true"], capture_output=True).returncode:
        pytest.skip("this machine allows no name spaces")
    rows = write_rows(tmp_path / "rows.jsonl", [{"text": "a red car " * 20}] * 400)
    writing = {
        "train": command("train", "--model", source, "--data", data, "--output", disk / "bundle"),
        "export": command("export", bundle, "--target", "rpi4", "--output", disk / "artifact"),
        "run": command("run", artifact, "--input", rows, "--output", disk / "answers.jsonl"),
    }
    for name, words in writing.items():
        script = 'mount -t tmpfs -o size=64k tmpfs "$0" && shift 0 && "$@"; code=$?; ls -A "$0"; exit $code'
        done = subprocess.run(
            [*isolated, "sh", "-c", script, str(disk), *words], capture_output=True, text=True, env=environment()
        )
        assert done.returncode == 1, (name, done.stderr)
        assert done.stdout == "", name  # `ls`: nothing is left
        assert "Traceback" not in done.stderr
        (sentence,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert str(disk) in sentence
        assert any(word in sentence for word in ("MB free", "disk is full", "No space left")), sentence
