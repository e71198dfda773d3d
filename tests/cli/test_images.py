"""Training on a folder of images, from the command line: what it learns, how it goes on, what it refuses."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file
from transformers import ViTConfig, ViTForImageClassification

from sharcs_edge.bundle import Bundle
from sharcs_edge.errors import BundleError
from sharcs_edge.train.trainer import SharcsTrainer
from tests.cli.conftest import COLOURS, RATES, Cli, make

PROCESSOR = {
    "do_normalize": True,
    "do_resize": True,
    "do_rescale": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_processor_type": "ViTImageProcessor",
    "image_std": [0.5, 0.5, 0.5],
    "resample": 2,
    "size": {"height": 16, "width": 16},
}
OPTIONS = ("--widths", "0.5,1", *RATES)


@pytest.fixture(scope="session")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny ViT with its image processor, as Hugging Face saves them: 16 patches of 4 x 4 pixels."""
    folder = tmp_path_factory.mktemp("vit")
    torch.manual_seed(0)
    config = ViTConfig(
        image_size=16,
        patch_size=4,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        initializer_range=0.1,
    )
    ViTForImageClassification(config).save_pretrained(folder)
    write_processor(folder)
    return folder


def write_processor(folder: Path, **changes: Any) -> None:
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR | changes))


def draw(colour: str, rng: random.Random) -> Image.Image:
    """A shape of a shade of the colour on dark ground; size, place and kind are noise. Not of the model's size."""
    image = Image.new("RGB", (32, 24), tuple(rng.randrange(90) for _ in range(3)))
    size = rng.randrange(8, 20)
    left, top = rng.randrange(32 - size), rng.randrange(24 - size)
    shade = [rng.randrange(100) for _ in COLOURS]
    shade[["red", "green", "blue"].index(colour)] = rng.randrange(150, 256)
    pen = ImageDraw.Draw(image)
    shape = pen.ellipse if rng.random() < 0.5 else pen.rectangle
    shape((left, top, left + size, top + size), fill=tuple(shade))
    return image


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Splits of class folders, in several kinds of file."""
    root = tmp_path_factory.mktemp("images")
    rng = random.Random(0)
    for split, count in (("train", 40), ("validation", 20), ("test", 20)):
        for colour in COLOURS:
            folder = root / split / colour
            folder.mkdir(parents=True)
            for number in range(count):
                kind = ("png", "jpg", "bmp", "webp")[number % 4]
                draw(colour, rng).save(folder / f"{number:03}.{kind}", quality=95)
    return root


@pytest.fixture(scope="session")
def trained_vit(vit: Path, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What `train` says of a bundle on images."""
    folder = tmp_path_factory.mktemp("made") / "bundle"
    return make("train", "--model", vit, "--data", images, "--output", folder, *OPTIONS)


def test_an_image_folder_is_learned_at_every_width(trained_vit: Any) -> None:
    assert trained_vit["samples"] == {"train": 120, "dev": 60}
    assert min(trained_vit["dev"]["accuracy"]) > 0.8, trained_vit["dev"]
    narrow, full = trained_vit["dev"]["mean_macs"]
    assert narrow < full
    folder = Path(trained_vit["bundle"])
    bundle = Bundle.open(folder)
    info = bundle.info
    assert (info.modality, info.labels, info.text_inputs, info.max_length) == ("image", COLOURS, 0, 17)
    assert json.loads((folder / "preprocessor_config.json").read_text())["size"] == {"height": 16, "width": 16}
    assert not (folder / "tokenizer.json").exists()


def test_evaluation_repeats_what_training_measured(cli: Cli, trained_vit: Any, images: Path) -> None:
    bundle = trained_vit["bundle"]
    found = cli("evaluate", bundle, "--data", images / "validation", "--format", "json").record
    assert (found["images"], found["mean_tokens"]) == (60, 17)
    rows = {row["name"]: row for row in found["rows"]}
    dev = trained_vit["dev"]
    assert [rows[name]["accuracy"] for name in ("w=0.5", "full")] == dev["accuracy"]
    assert [rows[name]["mean_macs"] for name in ("w=0.5", "full")] == dev["mean_macs"]
    assert rows["routed"]["accuracy"] == dev["routed_accuracy"]
    table = cli("evaluate", bundle, "--data", images / "test")
    assert "60 images" in table.out and "text" not in table.out + table.err
    some = cli("evaluate", bundle, "--data", images / "test", "--limit", "6", "--format", "json").record
    assert some["images"] == 6


def test_what_is_said_of_a_bundle_on_images(cli: Cli, trained_vit: Any) -> None:
    summary = cli("inspect", trained_vit["bundle"], "--format", "json").record
    assert (summary["modality"], summary["macs_tokens"]) == ("image", 17)
    trunk, narrow, full = (part["macs"] for part in summary["parts"])
    assert [trunk + narrow, trunk + full] == trained_vit["dev"]["mean_macs"]
    shown = cli("inspect", trained_vit["bundle"]).out
    assert "classification of images" in shown and "MACs M at 17 tokens" in shown
    cli("export", trained_vit["bundle"], "--target", "rpi4", "--output", "out").failed(2, "reads images")


