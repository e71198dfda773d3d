"""Image folders, one folder of images per class: found, checked, held out and drawn.

Importing this module costs nothing beyond the standard library: Pillow is imported when an image is read.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from sharcs_edge.assets import DEMO
from sharcs_edge.data.draws import check_draws, draw_rows, hold_out
from sharcs_edge.data.formats import extension_of
from sharcs_edge.data.labels import LabelReader
from sharcs_edge.data.loading import SPLIT_NAMES
from sharcs_edge.data.records import sort_labels
from sharcs_edge.errors import DataError, MissingDependencyError

if TYPE_CHECKING:
    from PIL.Image import Image

    from sharcs_edge_runtime.manifest import TaskName

IMAGE_EXTENSIONS: Final = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
# What a split's folder may be called, the usual name first.
IMAGE_SPLIT_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "train": ("train",),
    "dev": ("dev", "validation", "val"),
    "test": ("test",),
}
_SPLITS: Final = frozenset(name for names in IMAGE_SPLIT_NAMES.values() for name in names)
_LAYOUT: Final = "ROOT/LABEL/1.png, or ROOT/train/LABEL/1.png with dev and test beside train"
_DEEPEST: Final = 2  # folders between the root and an image: split, label
_CHECKED_TOGETHER: Final = 1024
# What Pillow raises for damaged files, beside its own errors.
_DAMAGED: Final = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class ImageSplit:
    """Labelled images by column: files, which are read when they are needed, and labels."""

    files: tuple[Path, ...]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.files)

    def take(self, indices: Iterable[int]) -> ImageSplit:
        """The images at `indices`, in that order."""
        rows = list(indices)
        return ImageSplit(tuple(self.files[row] for row in rows), tuple(self.labels[row] for row in rows))


@dataclass(frozen=True)
class ImageDataset:
    """Everything that training on images reads; see `TextDataset`.

    `fingerprint` is a sha256 (hex) over split, name, label and bytes of every image: that of a copy of the folder is
    the same. The task is always classification.
    """

    task: ClassVar[TaskName] = "classification"
    text_inputs: ClassVar[int] = 0

    train: ImageSplit
    dev: ImageSplit
    test: ImageSplit | None
    label_names: tuple[str, ...]
    fingerprint: str
    notes: tuple[str, ...] = ()

    @property
    def task_summary(self) -> str:
        """The task and its labels in a few words."""
        return f"{self.task} of images, {len(self.label_names):,} labels"


def is_image_folder(source: str | Path) -> bool:
    """Whether `source` is a folder with images in it, and without a file of labelled text that is named for a split."""
    if str(source) == DEMO:
        return False
    root = Path(source)
    for folder, folders, files in os.walk(root, followlinks=True):
        depth = len(Path(folder).relative_to(root).parts)
        if depth == 0 and any(map(_is_text_split, files)):
            return False
        if any(map(_is_image, files)):
            return True
        if depth == _DEEPEST:
            folders.clear()
    return False


def load_images(
    source: str | Path,
    *,
    max_train_samples: int | None = None,
    dev_fraction: float = 0.1,
    seed: int = 0,
    progress: Progress | None = None,
) -> ImageDataset:
    """Read an image folder for training: `ROOT/LABEL/*`, or `ROOT/train/LABEL/*` with `dev` and `test` beside `train`.

    Every image is decoded once, so that a damaged file is named now and not hours later; none is kept in memory.

    Args:
        source: the folder; names that begin with a dot are not looked at.
        max_train_samples, dev_fraction, seed: see `load_data`.
        progress: called with the number of images checked so far, and of all.

    Raises:
        UsageError: `max_train_samples` or `dev_fraction` is out of range.
        DataError: another layout, one class only, a class without images, a file that is no usable image.
        MissingDependencyError: Pillow is not installed.
    """
    check_draws(max_train_samples, dev_fraction)
    _require_pillow()
    root = Path(source)
    folders = _split_folders(root)
    ignored: list[Path] = []
    train = _read_split(folders["train"], None, ignored)
    label_names = sort_labels(train.labels)
    if len(label_names) == 1:
        raise DataError(
            f"{folders['train']}: the only class folder is {label_names[0]!r}; a classifier needs two classes or more"
        )
    dev, test = (
        _read_split(folders[title], label_names, ignored) if title in folders else None for title in ("dev", "test")
    )
    notes = []
    if ignored:
        notes.append(f"left alone: {len(ignored):,} files that are no images ({ignored[0]}, for example)")
    if dev is None:
        whole = len(train)
        kept, held = hold_out(train.labels, dev_fraction, seed, str(folders["train"]), "images")
        train, dev = train.take(kept), train.take(held)
        notes.append(
            f"dev: {len(dev):,} of {whole:,} images of {folders['train']} held out, stratified by label (seed {seed})"
        )
    if max_train_samples is not None and max_train_samples < len(train):
        notes.append(f"train: {max_train_samples:,} of {len(train):,} images drawn at random (seed {seed})")
        train = train.take(draw_rows(max_train_samples, len(train), seed))
    fingerprint = _check({"train": train, "dev": dev, "test": test}, label_names, progress or (lambda done, of: None))
    return ImageDataset(train, dev, test, label_names, fingerprint, tuple(notes))


def read_image_folder(folder: str | Path, label_names: Collection[str] | None = None) -> ImageSplit:
    """The images of one split, `FOLDER/LABEL/*`, by label and then by name; nothing is opened yet.

    Raises:
        DataError: another layout, a class without images, or a label that is not in `label_names`; None allows any.
        MissingDependencyError: Pillow is not installed.
    """
    _require_pillow()
    root = Path(folder)
    splits = _split_folders(root)
    if splits["train"] != root:
        names = ", ".join(folder.name for folder in splits.values())
        one = splits.get("test", splits["train"])
        raise DataError(f"{root} holds splits ({names}); give the folder of one, such as {one}")
    return _read_split(root, label_names, [])


def read_image(file: Path) -> Image:
    """One image: upright as its EXIF orientation says, RGB.

    Raises:
        DataError: the file cannot be read, is no image or damaged, or its pixels have more than 8 bits per channel.
    """
    from PIL import ImageOps

    with _opened(_bytes_of(file), file) as image:
        upright = ImageOps.exif_transpose(image)
        # Straight from a palette with transparency to RGB, Pillow warns.
        return (upright.convert("RGBA") if upright.mode == "P" else upright).convert("RGB")


class _Listing(NamedTuple):
    folders: list[Path]
    images: list[Path]
    others: list[Path]


def _list(folder: Path) -> _Listing:
    """What lies in a folder, by name."""
    listing = _Listing([], [], [])
    try:
        for path in sorted(folder.iterdir()):
            if not path.name.startswith("."):
                kind = listing.folders if path.is_dir() else listing.images if _is_image(path.name) else listing.others
                kind.append(path)
    except OSError as error:
        raise DataError(f"cannot read {folder}: {error.strerror}") from error
    return listing


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_EXTENSIONS) and not name.startswith(".")


def _is_text_split(name: str) -> bool:
    extension = extension_of(Path(name))
    return extension is not None and any(name[: -len(extension)] in names for names in SPLIT_NAMES.values())


def _split_folders(root: Path) -> dict[str, Path]:
    """Each split's folder by title; where class folders lie in the root itself, that is `train`."""
    folders = _list(root).folders
    named = [folder for folder in folders if folder.name in _SPLITS]
    # A class may be called `train` too; then its folder holds images, and other class folders lie beside it.
    if not named or (len(named) < len(folders) and not any(_list(folder).folders for folder in named)):
        return {"train": root}
    found = {}
    for title, names in IMAGE_SPLIT_NAMES.items():
        candidates = [folder for folder in named if folder.name in names]
        if len(candidates) > 1:
            raise DataError(f"{candidates[0]} and {candidates[1]} could both be the {title} split; keep one")
        if candidates:
            found[title] = candidates[0]
    if "train" not in found:
        there = ", ".join(folder.name for folder in named)
        raise DataError(f"{root}: no train folder; found {there}; expected {_LAYOUT}")
    return found


