"""Training on several processes, as `accelerate launch` and `torchrun` start them.

Every process plans the same steps, computes its share of each, and holds the same weights and the same history. The
main one alone evaluates, writes files and talks. Without a launcher there is one process, which is the main one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from accelerate import PartialState
from torch import distributed

from sharcs_edge.errors import OtherProcessFailed, UsageError

T = TypeVar("T")
_TIMEOUT = timedelta(hours=2)  # the others wait while the main process evaluates


def join() -> torch.device:
    """Meets the other processes, if a launcher started some; returns the device of this one.

    Raises:
        UsageError: this kind of device has no way to train on several.
    """
    # Without an accelerator, processes find each other only when told to use the CPU.
    state = PartialState(cpu=not torch.accelerator.is_available(), timeout=_TIMEOUT)
    device: torch.device = state.device
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started != count():
        raise UsageError(f"{started} processes were started, but on {device.type} only one can train; start one")
    return device


def leave() -> None:
    """Ends what `join` began."""
    PartialState().destroy_process_group()


def count() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if _are_several() else 1


def rank() -> int:
    """This process's number among them, from 0."""
    return distributed.get_rank() if _are_several() else 0


def is_main() -> bool:
    return rank() == 0


def gather(value: T) -> list[T]:
    """The value of every process, by rank; it must be picklable. Waits for all."""
    if not _are_several():
        return [value]
    values: list[Any] = [None] * count()
    distributed.all_gather_object(values, value)
    return values


def from_main(compute: Callable[[], T]) -> T:
    """What ``compute`` returns on the main process, given to all; the others wait.

    Raises:
        OtherProcessFailed: it failed there.
    """
    if not _are_several():
        return compute()
    sent: list[Any] = [None]
    with together():
        if is_main():
            sent = [compute()]
    distributed.broadcast_object_list(sent)
    result: T = sent[0]
    return result


@contextmanager
def together() -> Iterator[None]:
    """All processes leave the block at the same time, and if one of them fails, all do. Blocks do not nest.

    Raises:
        OtherProcessFailed: this one did not fail, or is not the first that did, whose error says it.
    """
    failure: Exception | None = None
    try:
        yield
    except Exception as error:
        failure = error
    failed = [number for number, fails in enumerate(gather(failure is not None)) if fails]
    if failed and failed[0] != rank():
        raise OtherProcessFailed(f"process {failed[0]} of this training failed") from failure
    if failure is not None:
        raise failure


def is_lost(error: Exception) -> bool:
    """Whether an exchange failed with this error because another process is gone."""
    return _are_several() and (isinstance(error, distributed.DistError) or "gloo" in str(error))


def _are_several() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
