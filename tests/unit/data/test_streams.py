"""Data that can be read only once is refused, with the reason."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sharcs_edge.config import SharcsConfig
from sharcs_edge.data import load_data
from sharcs_edge.data.streams import refuse_stream
from sharcs_edge.errors import UsageError
from sharcs_edge.train.options import TrainOptions

REASON = r"cannot train on .*read once.*many times.*hardness.*write the rows to a file first"


def _hub_stream(wrapped: bool) -> Any:
    datasets = pytest.importorskip("datasets")
    stream = datasets.Dataset.from_dict({"text": ["a"], "label": ["b"]}).to_iterable_dataset()
    return datasets.IterableDatasetDict({"train": stream}) if wrapped else stream


STREAMS: dict[str, Callable[[], Any]] = {
    "standard input": lambda: "-",
    "generator": lambda: (row for row in [{"text": "a"}]),
    "iterator": lambda: iter([{"text": "a"}]),
    "datasets.IterableDataset": lambda: _hub_stream(False),
    "datasets.IterableDatasetDict": lambda: _hub_stream(True),
}


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS.keys())
def test_streams_are_refused_wherever_data_is_given(stream: Callable[[], Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=REASON):
        load_data(stream())
    if stream() == "-":
        return
    run = pytest.importorskip("sharcs_edge.train.run")
    with pytest.raises(UsageError, match=REASON):
        run.TrainRequest("demo", stream(), "mine", SharcsConfig(), TrainOptions(), tmp_path / "bundle")


def test_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path: Path) -> None:
    pipe = tmp_path / "rows.jsonl"
    os.mkfifo(pipe)
    with pytest.raises(UsageError, match=REASON):
        load_data(pipe)


def test_what_is_not_a_stream_passes(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("")
    for source in (file, str(tmp_path), "demo", "no/such-place", "x" * 5000, [1, 2], {"train": [1]}, None):
        refuse_stream(source)
