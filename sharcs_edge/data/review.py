"""What a person should look at before trusting a training on these rows; nothing is repaired here."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Final

from sharcs_edge.data.labels import LABEL_SEPARATOR
from sharcs_edge.data.records import Split, TextDataset

_SEPARATORS: Final = (LABEL_SEPARATOR, ",", ";")
_FEW_ROWS_OF_A_LABEL: Final = 5
_FEW_DEV_ROWS: Final = 100
_MOSTLY: Final = 0.75


def doubts(data: TextDataset) -> Iterator[str]:
    """One sentence per doubt: labels that look alike, like lists, or hardly occur; one that is nearly always right; few
    dev rows; rows that stand in two splits, or with different labels."""
    if data.task == "classification":
        yield from _doubts_on_names(data)
    if data.task != "regression":
        yield from _doubts_on_counts(data)
    if len(data.dev) < _FEW_DEV_ROWS:
        yield (
            f"dev has {len(data.dev):,} rows, each of them {100 / len(data.dev):.2g} points of a score: too few to "
            "compare widths or epochs by"
        )
    yield from _doubts_on_rows(data)


def _doubts_on_names(data: TextDataset) -> Iterator[str]:
    names = data.label_names
    for separator in _SEPARATORS:
        parts = {part.strip() for name in names for part in name.split(separator)}
        if len(parts) < len(names) and any(separator in name for name in names):
            rewrite = "" if separator == LABEL_SEPARATOR else f"write {LABEL_SEPARATOR!r} between them and "
            yield (
                f"the {len(names):,} labels are made of {len(parts):,} with {separator!r} between them: if a text may "
                f"have several, {rewrite}give --task multi-label"
            )
    alike: dict[str, list[str]] = defaultdict(list)
    for name in names:
        alike[" ".join(name.split()).casefold()].append(name)
    for group in alike.values():
        if len(group) > 1:
            shown = " and ".join(map(repr, group))
            yield f"the labels {shown} differ in case or spaces alone, and are classes of their own"


def _doubts_on_counts(data: TextDataset) -> Iterator[str]:
    counts = Counter(dict.fromkeys(data.label_names, 0))
    for label in data.train.labels:
        counts.update(label if isinstance(label, tuple) else (str(label),))
    rare = [name for name, count in counts.items() if count < _FEW_ROWS_OF_A_LABEL]
    if rare:
        fewest = min(rare, key=lambda name: counts[name])
        yield (
            f"labels with fewer than {_FEW_ROWS_OF_A_LABEL} training rows: {len(rare):,} of {len(counts):,} "
            f"({fewest!r} has {counts[fewest]}); they are hardly learned"
        )
    if data.task == "classification":
        usual, _ = counts.most_common(1)[0]
        share = data.dev.labels.count(usual) / len(data.dev)
        if share >= _MOSTLY:
            yield f"{share:.1%} of the dev rows are {usual!r}: compare every accuracy with that"


def _doubts_on_rows(data: TextDataset) -> Iterator[str]:
    labels = defaultdict(set)
    for row in data.train:
        labels[row.inputs].add(row.label)
    torn = sum(len(found) > 1 for found in labels.values())
    if torn:
        yield f"{torn:,} texts of train stand there with different labels"
    splits: tuple[tuple[str, Split | None], ...] = (("dev", data.dev), ("test", data.test))
    for title, split in splits:
        seen = sum(row.inputs in labels for row in split or ())
        if split is not None and seen:
            yield f"{seen:,} of {len(split):,} {title} rows are in train, too: scores on {title} flatter the model"
