"""Exact p-values for losses of -1, 0 and 1: answers lost and won against another model's, on the same samples.

The test of non-inferiority for matched pairs: the score statistic (Nam 1997; Tango 1998) orders all outcomes by how
much they speak against the hypothesis, and the p-value is the probability of those that speak no less than what was
seen. That is exact at every size (Sidik 2003). The probability depends on the unknown rate of won answers: it is the
largest within that rate's confidence interval, and what the interval may miss is added (Berger and Boos 1994).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, binom

Array = NDArray[np.float64]
Counts = NDArray[np.int64]

_NUISANCE_SHARE: Final = 0.002  # of the level, which the confidence interval may miss
_TAIL: Final = 1e-12  # numbers of won answers that are less probable than this, on either side, count as rejections
_LEAST_RATES, _MOST_RATES = 33, 257  # how many rates of won answers are tried


def paired_score(losses: NDArray[np.floating[Any]], limit: float, level: float = 0.05) -> float:
    """The probability of losses that speak no less for a mean below ``limit``, if it is ``limit`` or more.

    ``level``: of the tests that it is for; the p-value holds at any level, and is never below a five-hundredth of this.

    Raises:
        ValueError: a loss is not -1, 0 or 1.
    """
    if not np.isin(losses, (-1, 0, 1)).all():
        raise ValueError("the paired bound is for losses of -1, 0 and 1")
    return _p_value(int((losses > 0).sum()), int((losses < 0).sum()), len(losses), limit, level * _NUISANCE_SHARE)


def score_statistic(lost: Counts, won: Counts, samples: int, limit: float) -> Array:
    """How far the mean loss lies below ``limit``, in the standard error that it has if the mean is ``limit``.

    It falls with ``lost``. The standard error is that of the most likely rates whose difference is ``limit``: q + limit
    of lost answers, q of won ones, where q is the larger root of 2 n q^2 + b q - won limit (1 - limit) = 0 with
    b = 2 limit (n - lost) - (lost + won) (1 - limit), the likelihood's derivative.
    """
    b = 2 * limit * (samples - lost) - (lost + won) * (1 - limit)
    root = (np.sqrt(np.maximum(b * b + 8 * samples * won * limit * (1 - limit), 0.0)) - b) / (4 * samples)
    rate = np.clip(root, *_rates(limit))
    variance = np.maximum(2 * rate + limit - limit * limit, 1e-300)
    return np.asarray((limit - (lost - won) / samples) / np.sqrt(variance / samples))


def _rates(limit: float) -> tuple[float, float]:
    """Between which the rate of won answers lies, if that of lost ones is so much higher."""
    return max(0.0, -limit), (1 - limit) / 2


@lru_cache(maxsize=4096)  # neighbouring operating points often lose and win the same
def _p_value(lost: int, won: int, samples: int, limit: float, missed: float) -> float:
    lowest, highest = _rates(limit)
    low = float(beta.ppf(missed / 2, won, samples - won + 1)) if won else 0.0
    high = float(beta.ppf(1 - missed / 2, won + 1, samples - won)) if won < samples else 1.0
    low, high = np.clip((low, high), lowest, highest).tolist()
    first, last = int(binom.ppf(_TAIL, samples, low)), int(binom.isf(_TAIL, samples, high))
    numbers = np.arange(first, last + 1)
    most = _most_lost(numbers, lost, won, samples, limit)

    def probability(rates: Array) -> Array:
        """Of each rate of won answers: of every outcome that speaks no less."""
        given = np.clip((rates + limit) / np.maximum(1 - rates, 1e-300), 0.0, 1.0)
        lost_no_more = binom.cdf(most, samples - numbers, given[:, None])
        return np.asarray((binom.pmf(numbers, samples, rates[:, None]) * lost_no_more).sum(axis=1) + 2 * _TAIL)

    # As a function of the rate's root the probability is about as smooth everywhere; it bends with single answers.
    answers = samples * (high - low)
    count = int(np.clip(4 * answers, _LEAST_RATES, _MOST_RATES))
    rates = np.linspace(np.sqrt(low), np.sqrt(high), count) ** 2
    best = int(probability(rates).argmax())
    closer = np.linspace(rates[max(best - 1, 0)], rates[min(best + 1, count - 1)], _LEAST_RATES)
    return min(1.0, float(probability(closer).max()) + missed)


def _most_lost(numbers: NDArray[np.int64], lost: int, won: int, samples: int, limit: float) -> NDArray[np.int64]:
    """With so many won answers, the largest number of lost ones that speaks no less; -1 if none does."""
    seen = score_statistic(np.array(lost), np.array(won), samples, limit) - 1e-9
    low, high = np.full(len(numbers), -1), samples - numbers + 1  # speaks no less; speaks less, or cannot be
    while (high - low > 1).any():
        middle = (low + high) // 2
        no_less = score_statistic(np.maximum(middle, 0), numbers, samples, limit) >= seen
        low = np.where(no_less & (middle > low), middle, low)
        high = np.where(~no_less & (middle > low), middle, high)
    return low
