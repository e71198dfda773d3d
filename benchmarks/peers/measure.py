"""Engines take turns: a block of texts each, so that all meet the same machine; one process works at a time."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import eq
from statistics import fmean, median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.case import Case, texts_of_length
from benchmarks.peers.contenders import CONTENDERS, REFERENCE, Contender
from benchmarks.peers.processes import Answered, EngineError, Worker
from benchmarks.peers.workers.tokens import Encoder
from sharcs_edge_runtime.tokenization import Text

_BLOCK = 50
_WARM_UP = 2  # texts at the head of a block that are not counted: the caches hold another engine's weights
_PAUSE = 0.02  # seconds for the last engine's threads to fall asleep
REAL, HARD = "texts", "texts that end at full width"


@dataclass(frozen=True)
class Settings:
    """``rounds``: over all texts, after one that does not count; ``starts``: fresh processes, likewise."""

    threads: int
    rounds: int
    starts: int
    lengths: tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """One way of one contender on one kind of input: the data's texts, or texts of a fixed number of tokens.

    Times in ms per text: of each text the median over rounds (of a fixed length the smallest), of those mean and 95th
    percentile; ``cpu_ms``: the mean of processor time, of which other programs take nothing. Shares of texts:
    ``accuracy``, and ``agreement``, the same label as torch's of the same model. Memory in MB of 2^20 bytes:
    ``model_mb`` of private pages is what came after the libraries' import. None: not known, or not of this row.
    ``note``: why there is no more.
    """

    data: str
    engine: str
    title: str
    way: str
    threads: int
    inputs: str
    texts: int = 0
    mean_ms: float | None = None
    p95_ms: float | None = None
    cpu_ms: float | None = None
    accuracy: float | None = None
    agreement: float | None = None
    flash_mb: float | None = None
    private_mb: float | None = None
    model_mb: float | None = None
    import_ms: float | None = None
    load_ms: float | None = None
    first_ms: float | None = None
    versions: str = ""
    note: str = ""

    @property
    def start_ms(self) -> float | None:
        """From the first import to the first answer."""
        parts = (self.import_ms, self.load_ms, self.first_ms)
        return None if None in parts else sum(part for part in parts if part is not None)


Prepared = Mapping[str, Contender | EngineError]
Samples = dict[tuple[str, str], list[Answered]]
"""Of each contender and way: all texts, round by round."""


def measure(case: Case, prepared: Prepared, settings: Settings) -> list[Row]:
    """All rows of one number of threads, in the contenders' order; of what failed, a row that says why."""
    race = _Race(case, prepared, settings)
    try:
        race.start()
        samples = {REAL: race.run(case.texts, settings.rounds)}
        ended_wide = race.ended_wide()
        memory = {name: worker.private_mb for name, worker in race.workers.items()}
        count = Encoder(case.source)
        for tokens in settings.lengths:
            texts = texts_of_length(lambda text: count(text)["input_ids"].shape[1], case.texts, tokens)
            samples[f"{tokens} tokens"] = race.run(texts, settings.rounds * 3)
    finally:
        for worker in race.workers.values():
            worker.close()
    return _rows(race, samples, memory, ended_wide)


