"""How long a tail will take, for deadlines (SPEC.md, section 12.3)."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from time import perf_counter
from typing import TYPE_CHECKING, Final

from sharcs_edge_runtime.fingerprint import read_device
from sharcs_edge_runtime.golden import Golden
from sharcs_edge_runtime.latency import LatencyTable
from sharcs_edge_runtime.manifest import Macs

if TYPE_CHECKING:
    from sharcs_edge_runtime.session import Session
    from sharcs_edge_runtime.tokenization import TokenBatch

_TIMINGS: Final = 3

# RFC 6298, "Computing TCP's Retransmission Timer": smoothed mean + 4 x smoothed deviation, gains 1/8 and 1/4.
_MEAN_GAIN: Final = 1 / 8
_DEVIATION_GAIN: Final = 1 / 4
_DEVIATIONS: Final = 4.0
_FIRST_DEVIATION: Final = 1 / 8


class Forecast:
    """How long a tail will take: its time on the quiet machine times how slow the machine is by now. Not thread-safe.

    The slowness is a mean plus four mean deviations of (measured time / expected time), over the inputs so far.
    """

    def __init__(self, lengths: Sequence[int], times: Sequence[Sequence[float]], macs: Sequence[Macs]) -> None:
        """`times`: ms of the trunk and of each tail, for each of the ascending `lengths`; `macs`: of these graphs."""
        self._lengths = list(lengths)
        self._times = [list(column) for column in times]
        self._macs = list(macs)
        self._mean = 1.0
        self._deviation = _FIRST_DEVIATION

    @property
    def slowness(self) -> float:
        """What the expected time is multiplied by."""
        return self._mean + _DEVIATIONS * self._deviation

    def tail_ms(self, index: int, tokens: int) -> float:
        """Milliseconds that the tail of width `index` will hardly exceed."""
        return self.slowness * self._expected(index + 1, tokens)

    def learn(self, ran: Sequence[int], tokens: int, milliseconds: float) -> None:
        """Enter what the trunk and the tails `ran` took together for an input."""
        expected = math.fsum([self._expected(0, tokens), *(self._expected(index + 1, tokens) for index in ran)])
        # A pause says little about the next input; a machine that stays slow passes this limit within a few.
        ratio = min(milliseconds / expected, 2.0 * self.slowness)
        self._deviation += _DEVIATION_GAIN * (abs(ratio - self._mean) - self._deviation)
        self._mean += _MEAN_GAIN * (ratio - self._mean)

    def _expected(self, graph: int, tokens: int) -> float:
        """Interpolated between lengths; below them all the time of the shortest, above in proportion to the MACs."""
        lengths, times = self._lengths, self._times[graph]
        place = bisect_left(lengths, tokens)
        if place == 0:
            return times[0]
        if place == len(lengths):
            macs = self._macs[graph]
            known = macs.count(lengths[-1])
            return times[-1] * (macs.count(tokens) / known if known else tokens / lengths[-1])
        share = (tokens - lengths[place - 1]) / (lengths[place] - lengths[place - 1])
        return times[place - 1] + share * (times[place] - times[place - 1])


class LatencySource:
    """What a session knows, or can find out, about its own times. Reads and measures only when asked."""

    def __init__(self, session: Session) -> None:
        """`session`: with its graphs ready to run by the time that a forecast is asked for."""
        self._session = session
        self._read = False
        self._table: LatencyTable | None = None

    def watts(self) -> float | None:
        """What this device draws while it computes, if `latency.json` says it."""
        table = self._saved()
        return None if table is None or table.watts is None else table.watts.value

    def forecast(self) -> Forecast:
        """From `latency.json`; from a few runs on golden inputs if that is missing, of another device or of other
        `threads`."""
        manifest = self._session.manifest
        table = self._saved()
        macs = [manifest.trunk.macs, *(manifest.tail(width).macs for width in manifest.widths)]
        if table is not None and table.threads == self._session.threads:
            return Forecast(table.lengths, [graph.mean_ms for graph in table.graphs], macs)
        lengths, times = time_graphs(self._session)
        return Forecast(lengths, times, macs)

    def _saved(self) -> LatencyTable | None:
        if not self._read:
            table = LatencyTable.load(self._session.artifact)
            self._table = table if table is not None and table.measured_on(read_device()) else None
            self._read = True
        return self._table


def time_graphs(session: Session) -> tuple[list[int], list[list[float]]]:
    """Lengths of the shortest and the longest golden input, and the ms of the trunk and of each tail for them.

    The median of three runs after one that does not count.
    """
    golden = Golden.load(session.artifact.golden_file, session.manifest)
    sizes = golden.tokens.attention_mask.sum(axis=1)
    rows = {int(sizes[row]): int(row) for row in (sizes.argmin(), sizes.argmax())}
    times: list[list[float]] = [[] for _ in range(len(session.widths) + 1)]
    for row in rows.values():
        tokens = golden.row(row)
        for column, samples in zip(times, _time_row(session, tokens), strict=True):
            column.append(statistics.median(samples))
    return list(rows), times


def _time_row(session: Session, tokens: TokenBatch) -> list[list[float]]:
    samples: list[list[float]] = [[] for _ in range(len(session.widths) + 1)]
    for turn in range(_TIMINGS + 1):
        start = perf_counter()
        hidden, _ = session.run_trunk(tokens)
        ends = [perf_counter()]
        for width in session.widths:
            session.run_tail(width, hidden, tokens.attention_mask)
            ends.append(perf_counter())
        if turn:
            for column, (begin, end) in zip(samples, pairwise([start, *ends]), strict=True):
                column.append((end - begin) * 1000)
    return samples
