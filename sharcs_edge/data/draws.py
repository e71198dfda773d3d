"""Rows held out and drawn at random, of text and of images alike."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

from sharcs_edge.errors import DataError, UsageError


def check_draws(max_train_samples: int | None, dev_fraction: float) -> None:
    """Raises UsageError for a number of samples below 1 or a share that is not between 0 and 1."""
    if max_train_samples is not None and max_train_samples < 1:
        raise UsageError(f"max_train_samples is {max_train_samples}; expected 1 or more")
    if not 0.0 < dev_fraction < 1.0:
        raise UsageError(f"dev_fraction is {dev_fraction:g}; expected a share between 0 and 1")


def hold_out(labels: Sequence[str], fraction: float, seed: int, name: str, what: str) -> tuple[list[int], list[int]]:
    """(rows kept, rows for dev): `fraction` of every label's rows, rounded; each label keeps at least one row.

    Raises:
        DataError: no label has rows enough.
    """
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, label in enumerate(labels):
        rows_of[label].append(row)
    draw = random.Random(f"dev {seed}")
    held: set[int] = set()
    for label in sorted(rows_of):
        rows = rows_of[label]
        held.update(draw.sample(rows, min(round(len(rows) * fraction), len(rows) - 1)))
    if not held:
        raise DataError(
            f"{name}: {len(labels)} {what} are too few to hold out a dev split of {fraction:.0%}; give a folder with a "
            "train and a dev split"
        )
    return [row for row in range(len(labels)) if row not in held], sorted(held)


def draw_rows(count: int, of: int, seed: int) -> list[int]:
    """`count` of the training rows, in their order."""
    return sorted(random.Random(f"train {seed}").sample(range(of), count))
