"""What a sample proves about a mean loss: p-values, upper bounds, and tests of many hypotheses at once.

All of it holds for every sample size and every distribution of losses, provided that the samples are independent and
alike; nothing is asymptotic. The hypothesis that a p-value is of: the mean loss is at least ``limit``. A small one
proves that the loss is below it.

==================  ==========================  =====================================================================
bound               losses                      source
==================  ==========================  =====================================================================
binomial            0 or 1                      exact tail of the binomial distribution (Clopper and Pearson 1934)
hoeffding_bentkus   in [low, 1]                 Bates, Angelopoulos, Lei, Malik, Jordan 2021, arXiv 2101.02703
paired_score        -1, 0 or 1                  `sharcs_edge.calibrate.paired`
betting             in [low, 1]                 Waudby-Smith and Ramdas 2024, arXiv 2010.09686: predictable plug-in
==================  ==========================  =====================================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import binom

from sharcs_edge.calibrate.paired import paired_score

Losses = NDArray[np.floating[Any]]
PValue = Callable[[Losses, float], float]
"""Of (samples,) losses and a limit."""

_BOLDEST = 0.75  # of the stake that one loss of 1 would lose in full
_MOST_SAMPLES: Final = 1_000_000
_ORDERS: Final = 15  # the betting bound depends on it


def binomial(losses: Losses, limit: float) -> float:
    """The probability of at most so many losses, each 0 or 1, if they occur at the rate ``limit``.

    Raises:
        ValueError: a loss is neither 0 nor 1.
    """
    if not np.isin(losses, (0, 1)).all():
        raise ValueError("the binomial bound is for losses of 0 and 1")
    return float(binom.cdf(losses.sum(), len(losses), limit))


def hoeffding_bentkus(losses: Losses, limit: float, low: float = 0.0) -> float:
    """The smaller one of Hoeffding's and Bentkus's bounds; knows the mean alone, whatever the variance."""
    _check_range(losses, low)
    mean, limit = ((value - low) / (1.0 - low) for value in (float(losses.mean()), limit))
    samples = len(losses)
    hoeffding = math.exp(-samples * _divergence(mean, limit)) if mean < limit else 1.0
    # A mean of counts may lie an ulp above its count.
    bentkus = math.e * float(binom.cdf(math.ceil(samples * mean - 1e-9), samples, limit))
    return min(1.0, hoeffding, bentkus)


def betting(losses: Losses, limit: float, low: float = 0.0, level: float = 0.05) -> float:
    """One over the most that a gambler ever has who bets against the hypothesis, on one sample after the other.

    He starts with 1 and stakes part of it on a loss below ``limit``: more, the less the samples before vary. If the
    hypothesis holds he cannot expect to gain, and reaches 1 / p with probability p at most (Ville's inequality). The
    order of the samples matters and must not depend on their losses. Stakes are tuned for tests at ``level``; the
    p-value holds at any.
    """
    return float(betting_p_values(losses[None], limit, low, level)[0])


def betting_p_values(losses: Losses, limit: float, low: float = 0.0, level: float = 0.05) -> NDArray[np.float64]:
    """:func:`betting` for many samples of one size: (many, samples) losses -> (many,)."""
    _check_range(losses, low)
    samples = losses.shape[1]
    unit = (losses - low) / (1.0 - low)
    mean = (limit - low) / (1.0 - low)
    count = np.arange(1, samples + 1)
    guess = (0.5 + np.cumsum(unit, axis=1)) / (count + 1)
    variance = (0.25 + np.cumsum((unit - guess) ** 2, axis=1)) / (count + 1)
    before = np.concatenate([np.full((len(losses), 1), 0.25), variance[:, :-1]], axis=1)
    stakes = np.minimum(np.sqrt(2 * math.log(1 / level) / (samples * before)), _BOLDEST / (1.0 - mean))
    wealth = np.cumsum(np.log1p(stakes * (mean - unit)), axis=1).max(axis=1)
    return np.asarray(np.exp(-np.maximum(wealth, 0.0)))


def upper_bound(p_value: PValue, losses: Losses, confidence: float, low: float = 0.0) -> float:
    """The mean loss is below this with probability ``confidence``: the smallest limit that the p-value rejects.

    An exact test may reject a limit that is a little lower, too, since its p-value does not fall evenly.
    """
    level = 1.0 - confidence
    highest = 1.0 - 1e-9  # at a limit of 1 nothing is left to bet on
    if p_value(losses, highest) > level:
        return 1.0
    start = max(low + 1e-9, min(float(losses.mean()), highest))
    if p_value(losses, start) <= level:
        return start
    root = brentq(lambda limit: p_value(losses, limit) - level, start, highest, xtol=1e-9)
    return float(root) if p_value(losses, root) <= level else float(root) + 1e-9


def fixed_sequence(p_values: Sequence[float], level: float) -> list[bool]:
    """Which hypotheses are rejected if they are tested in this order until one is not.

    The order must not depend on the samples that the p-values are of. The probability of rejecting any true hypothesis
    is at most ``level``: the first true one has to be rejected for that (Learn then Test, arXiv 2110.01052).
    """
    rejected = np.logical_and.accumulate(np.asarray(p_values) <= level)
    return [bool(one) for one in rejected]


def holm(p_values: Sequence[float], level: float) -> list[bool]:
    """Which hypotheses are rejected by Holm's step-down of Bonferroni's correction: the same promise, in any order."""
    order = np.argsort(p_values, kind="stable")
    allowed = level / np.arange(len(order), 0, -1)
    rejected = np.empty(len(order), dtype=bool)
    rejected[order] = np.logical_and.accumulate(np.asarray(p_values)[order] <= allowed)
    return [bool(one) for one in rejected]


def samples_needed(p_value: PValue, losses: Losses, limit: float, level: float) -> int | None:
    """About how many samples would prove a mean loss below ``limit`` if they lost as these do, in half of all orders;
    None if no number up to a million would, as where these lose that much themselves."""
    if losses.mean() >= limit:
        return None
    ordered = np.sort(losses)

    def enough(samples: int) -> bool:
        alike = ordered[(np.arange(samples) * 2 + 1) * len(losses) // (2 * samples)]
        orders = np.random.default_rng(0)
        tries = min(_ORDERS, 1 + _MOST_SAMPLES // (10 * samples))
        return bool(np.median([p_value(orders.permutation(alike), limit) for _ in range(tries)]) <= level)

    short, long = 0, max(1, len(losses) // 8)
    while not enough(long):
        short, long = long, 2 * long
        if long > _MOST_SAMPLES:
            return None
    while long - short > max(1, long // 200):
        middle = (short + long) // 2
        short, long = (short, middle) if enough(middle) else (middle, long)
    return long


def p_value_of(bound: str, low: float, level: float) -> PValue:
    """The p-value by the name of its bound, for losses in [``low``, 1] and tests at ``level``.

    Raises:
        KeyError: there is none of this name.
    """
    known: dict[str, PValue] = {
        "binomial": binomial,
        "hoeffding_bentkus": partial(hoeffding_bentkus, low=low),
        "paired_score": partial(paired_score, level=level),
        "betting": partial(betting, low=low, level=level),
    }
    return known[bound]


def _divergence(mean: float, limit: float) -> float:
    """Kullback-Leibler divergence of two Bernoulli distributions."""
    lost = mean * math.log(mean / limit) if mean > 0 else 0.0
    kept = (1 - mean) * math.log((1 - mean) / (1 - limit)) if mean < 1 else 0.0
    return lost + kept


def _check_range(losses: Losses, low: float) -> None:
    if losses.min() < low or losses.max() > 1:
        raise ValueError(f"the losses lie in [{losses.min():g}, {losses.max():g}], outside [{low:g}, 1]")
