"""What reading labelled text yields: examples, splits, and a data set with its label names and fingerprint."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from sharcs_edge.errors import DataError, UsageError

if TYPE_CHECKING:
    from sharcs_edge_runtime.manifest import TaskName
    from sharcs_edge_runtime.tasks import Label

DEFAULT_PAIR_COLUMN = "text_pair"


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns to read.

    Attributes:
        text: the text, or the first text of a pair.
        pair: the second text; None reads `text_pair` where the data has it.
        label: the label; None reads no labels.
    """

    text: str = "text"
    pair: str | None = None
    label: str | None = "label"

    def __post_init__(self) -> None:
        names = self.wanted
        if len(set(names)) < len(names):
            raise UsageError(f"the columns {', '.join(map(repr, names))} must be different ones")

    @property
    def wanted(self) -> tuple[str, ...]:
        """Every column that may be read."""
        names = (self.text, self.pair or DEFAULT_PAIR_COLUMN, self.label)
        return tuple(name for name in names if name is not None)

    def require(self, available: Collection[str], where: str) -> None:
        """Raises DataError naming `where`, the columns found and the option, unless all needed ones are available."""
        needed = (("--text-column", self.text), ("--pair-column", self.pair), ("--label-column", self.label))
        for option, name in needed:
            if name is not None and name not in available:
                found = ", ".join(map(repr, available)) or "none"
                cure = f"name yours with {option}"
                columns = re.split(r"[;,|\t]", next(iter(available))) if len(available) == 1 else []
                if len(columns) > 1:
                    cure = f"if that is {len(columns)} columns, separate them by commas (.csv) or tabs (.tsv)"
                raise DataError(f"{where}: no column {name!r}; found {found}; {cure}")


@dataclass(frozen=True, slots=True)
class Example:
    """One row: a text or a pair of texts, and its label unless labels were not read."""

    text: str
    text_pair: str | None = None
    label: Label | None = None

    @property
    def inputs(self) -> str | tuple[str, str]:
        """What `Session.predict` takes: the text, or (text, pair)."""
        return self.text if self.text_pair is None else (self.text, self.text_pair)


@dataclass(frozen=True, slots=True)
class Split:
    """Labelled rows by column; the columns are equally long and `pairs` is None for single texts."""

    texts: tuple[str, ...]
    pairs: tuple[str, ...] | None
    labels: tuple[Label, ...]

    @classmethod
    def of(cls, examples: Iterable[Example]) -> Split:
        """Gather labelled examples that all have a pair, or all have none."""
        texts: list[str] = []
        pairs: list[str] = []
        labels: list[Label] = []
        for example in examples:
            texts.append(example.text)
            if example.text_pair is not None:
                pairs.append(example.text_pair)
            if example.label is not None:
                labels.append(example.label)
        if len(labels) != len(texts) or len(pairs) not in (0, len(texts)):
            raise ValueError("a split holds labelled examples, all with a pair or all without")
        return cls(tuple(texts), tuple(pairs) if pairs else None, tuple(labels))

    def __len__(self) -> int:
        return len(self.texts)

    def __iter__(self) -> Iterator[Example]:
        pairs = self.pairs or (None,) * len(self)
        return map(Example, self.texts, pairs, self.labels)

    def take(self, indices: Iterable[int]) -> Split:
        """The rows at `indices`, in that order."""
        rows = list(indices)
        return Split(
            texts=tuple(self.texts[row] for row in rows),
            pairs=None if self.pairs is None else tuple(self.pairs[row] for row in rows),
            labels=tuple(self.labels[row] for row in rows),
        )


@dataclass(frozen=True)
class TextDataset:
    """Everything that training reads.

    Attributes:
        train, dev, test: the rows; `test` is None where the source has none.
        label_names: what each of the model's logits is about: all labels of the whole train split, in order; for
            regression the one column of values.
        notes: what was done to the rows on the way (a dev split held out, samples drawn), one sentence each.
        task: what the labels are: a class each, a tuple of labels each, or a number each.
    """

    train: Split
    dev: Split
    test: Split | None
    label_names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    task: TaskName = "classification"

    @property
    def text_inputs(self) -> int:
        """Texts per row: 1, or 2 for pairs."""
        return 1 if self.train.pairs is None else 2

    @property
    def task_summary(self) -> str:
        """The task and its labels in a few words."""
        labels = self.train.labels
        if self.task == "regression":
            values = [label for label in labels if isinstance(label, float)]
            return f"regression, numbers from {min(values):g} to {max(values):g}"
        if self.task == "multi_label":
            mean = sum(len(label) for label in labels if isinstance(label, tuple)) / len(labels)
            return f"multi-label, {len(self.label_names):,} labels, {mean:.2g} per text on average"
        return f"classification, {len(self.label_names):,} labels"

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) over every text and label in order; equal content gives equal fingerprints on any machine."""
        digest = hashlib.sha256()
        if self.task != "classification":
            _update(digest, self.task)
        for name in self.label_names:
            _update(digest, name)
        for title, split in (("train", self.train), ("dev", self.dev), ("test", self.test)):
            for example in split or ():
                for value in (title, example.text, example.text_pair, *_label_parts(example.label)):
                    _update(digest, value)
        return digest.hexdigest()


def _label_parts(label: Label | None) -> tuple[str | None, ...]:
    if isinstance(label, tuple):
        return str(len(label)), *label
    return (label if label is None or isinstance(label, str) else repr(label),)


def _update(digest: hashlib._Hash, value: str | None) -> None:
    """Feed one value with its length first, so that no two different sequences of values give the same bytes."""
    data = b"" if value is None else value.encode("utf-8")
    digest.update((-1 if value is None else len(data)).to_bytes(8, "little", signed=True))
    digest.update(data)


def sort_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """The distinct labels, integers first and by value ("2" before "10"), then the rest by code point."""
    return tuple(sorted(set(labels), key=_label_order))


def _label_order(label: str) -> tuple[int, int, str]:
    digits = label.removeprefix("-")
    if digits.isascii() and digits.isdigit() and len(digits) <= 18:
        return 0, int(label), label
    return 1, 0, label