def _read_split(folder: Path, label_names: Collection[str] | None, ignored: list[Path]) -> ImageSplit:
    """`FOLDER/LABEL/*`; what is no image goes to `ignored`."""
    here = _list(folder)
    if not here.folders:
        raise DataError(f"{folder}: no class folders; expected one folder of images per class: {_LAYOUT}")
    if here.images:
        raise DataError(f"{here.images[0]}: an image outside the class folders; expected {_LAYOUT}")
    ignored += here.others
    reader = LabelReader("classification", label_names)
    files: list[Path] = []
    labels: list[str] = []
    for path in here.folders:
        label = str(reader.read(path.name, "name", str(path)))
        there = _list(path)
        if there.folders:
            raise DataError(f"{there.folders[0]}: a folder inside the class folder {label!r}; expected {_LAYOUT}")
        if not there.images:
            raise DataError(f"{path}: a class folder without images ({', '.join(IMAGE_EXTENSIONS)}); fill or remove it")
        ignored += there.others
        files += there.images
        labels += [label] * len(there.images)
    return ImageSplit(tuple(files), tuple(labels))


def _check(splits: Mapping[str, ImageSplit | None], label_names: tuple[str, ...], progress: Progress) -> str:
    """Decodes every image and returns the fingerprint of all of them."""
    rows = [
        (title, label, file)
        for title, split in splits.items()
        if split is not None
        for label, file in zip(split.labels, split.files, strict=True)
    ]
    digest = hashlib.sha256(json.dumps(label_names).encode())
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow and hashlib work outside the interpreter's lock
        for start in range(0, len(rows), _CHECKED_TOGETHER):
            some = rows[start : start + _CHECKED_TOGETHER]
            for (title, label, file), content in zip(
                some, pool.map(_check_file, (row[2] for row in some)), strict=True
            ):
                digest.update(json.dumps([title, label, file.name, content]).encode())
            progress(start + len(some), len(rows))
    return digest.hexdigest()


def _check_file(file: Path) -> str:
    """sha256 (hex) of a file that can be decoded."""
    data = _bytes_of(file)
    with _opened(data, file) as image:
        image.draft("L", (1, 1))  # of a JPEG, every byte is read but an eighth of each side computed
        image.load()
    return hashlib.sha256(data).hexdigest()


def _bytes_of(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}") from error


@contextmanager
def _opened(data: bytes, file: Path) -> Iterator[Image]:
    """The image in `data`; whatever Pillow says of it while the block runs becomes an error that names `file`."""
    import PIL.Image

    try:
        with PIL.Image.open(io.BytesIO(data)) as image:
            if image.mode.startswith(("I", "F")):  # Pillow would clip such pixels to white
                raise DataError(
                    f"{file}: pixels of more than 8 bits (mode {image.mode}); convert it to 8 bits per channel"
                )
            yield image
    except PIL.UnidentifiedImageError:
        raise DataError(f"{file}: not an image that Pillow knows; replace or remove it") from None
    except (*_DAMAGED, PIL.Image.DecompressionBombError) as error:
        raise DataError(f"{file}: a damaged image: {error}; replace or remove it") from None


def _require_pillow() -> None:
    if find_spec("PIL") is None:
        raise MissingDependencyError('reading images needs Pillow: pip install "sharcs-edge[train]"')