class _Race:
    """The contenders that run, and why the others do not."""

    def __init__(self, case: Case, prepared: Prepared, settings: Settings) -> None:
        self.case, self.settings = case, settings
        self.contenders = {name: one for name, one in prepared.items() if isinstance(one, Contender)}
        self.failed = {name: str(one) for name, one in prepared.items() if isinstance(one, EngineError)}
        self.workers: dict[str, Worker] = {}
        self.starts: dict[str, list[dict[str, float]]] = {}

    def start(self) -> None:
        """Fresh processes, one after the other; the last one of each contender stays."""
        for name, one in self.contenders.items():
            for turn in range(self.settings.starts + 1):
                if name in self.workers:
                    self.workers.pop(name).close()
                try:
                    first = self.case.texts[0]
                    worker = Worker(one.python, one.module, self.case.source, one.folder, self.settings.threads, first)
                except EngineError as error:
                    self.failed[name] = str(error)
                    break
                self.workers[name] = worker
                if turn:
                    self.starts.setdefault(name, []).append(worker.start)

    def run(self, texts: Sequence[Text], rounds: int) -> Samples:
        """Every way over all texts, once to warm up and then `rounds` times."""
        samples: Samples = {}
        for turn in range(rounds + 1):
            for first in range(0, len(texts), _BLOCK):
                block = texts[first : first + _BLOCK]
                for name in _rotated(list(self.workers), turn + first // _BLOCK):
                    for way in self.contenders[name].ways:
                        turns = samples.setdefault((name, way), [Answered([], [], []) for _ in range(rounds + 1)])
                        turns[turn].extend(self._turn(name, way, block))
            if sys.stderr.isatty():
                print(f"\r{len(texts)} texts: round {turn} of {rounds} ", end="", file=sys.stderr)
        return {key: turns[1:] for key, turns in samples.items() if key[0] in self.workers}

    def _turn(self, name: str, way: str, block: Sequence[Text]) -> Answered:
        if name not in self.workers:
            return Answered([], [], [])
        time.sleep(_PAUSE)
        try:
            answered = self.workers[name].run(way, [*block[:_WARM_UP], *block])
        except EngineError as error:
            self.failed[name] = str(error)
            self.workers.pop(name).close()
            return Answered([], [], [])
        return answered.last(len(block))

    def ended_wide(self) -> dict[str, list[bool]]:
        """Of each contender that routes: which of the data's texts the full width answered."""
        return {
            name: [bool(wide) for wide in worker.run("is full", self.case.texts).answers]
            for name, worker in self.workers.items()
            if "routed" in self.contenders[name].ways
        }


def _rotated(names: list[str], by: int) -> list[str]:
    """Another one first each time, so that none always follows the same."""
    place = by % max(1, len(names))
    return names[place:] + names[:place]


def _rows(
    race: _Race,
    samples: Mapping[str, Samples],
    memory: Mapping[str, float | None],
    ended_wide: Mapping[str, list[bool]],
) -> list[Row]:
    rows = []
    for name in [*race.contenders, *(name for name in race.failed if name not in race.contenders)]:
        title = CONTENDERS[name].title
        base = Row(race.case.name, name, title, "full", race.settings.threads, REAL)
        if name in race.failed:
            rows.append(replace(base, note=race.failed[name]))
            continue
        base = _with_footprint(base, race.contenders[name], race.starts[name], memory[name])
        for way in race.contenders[name].ways:
            base = replace(base, way=way)
            rows += _timed(base, race, samples)
            if way == "routed":
                rows += _hard(base, samples[REAL], ended_wide[name])
            base = _without_footprint(base)
    return rows


def _timed(base: Row, race: _Race, samples: Mapping[str, Samples]) -> list[Row]:
    """A way on the data's texts, with its labels, and on texts of fixed lengths."""
    rows = []
    for inputs, found in samples.items():
        rounds = found[base.engine, base.way]
        row = _with_times(replace(base, inputs=inputs), rounds)
        if inputs == REAL:
            answers = rounds[0].answers
            row = replace(row, accuracy=fmean(map(eq, answers, race.case.answers)))
            reference = found.get((REFERENCE, "full"))
            if race.contenders[base.engine].same_model and reference is not None:
                row = replace(row, agreement=fmean(map(eq, answers, reference[0].answers)))
        rows.append(row if inputs == REAL else _without_footprint(row))
    return rows


def _hard(base: Row, samples: Samples, wide: Sequence[bool]) -> list[Row]:
    """The texts that ended at full width: as routed, and given the full width at once."""
    if not any(wide):
        return []
    rows = []
    for way in ("routed", "full"):
        row = replace(_without_footprint(base), way=way, inputs=HARD)
        rows.append(_with_times(row, samples[base.engine, way], np.array(wide)))
    return rows


def _with_times(row: Row, rounds: Sequence[Answered], chosen: NDArray[np.bool_] | None = None) -> Row:
    """Of all texts, or the `chosen` ones. Texts of one length say what the engine takes, so their best round counts."""
    of_rounds = np.median if row.inputs in (REAL, HARD) else np.min
    ms, cpu_ms = (of_rounds(part, axis=0) for part in ([one.ms for one in rounds], [one.cpu_ms for one in rounds]))
    if chosen is not None:
        ms, cpu_ms = ms[chosen], cpu_ms[chosen]
    p95 = float(np.percentile(ms, 95))
    return replace(row, texts=len(ms), mean_ms=float(ms.mean()), p95_ms=p95, cpu_ms=float(cpu_ms.mean()))


def _with_footprint(
    row: Row, contender: Contender, starts: Sequence[Mapping[str, Any]], private_mb: float | None
) -> Row:
    libraries = starts[-1]["libraries_mb"]
    return replace(
        row,
        flash_mb=contender.flash_mb,
        private_mb=private_mb,
        model_mb=None if private_mb is None or libraries is None else private_mb - libraries,
        **{part: median(start[part] for start in starts) for part in ("import_ms", "load_ms", "first_ms")},
        versions=", ".join(f"{package} {version}" for package, version in starts[-1]["versions"].items()),
    )


def _without_footprint(row: Row) -> Row:
    """For all but the first row of a contender."""
    return replace(
        row, flash_mb=None, private_mb=None, model_mb=None, import_ms=None, load_ms=None, first_ms=None, versions=""
    )