def test_a_training_that_was_cut_off_goes_on_as_if_it_had_not_been(
    cli: Cli, trained_vit: Any, vit: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it goes on from is what lies on the disk; test_train does the same with text and kill -9."""
    output = tmp_path / "bundle"
    options = ("--model", vit, "--data", images, "--output", output, *OPTIONS)
    compute_loss = SharcsTrainer.compute_loss

    def cut_off(self: SharcsTrainer, *arguments: Any, **more: Any) -> torch.Tensor:
        if self.state.global_step == 20:  # of 15 in an epoch
            raise KeyboardInterrupt
        return compute_loss(self, *arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(SharcsTrainer, "compute_loss", cut_off)
        assert "--resume" in cli("train", *options, "--checkpoint-seconds", "0").err
    assert not output.exists()
    assert (tmp_path / "bundle.partial" / "checkpoint-20").is_dir()
    moved = Path(shutil.copytree(images, tmp_path / "images"))
    again = [moved if word == images else word for word in options]
    draw("red", random.Random(1)).save(moved / "train" / "green" / "000.png")
    cli("train", *again, "--resume").failed(2, "cannot resume", "data_fingerprint")
    shutil.copyfile(images / "train" / "green" / "000.png", moved / "train" / "green" / "000.png")
    resumed = cli("train", *again, "--resume", "--format", "json").record
    whole, resumed_weights = (
        load_file(Path(record["bundle"]) / "model.safetensors") for record in (trained_vit, resumed)
    )
    assert [name for name in whole if not torch.equal(whole[name], resumed_weights[name])] == []
    assert resumed["dev"] == trained_vit["dev"]


def test_models_and_data_that_do_not_fit(
    cli: Cli, vit: Path, images: Path, source: Path, data: Path, trained_vit: Any, bundle: Path, tmp_path: Path
) -> None:
    output = ("--output", tmp_path / "out")
    cli("train", "--model", source, "--data", images, *output).failed(2, f"'{source}' reads text", "folder of images")
    cli("train", "--model", vit, "--data", data, *output).failed(2, f"'{vit}' reads images", "data is text")
    cli("train", "--model", vit, "--data", images, *output, "--text-column", "t").failed(2, "no columns")
    cli("train", "--model", vit, "--data", images, *output, "--task", "multi-label").failed(2, "--task multi-label")
    reader = trained_vit["bundle"]
    cli("evaluate", reader, "--data", data / "test.jsonl").failed(1, f"{reader} reads images", "one folder per class")
    cli("evaluate", reader, "--data", images / "test", "--label-column", "l").failed(2, "no columns")
    cli("evaluate", bundle, "--data", images / "test").failed(1, f"{bundle} reads text", "folder of images")
    cli("evaluate", reader, "--data", images).failed(1, f"{images} holds splits", f"{images / 'test'}")
    assert list(tmp_path.iterdir()) == []


def test_image_processors_that_do_not_fit(cli: Cli, vit: Path, images: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(vit, tmp_path / "model"))
    words = ("train", "--model", model, "--data", images, "--output", tmp_path / "out")
    write_processor(model, size={"height": 16, "width": 20})
    cli(*words).failed(2, "makes arrays of (3, 16, 20)", "the model takes (3, 16, 16)")
    (model / "preprocessor_config.json").write_text("{")
    cli(*words).failed(2, f"cannot load the image processor of '{model}'")
    (model / "preprocessor_config.json").unlink()
    cli(*words).failed(2, "has no preprocessor_config.json", "save_pretrained")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_data_that_cannot_be_used_is_named_before_anything_is_written(
    cli: Cli, vit: Path, images: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(images, tmp_path / "images"))
    words = ("train", "--model", vit, "--data", copy, "--output", tmp_path / "out")
    broken = copy / "train" / "green" / "001.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    cli(*words).failed(1, f"{broken}: a damaged image")
    shutil.rmtree(copy / "train" / "green")
    cli(*words).failed(1, "the label 'green' is not among the 2 known ones")
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_bundles_of_images_that_are_incomplete(trained_vit: Any, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(trained_vit["bundle"], tmp_path / "bundle"))
    (copy / "preprocessor_config.json").unlink()
    with pytest.raises(BundleError, match=r"not a complete bundle: preprocessor_config\.json missing"):
        Bundle.open(copy)
    file = copy / "bundle.json"
    file.write_text(file.read_text().replace('"image"', '"sound"'))
    with pytest.raises(BundleError, match="modality is 'sound', expected one of text, image"):
        Bundle.open(copy)


def test_bundles_from_before_there_were_images_are_read(bundle: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    file = copy / "bundle.json"
    fields = json.loads(file.read_text())
    del fields["modality"]
    file.write_text(json.dumps(fields))
    assert Bundle.open(copy).info == Bundle.open(bundle).info
