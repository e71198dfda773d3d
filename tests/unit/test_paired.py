"""The exact test of paired losses against sums over all outcomes, and its promise where rates are at their worst."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom, multinomial

from sharcs_edge.calibrate.paired import paired_score, score_statistic
from sharcs_edge.calibrate.risk import p_value_of, samples_needed

FLOOR = 0.05 * 0.002  # what the rate's confidence interval may miss


def losses(lost: int, won: int, samples: int) -> NDArray[np.float64]:
    return np.repeat([1.0, -1.0, 0.0], [lost, won, samples - lost - won])


def outcomes(samples: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of all outcomes of so many samples: lost and won answers."""
    lost, won = np.meshgrid(np.arange(samples + 1), np.arange(samples + 1), indexing="ij")
    possible = lost + won <= samples
    return lost[possible], won[possible]


@pytest.mark.parametrize(
    ("lost", "won", "samples", "limit"),
    [(0, 0, 40, 0.05), (1, 2, 40, 0.05), (3, 3, 40, 0.1), (5, 1, 40, 0.2), (0, 4, 30, 0.01), (10, 8, 40, 0.1)],
)
def test_the_p_value_is_the_largest_sum_over_all_outcomes(lost: int, won: int, samples: int, limit: float) -> None:
    every = outcomes(samples)
    statistics = score_statistic(*every, samples, limit)
    speaks = statistics >= score_statistic(np.array(lost), np.array(won), samples, limit) - 1e-9
    counts = np.stack([every[0], every[1], samples - every[0] - every[1]], axis=1)[speaks]

    def probability(rate: float) -> float:
        return float(multinomial.pmf(counts, samples, [rate + limit, rate, max(0.0, 1 - 2 * rate - limit)]).sum())

    highest = max(probability(rate) for rate in np.linspace(0.0, (1 - limit) / 2, 1000))
    found = paired_score(losses(lost, won, samples), limit)
    assert found <= highest + FLOOR + 1e-6  # over all rates, not those of the interval alone
    assert found >= probability((won + 0.5) / (samples + 1)) - 1e-9


@pytest.mark.parametrize("limit", [-0.05, 0.0, 0.01, 0.3])
@pytest.mark.parametrize("samples", [7, 60])
def test_fewer_lost_or_more_won_answers_speak_more(samples: int, limit: float) -> None:
    """By this the largest probability under the hypothesis is where the mean loss is ``limit``, and no more."""
    lost, won = np.meshgrid(np.arange(samples), np.arange(samples), indexing="ij")
    statistics = score_statistic(lost, won, samples, limit)
    assert (np.diff(statistics, axis=0) <= 1e-9)[lost[1:] + won[1:] <= samples].all()
    assert (np.diff(statistics, axis=1) >= -1e-9)[(lost + won)[:, 1:] <= samples].all()


@pytest.mark.parametrize("won", [0.0, 0.001, 0.02, 0.3])
@pytest.mark.parametrize("samples", [60, 250])
def test_rejections_of_a_true_hypothesis_add_up_to_the_level_at_most(samples: int, won: float) -> None:
    limit, level = 0.05, 0.1
    every = outcomes(samples)
    probability = multinomial.pmf(
        np.stack([*every, samples - sum(every)], axis=1), samples, [won + limit, won, 1 - 2 * won - limit]
    )
    likely = probability > 1e-9  # all others together: less than 1e-4
    rejected = [
        paired_score(losses(lost, won, samples), limit, level) <= level
        for lost, won in zip(every[0][likely].tolist(), every[1][likely].tolist(), strict=True)
    ]
    assert probability[likely][rejected].sum() <= level


def test_without_a_won_answer_it_is_nearly_the_binomial_test() -> None:
    for lost, samples in ((0, 400), (4, 1000)):
        binomial = float(binom.cdf(lost, samples, 0.01))
        assert binomial <= paired_score(losses(lost, 0, samples), 0.01) <= 2 * binomial


@pytest.mark.parametrize(("lost", "won", "most"), [(2, 2, 400), (5, 5, 520), (20, 20, 1250), (20, 15, 4200)])
def test_it_asks_for_little_more_than_half_of_the_texts_that_betting_does(lost: int, won: int, most: int) -> None:
    seen = losses(lost, won, 1000)
    needed, bet = (samples_needed(p_value_of(one, -1.0, 0.05), seen, 0.01, 0.05) for one in ("paired_score", "betting"))
    assert needed is not None and bet is not None
    assert needed <= most
    assert needed <= 0.8 * bet


@settings(max_examples=50)
@given(st.integers(0, 20), st.integers(0, 20), st.integers(40, 300), st.floats(0.005, 0.5))
def test_the_order_of_samples_is_nothing_and_a_higher_limit_easier(
    lost: int, won: int, samples: int, limit: float
) -> None:
    seen = losses(lost, won, samples)
    found = paired_score(seen, limit)
    assert 0.0 <= found <= 1.0
    assert paired_score(np.random.default_rng(0).permutation(seen), limit) == found
    assert paired_score(seen, min(0.99, 2 * limit)) <= found + 0.02  # its steps are not all at the same limits


def test_a_mean_that_is_surely_higher_proves_nothing() -> None:
    assert paired_score(losses(0, 10, 1000), -0.5) == pytest.approx(1.0)  # no rate of won answers near 1 % allows it
    assert paired_score(losses(1000, 0, 1000), 0.5) == pytest.approx(1.0)


def test_other_losses_are_refused() -> None:
    with pytest.raises(ValueError, match="losses of -1, 0 and 1"):
        paired_score(np.array([0.0, 0.5]), 0.1)
