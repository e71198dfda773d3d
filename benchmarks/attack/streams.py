"""What streams of inputs cost through sessions, with and without a budget."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import fmean

from sharcs_edge_runtime.budget import Budget
from sharcs_edge_runtime.session import Prediction, Session
from sharcs_edge_runtime.tasks import Label
from sharcs_edge_runtime.tokenization import Text

_FULL_EVERY = 4  # one input in so many also runs at full width, for the comparison of times


@dataclass(frozen=True)
class Row:
    """One stream under one budget.

    `target_ms`: of the budget, None without one. `compute`: multiply-accumulates, of the full width's on the same
    inputs. `mean_ms`, `full_ms`: wall time. `at_full`: share of the inputs that the widest width answered. `agreement`:
    with the full width. `right`: share of the answers that are the true ones. `held`: share of the inputs after which
    the runtime said that the budget holds; 1 without one.
    """

    stream: str
    target_ms: float | None
    inputs: int
    compute: float
    mean_ms: float
    full_ms: float
    at_full: float
    agreement: float
    right: float
    held: float


class Stream:
    """Texts over and over, in new orders, through a session of their own."""

    def __init__(self, artifact: Path, name: str, texts: Sequence[Text], labels: Sequence[Label]) -> None:
        self.name = name
        self.session = Session.load(artifact, verify_hashes=False)
        self._texts = texts
        self._labels = labels
        self._widest = Budget(width=self.session.widths[-1])
        self._full = [self.session.predict(text, budget=self._widest) for text in texts]
        self._rng = random.Random(0)
        self._order: list[int] = []
        self._places: list[int] = []
        self._answers: dict[Budget, list[Prediction]] = {}
        self._full_ms: list[float] = []

    def step(self, budgets: Sequence[Budget]) -> None:
        """The next input, once under each budget, now and then at full width too."""
        if not self._order:
            self._order = self._rng.sample(range(len(self._texts)), len(self._texts))
        place = self._order.pop()
        for budget in budgets:
            answer = self.session.predict(self._texts[place], budget=budget)
            self._answers.setdefault(budget, []).append(answer)
        if len(self._places) % _FULL_EVERY == 0:
            self._full_ms.append(self.session.predict(self._texts[place], budget=self._widest).milliseconds)
        self._places.append(place)

    def row(self, budget: Budget) -> Row:
        """What its inputs were like under one of the budgets."""
        answers, full = self._answers[budget], [self._full[place] for place in self._places]
        labels = [self._labels[place] for place in self._places]
        spent, whole = (sum(self._macs(answer) for answer in way) for way in (answers, full))
        return Row(
            stream=self.name,
            target_ms=budget.mean_ms,
            inputs=len(answers),
            compute=spent / whole,
            mean_ms=fmean(answer.milliseconds for answer in answers),
            full_ms=fmean(self._full_ms),
            at_full=fmean(answer.width == self.session.widths[-1] for answer in answers),
            agreement=fmean(_label(a) == _label(b) for a, b in zip(answers, full, strict=True)),
            right=fmean(_label(answer) == label for answer, label in zip(answers, labels, strict=True)),
            held=fmean(answer.budget_met is not False for answer in answers),
        )

    def _macs(self, prediction: Prediction) -> int:
        manifest = self.session.manifest
        graphs = [manifest.trunk, *map(manifest.tail, prediction.ran)]
        return sum(graph.macs.count(prediction.tokens) for graph in graphs)


def usual_ms(stream: Stream, texts: Sequence[Text], count: int) -> float:
    """Mean time of a stream's first texts without a budget, after a warm-up."""
    times = [stream.session.predict(text).milliseconds for text in islice(texts, count)]
    return fmean(times[len(times) // 4 :])


def run_streams(streams: Sequence[Stream], count: int, target_ms: float) -> list[Row]:
    """All streams side by side, so that a machine that slows down does so for all of them; first the rows without a
    budget, then those with one."""
    free, held = Budget(), Budget(mean_ms=target_ms)
    for number in range(count):
        for turn in range(len(streams)):
            ways = (free, held) if (number + turn) % 2 else (held, free)
            streams[(number + turn) % len(streams)].step(ways)
    return [stream.row(budget) for budget in (free, held) for stream in streams]


def as_markdown(rows: Sequence[Row], clean: Row) -> str:
    """One line per row; `clean`: what the savings are compared with."""
    lines = [
        "| inputs | budget | mean ms | off target | of full ms | compute of full | saving lost | at full width "
        "| as full width | right |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        budget, off = "none", ""
        if row.target_ms is not None:
            budget, off = f"mean {row.target_ms:.3g} ms", f"{row.mean_ms / row.target_ms - 1:+.1%}"
            off += "" if row.held == 1 else f" (out of reach for {1 - row.held:.0%})"
        lost = (row.compute - clean.compute) / (1 - clean.compute) if clean.compute < 1 else 0.0
        lines.append(
            f"| {row.stream} | {budget} | {row.mean_ms:.2f} | {off} | {row.mean_ms / row.full_ms:.0%} "
            f"| {row.compute:.1%} | {lost:.0%} | {row.at_full:.0%} | {row.agreement:.1%} | {row.right:.1%} |"
        )
    return "\n".join(lines)


def _label(prediction: Prediction) -> object:
    return prediction.labels if prediction.labels is not None else prediction.label
