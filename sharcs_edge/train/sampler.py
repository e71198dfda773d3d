"""Which samples go through which width in each step of an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

Indices = NDArray[np.int64]
Assignment = tuple[int, int]  # (sample, width)
# One batch per width, as (width, samples), all equally large. Arrays: tuples of Python numbers would take 1 GB for
# 10 million samples.
Step = list[tuple[int, Indices]]

_POOL_BATCHES = 50  # batches sorted by length together: little padding, still a random order


def length_grouped_batches(
    indices: Indices, lengths: Indices, batch_size: int, rng: np.random.Generator
) -> list[Indices]:
    """Random batches of samples of similar length; every index appears exactly once."""
    batches = _pooled_batches(indices, lengths, batch_size, rng)
    return [batches[i] for i in rng.permutation(len(batches))]


def _pooled_batches(indices: Indices, lengths: Indices, batch_size: int, rng: np.random.Generator) -> list[Indices]:
    """The batches pool by pool, those of a pool by length."""
    shuffled = rng.permutation(indices)
    batches = []
    for start in range(0, len(shuffled), batch_size * _POOL_BATCHES):
        pool = shuffled[start : start + batch_size * _POOL_BATCHES]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
    return batches


def single_width_steps(
    assigned: NDArray[np.integer], widths: int, lengths: Indices, batch_size: int, rng: np.random.Generator
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
        per_width.append([(width, batch) for batch in _pooled_batches(repeated, lengths, batch_size, rng)])
    # One order for all widths: their smaller last batches come in the same step.
    steps = list(zip(*per_width, strict=True))
    return [list(steps[i]) for i in rng.permutation(len(steps))]


def share(step: Step, rank: int, processes: int) -> tuple[list[Assignment], float]:
    """What one of several processes computes of a step, and the weight of its mean loss.

    Losses times weights, averaged over the processes, are the mean loss of the whole step. A process for which no
    sample is left repeats the first one, with a weight of 0.
    """
    size = len(step[0][1])
    own = len(range(rank, size, processes))
    mine = slice(rank, None, processes) if own else slice(1)
    assignments = [(int(sample), width) for width, samples in step for sample in samples[mine]]
    return assignments, own * processes / size


class EpochPlanner(Protocol):
    """Plans the steps of an epoch; a recipe is one."""

    def plan_epoch(self, epoch: int) -> list[Step]: ...


class WidthBatchSampler(Sampler[list[Assignment]]):
    """Yields this process's share of the planned steps. ``begin_epoch`` must be called before each pass."""

    def __init__(self, planner: EpochPlanner, planned_steps: int, rank: int = 0, processes: int = 1) -> None:
        self.planner = planner
        self.planned_steps = planned_steps
        self.rank = rank
        self.processes = processes
        self.steps: Sequence[Step] = ()

    def begin_epoch(self, epoch: int) -> None:
        self.steps = self.planner.plan_epoch(epoch)

    def weight(self, index: int) -> float:
        """Of this process's mean loss of a step."""
        return share(self.steps[index], self.rank, self.processes)[1]

    def __iter__(self) -> Iterator[list[Assignment]]:
        return (share(step, self.rank, self.processes)[0] for step in self.steps)

    def __len__(self) -> int:
        return len(self.steps) or self.planned_steps
