"""Which samples go through which width in each step of an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

Assignment = tuple[int, int]  # (sample, width)
Step = list[Assignment]

_POOL_BATCHES = 50  # batches sorted by length together: little padding, still a random order


def length_grouped_batches(
    indices: NDArray[np.int64], lengths: NDArray[np.int64], batch_size: int, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Random batches of samples of similar length; every index appears exactly once."""
    shuffled = rng.permutation(indices)
    batches = []
    for start in range(0, len(shuffled), batch_size * _POOL_BATCHES):
        pool = shuffled[start : start + batch_size * _POOL_BATCHES]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def single_width_steps(
    assigned: NDArray[np.int64], widths: int, lengths: NDArray[np.int64], batch_size: int, rng: np.random.Generator
) -> list[Step]:
    """One batch of each width per step; smaller buckets are repeated to the largest one's size, empty ones skipped.

    ``assigned``: (samples,) width of every sample.
    """
    buckets = [np.flatnonzero(assigned == width) for width in range(widths)]
    largest = max(len(bucket) for bucket in buckets)
    per_width = []
    for width, bucket in enumerate(buckets):
        if len(bucket) == 0:
            continue
        repeated = np.concatenate([rng.permutation(bucket) for _ in range(-(-largest // len(bucket)))])[:largest]
        batches = length_grouped_batches(repeated, lengths, batch_size, rng)
        per_width.append([[(int(sample), width) for sample in batch] for batch in batches])
    return [[pair for batch in step for pair in batch] for step in zip(*per_width, strict=True)]


class EpochPlanner(Protocol):
    """Plans the steps of an epoch; a recipe is one."""

    def plan_epoch(self, epoch: int) -> list[Step]: ...


class WidthBatchSampler(Sampler[Step]):
    """Yields the planned steps. ``begin_epoch`` must be called before each pass."""

    def __init__(self, planner: EpochPlanner, planned_steps: int, batch_size: int) -> None:
        self.planner = planner
        self.planned_steps = planned_steps
        self.batch_size = batch_size  # read by accelerate
        self.drop_last = False
        self.steps: Sequence[Step] = ()

    def begin_epoch(self, epoch: int) -> None:
        self.steps = self.planner.plan_epoch(epoch)

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps) or self.planned_steps
