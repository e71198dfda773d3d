"""Image folders: layouts found, files checked before training, splits held out and drawn, fingerprints."""

from __future__ import annotations

import io
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sharcs_edge.data import ImageSplit, is_image_folder, load_images, read_image, read_image_folder
from sharcs_edge.errors import DataError, UsageError

_ORIENTATION = 0x0112  # EXIF


def draw(file: Path, seed: int = 0, size: tuple[int, int] = (9, 7)) -> Path:
    """An image of noise; its kind is the file's extension."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)
    return file


def folder_of(root: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        draw(root / name, seed)
    return root


def test_splits_with_class_folders(tmp_path: Path) -> None:
    names = [f"{split}/{label}/{i}.png" for split in ("train", "val", "test") for label in ("dog", "cat") for i in "21"]
    root = folder_of(tmp_path, *names, "train/dog/3.JPG", "train/cat/3.webp", "train/cat/4.bmp", "train/cat/5.jpeg")
    assert is_image_folder(root)
    data = load_images(root)
    assert data.label_names == ("cat", "dog")
    assert (len(data.train), len(data.dev), len(data.test or ()), data.notes) == (8, 4, 4, ())
    shown = [file.relative_to(root).as_posix() for file in data.train.files]
    assert shown[:3] == ["train/cat/1.png", "train/cat/2.png", "train/cat/3.webp"]
    assert data.train.labels == ("cat",) * 5 + ("dog",) * 3


def test_class_folders_alone_and_a_dev_split_held_out_by_label(tmp_path: Path) -> None:
    root = folder_of(tmp_path, *(f"{label}/{i:02}.png" for label in ("1", "2", "10") for i in range(20)))
    data = load_images(root, dev_fraction=0.2, seed=3)
    assert data.label_names == ("1", "2", "10")
    assert Counter(data.dev.labels) == {"1": 4, "2": 4, "10": 4}
    assert Counter(data.train.labels) == {"1": 16, "2": 16, "10": 16}
    assert not set(data.train.files) & set(data.dev.files)
    assert data.notes == (f"dev: 12 of 60 images of {root} held out, stratified by label (seed 3)",)
    assert load_images(root, dev_fraction=0.2, seed=3) == data
    assert load_images(root, dev_fraction=0.2, seed=4).dev != data.dev
    drawn = load_images(root, dev_fraction=0.2, seed=3, max_train_samples=10)
    assert (len(drawn.train), drawn.dev, drawn.label_names) == (10, data.dev, data.label_names)
    assert drawn.notes[1] == "train: 10 of 48 images drawn at random (seed 3)"
    with pytest.raises(UsageError, match="dev_fraction is 1"):
        load_images(root, dev_fraction=1.0)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    root = folder_of(tmp_path, "train/1.png", "train/2.png", "plane/1.png", "plane/2.png")
    assert load_images(root, dev_fraction=0.5).label_names == ("plane", "train")


def test_what_is_an_image_folder(tmp_path: Path) -> None:
    assert not is_image_folder(tmp_path)
    assert not is_image_folder(tmp_path / "nowhere")
    assert not is_image_folder("demo")
    (tmp_path / ".hidden").mkdir()
    draw(tmp_path / "cat" / "1.PNG")
    assert is_image_folder(tmp_path)
    assert not is_image_folder(tmp_path / "cat" / "1.PNG")
    (tmp_path / "metadata.csv").touch()
    assert is_image_folder(tmp_path)
    (tmp_path / "train.jsonl").touch()
    assert not is_image_folder(tmp_path)


def test_other_files_are_left_alone_and_said(tmp_path: Path) -> None:
    root = folder_of(tmp_path, "train/cat/1.png", "train/dog/1.png", "dev/cat/1.png", "extra/fish/1.png")
    (root / "train" / ".DS_Store").touch()
    (root / "train" / "cat" / ".1.png").touch()
    assert load_images(root).notes == ()
    (root / "dev" / "cat" / "notes.txt").touch()
    (root / "README.md").touch()
    (root / "train" / "cat" / "thumbs.db").touch()
    assert load_images(root).notes == (
        f"left alone: 2 files that are no images ({root}/train/cat/thumbs.db, for example)",
    )


def test_the_fingerprint_is_of_names_and_bytes(tmp_path: Path) -> None:
    names = ("train/cat/1.png", "train/dog/2.png", "dev/cat/3.png", "dev/dog/4.png")
    root = folder_of(tmp_path / "a", *names)
    fingerprint = load_images(root).fingerprint
    assert len(fingerprint) == 64
    copied = Path(shutil.copytree(root, tmp_path / "b"))
    assert load_images(copied).fingerprint == fingerprint

    def changed() -> bool:
        return load_images(copied).fingerprint != fingerprint

    draw(copied / names[0], seed=99)
    assert changed()
    shutil.copyfile(root / names[0], copied / names[0])
    assert not changed()
    (copied / names[3]).rename(copied / "dev" / "dog" / "5.png")
    assert changed()
    (copied / "dev" / "dog" / "5.png").rename(copied / "train" / "dog" / "4.png")
    draw(copied / names[3], seed=3)
    assert changed()


def test_every_image_is_counted_while_it_is_checked(tmp_path: Path) -> None:
    root = folder_of(tmp_path, *(f"train/{label}/{i}.bmp" for label in "ab" for i in range(4)), "dev/a/1.bmp")
    calls: list[tuple[int, int]] = []
    load_images(root, progress=lambda done, of: calls.append((done, of)))
    assert calls == [(9, 9)]


def error_of(root: Path) -> str:
    with pytest.raises(DataError) as caught:
        load_images(root)
    return str(caught.value).replace(f"{root}", "ROOT")


def test_layouts_that_are_none(tmp_path: Path) -> None:
    layout = "ROOT/LABEL/1.png, or ROOT/train/LABEL/1.png with dev and test beside train"
    flat = folder_of(tmp_path / "flat", "1.png", "2.png")
    assert error_of(flat) == f"ROOT: no class folders; expected one folder of images per class: {layout}"
    unlabelled = folder_of(tmp_path / "unlabelled", "train/1.png", "test/2.png")
    assert error_of(unlabelled).startswith("ROOT/train: no class folders;")
    outside = folder_of(tmp_path / "outside", "cat/1.png", "dog/1.png", "2.png")
    assert error_of(outside) == f"ROOT/2.png: an image outside the class folders; expected {layout}"
    deep = folder_of(tmp_path / "deep", "cat/1.png", "dog/big/1.png")
    assert error_of(deep) == f"ROOT/dog/big: a folder inside the class folder 'dog'; expected {layout}"
    no_train = folder_of(tmp_path / "no_train", "dev/cat/1.png", "test/cat/1.png")
    assert error_of(no_train) == f"ROOT: no train folder; found dev, test; expected {layout}"
    two = folder_of(tmp_path / "two", "train/cat/1.png", "dev/cat/1.png", "val/cat/1.png")
    assert error_of(two) == "ROOT/dev and ROOT/val could both be the dev split; keep one"


def test_classes_that_cannot_be(tmp_path: Path) -> None:
    one = folder_of(tmp_path / "one", "train/cat/1.png", "train/cat/2.png")
    assert error_of(one) == "ROOT/train: the only class folder is 'cat'; a classifier needs two classes or more"
    empty = folder_of(tmp_path / "empty", "cat/1.png", "dog/1.png")
    (empty / "fish").mkdir()
    assert error_of(empty) == (
        "ROOT/fish: a class folder without images (.bmp, .jpeg, .jpg, .png, .webp); fill or remove it"
    )
    unknown = folder_of(tmp_path / "unknown", "train/cat/1.png", "train/dog/1.png", "dev/cat/1.png", "dev/fish/1.png")
    assert error_of(unknown) == "ROOT/dev/fish: the label 'fish' is not among the 2 known ones: 'cat', 'dog'"
    few = folder_of(tmp_path / "few", "cat/1.png", "dog/1.png")
    assert error_of(few).startswith("ROOT: 2 images are too few to hold out a dev split of 10%")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow UTF-8 names alone")
def test_a_class_whose_name_is_not_utf_8(tmp_path: Path) -> None:
    root = folder_of(tmp_path, "cat/1.png", "dog/1.png")
    (root / "dog").rename(root / "\udcff")
    assert "'name' holds half of a surrogate pair" in error_of(root)


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((64, 48), 60).convert("RGB").save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["png", "jpeg", "bmp", "webp"])
def test_a_file_cut_short_is_named_before_training(kind: str, tmp_path: Path) -> None:
    """Wherever it is cut: Pillow raises errors of several kinds, and some only when the last pixel is read."""
    root = folder_of(tmp_path, "train/cat/1.png", "train/dog/1.png", "dev/cat/1.png")
    whole = encoded(kind)
    file = root / "dev" / "cat" / f"2.{kind}"
    for length in (0, 1, 20, len(whole) // 2, len(whole) - 40):
        file.write_bytes(whole[:length])
        message = error_of(root)
        assert message.startswith(f"ROOT/dev/cat/2.{kind}: "), (length, message)
        assert message.endswith("; replace or remove it")
        assert "\n" not in message and "0x" not in message
        with pytest.raises(DataError, match=file.name):
            read_image(file)
    file.write_bytes(whole)
    assert read_image(file).size == (64, 48)


def test_random_damage_is_a_sentence_or_an_image(tmp_path: Path) -> None:
    """Bytes overwritten at random never end in another error than DataError."""
    rng = random.Random(0)
    for kind in ("png", "jpeg", "bmp", "webp"):
        whole = encoded(kind)
        for _ in range(40):
            data = bytearray(whole)
            for _ in range(rng.randint(1, 8)):
                data[rng.randrange(min(len(data), 600))] = rng.randrange(256)
            file = tmp_path / f"damaged.{kind}"
            file.write_bytes(data)
            try:
                assert read_image(file).mode == "RGB"
            except DataError as error:
                assert str(file) in str(error)


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    root = folder_of(tmp_path, "train/cat/1.png", "train/dog/1.png", "dev/cat/1.png")
    file = root / "dev" / "cat" / "2.png"
    file.write_text("not an image")
    assert error_of(root) == "ROOT/dev/cat/2.png: not an image that Pillow knows; replace or remove it"
    file.unlink()
    file.symlink_to("nowhere.png")
    assert error_of(root) == "cannot read ROOT/dev/cat/2.png: No such file or directory"
    file.unlink()
    Image.fromarray(np.full((4, 4), 60_000, dtype=np.uint16)).save(file)
    assert error_of(root) == (
        "ROOT/dev/cat/2.png: pixels of more than 8 bits (mode I;16); convert it to 8 bits per channel"
    )


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
@pytest.mark.filterwarnings("error")
def test_every_mode_becomes_rgb(mode: str, tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 8), (255, 0, 0)).convert(mode)
    file = tmp_path / ("image.jpg" if mode == "CMYK" else "image.png")
    more: dict[str, Any] = {"transparency": bytes([0, 128, 255] * 80)} if mode == "P" else {}
    image.save(file, **more)
    read = read_image(file)
    grey = {"1": 0, "L": 76, "LA": 76}
    expected = (grey[mode],) * 3 if mode in grey else (255, 0, 0)
    assert read.mode == "RGB"
    pixels = np.asarray(read).reshape(-1, 3).mean(axis=0)
    if mode != "1":  # dithered
        assert np.abs(pixels - expected).max() <= 3


def test_images_are_turned_upright(tmp_path: Path) -> None:
    """A camera that was held sideways stores the image as it lay on the sensor, and an EXIF tag."""
    upright = np.zeros((8, 16, 3), dtype=np.uint8)
    upright[:, 8:] = 255
    image = Image.fromarray(upright)
    exif = image.getexif()
    exif[_ORIENTATION] = 6  # shown after a quarter turn clockwise
    image.rotate(90, expand=True).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(np.asarray(read_image(tmp_path / "turned.png")), upright)


def test_one_split_of_a_folder(tmp_path: Path) -> None:
    root = folder_of(tmp_path, "train/cat/1.png", "train/dog/1.png", "test/dog/1.png")
    assert read_image_folder(root / "test", ("cat", "dog")) == ImageSplit((root / "test" / "dog" / "1.png",), ("dog",))
    with pytest.raises(DataError, match=r"holds splits \(train, test\); give the folder of one, such as .*/test$"):
        read_image_folder(root)
    with pytest.raises(DataError, match=r"train/dog: the label 'dog' is not among the 1 known ones: 'cat'"):
        read_image_folder(root / "train", ("cat",))


def test_without_pillow_the_extra_is_named(tmp_path: Path) -> None:
    folder_of(tmp_path, "cat/1.png", "dog/1.png")
    script = (
        "import sys; sys.modules['PIL'] = None\n"
        "from sharcs_edge.data import load_images\n"
        "from sharcs_edge.errors import MissingDependencyError\n"
        "try: load_images(sys.argv[1])\n"
        "except MissingDependencyError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout == 'reading images needs Pillow: pip install "sharcs-edge[train]"\n', done.stderr
