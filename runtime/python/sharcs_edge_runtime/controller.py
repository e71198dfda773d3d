"""Holds the mean time per input: measured milliseconds in, a place on the front of operating points out.

SPEC.md, section 12, fixes the arithmetic, so that every runtime decides alike. Pure: no clock, no randomness.

The idea is dual ascent. The debt counts by how much the inputs so far took longer than the target, in units of the
target: the mean over n inputs is off by the change of (debt + arrears) / n, unless something was forgotten. The allowed
cost falls linearly with the debt, so the debt settles where the cost meets the target, within `DEBT_LIMIT` of 0.

A pause (another process had the processor, memory was swapped) says little about the next inputs. What it exceeds the
target by waits in the arrears, which are added to the debt as fast as pauses usually come: a single long one moves no
share visibly, and regular ones count in full.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

SPAN: Final = 12.0
"""At this debt the cheapest point runs, at its negative the dearest. In targets, as the next three."""
DEBT_LIMIT: Final = 16.0
"""More debt is forgotten, since no operating point could have saved it: the controller does not wind up."""
PAUSE: Final = 3.0
"""What an input exceeds the target by counts up to here at once; the rest is a pause."""
LONGEST_PAUSE: Final = 100.0
"""Of one pause, at most this is made up for: nobody is owed the hour that a machine slept."""
RARE: Final = 1000.0
"""Inputs between pauses, at first and at most."""


@dataclass(slots=True)
class Controller:
    """The account of one budget.

    Attributes:
        debt: in targets; above 0, inputs took too long.
        arrears: of pauses, in targets, to be added to the debt.
        usual: size of a pause, in targets: a moving average in which none counts as more than three times the usual.
        gap: inputs between pauses: a moving average.
        since: inputs since the last pause.
        carry: of the error diffusion between two points, 0 to 1.
    """

    debt: float = 0.0
    arrears: float = 0.0
    usual: float = 1.0
    gap: float = RARE
    since: float = RARE
    carry: float = 0.0

    @property
    def exhausted(self) -> bool:
        """The cheapest point runs and still takes longer than the target."""
        return self.debt >= SPAN

    def choose(self, costs: Sequence[float]) -> int:
        """The operating point of the next input. `costs`: of the points that may be used, ascending.

        A cost between two points is met by taking turns between them (error diffusion), whatever the input: what is
        promised of both holds for the mixture.
        """
        first, last = costs[0], costs[-1]
        cost = first + max(0.5 - self.debt / (2.0 * SPAN), 0.0) * (last - first)
        below = bisect_right(costs, cost) - 1
        if below >= len(costs) - 1:
            return len(costs) - 1
        self.carry += (cost - costs[below]) / (costs[below + 1] - costs[below])
        if self.carry < 1.0:
            return below
        self.carry -= 1.0
        return below + 1

    def settle(self, milliseconds: float, target: float) -> None:
        """Enter what one input took."""
        excess = milliseconds / target - 1.0
        self.since = min(self.since + 1.0, RARE)
        if excess > PAUSE:
            self._pause(min(excess - PAUSE, LONGEST_PAUSE))
            excess = PAUSE
        repaid = max(self.arrears / RARE, min(self.arrears, 2.0 * self.usual) / self.gap)
        self.arrears -= repaid
        self.debt = min(max(self.debt + excess + repaid, -DEBT_LIMIT), DEBT_LIMIT)

    def _pause(self, length: float) -> None:
        self.gap = 0.5 * (self.gap + self.since)
        self.since = 0.0
        self.usual = 0.5 * (self.usual + min(length, 3.0 * self.usual))
        if not self.exhausted:  # else nothing was left to save, and nothing is owed
            self.arrears += length
