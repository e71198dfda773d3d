"""p-values and bounds against scipy's, their promise under repetition, and tests of many hypotheses."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binomtest

from sharcs_edge.calibrate.risk import (
    Losses,
    PValue,
    betting,
    betting_p_values,
    binomial,
    fixed_sequence,
    hoeffding_bentkus,
    holm,
    p_value_of,
    samples_needed,
    upper_bound,
)


def lost(losses: int, samples: int) -> Losses:
    return np.random.default_rng(0).permutation(np.arange(samples) < losses).astype(np.float64)


@pytest.mark.parametrize(("losses", "samples"), [(0, 299), (3, 500), (40, 200), (50, 50)])
@pytest.mark.parametrize("limit", [0.01, 0.1, 0.5])
def test_the_binomial_p_value_is_the_exact_test_of_scipy(losses: int, samples: int, limit: float) -> None:
    expected = binomtest(losses, samples, limit, alternative="less").pvalue
    assert binomial(lost(losses, samples), limit) == pytest.approx(expected)


@pytest.mark.parametrize(("losses", "samples"), [(0, 299), (1, 700), (40, 200), (199, 200)])
def test_the_binomial_bound_is_that_of_clopper_and_pearson(losses: int, samples: int) -> None:
    expected = beta.ppf(0.95, losses + 1, samples - losses)
    assert upper_bound(binomial, lost(losses, samples), 0.95) == pytest.approx(expected, abs=1e-8)


def test_a_bound_is_1_where_everything_is_lost() -> None:
    assert upper_bound(binomial, np.ones(20), 0.95) == 1.0
    assert upper_bound(p_value_of("betting", -1.0, 0.05), np.ones(20), 0.95, low=-1.0) == 1.0


def test_without_a_loss_299_samples_prove_one_in_a_hundred() -> None:
    """ln(.05) / ln(.99) = 298.07: the least that any test can ask for."""
    assert samples_needed(binomial, np.zeros(1), 0.01, 0.05) == 299
    assert binomial(np.zeros(299), 0.01) <= 0.05 < binomial(np.zeros(298), 0.01)


def test_hoeffding_and_bentkus_by_their_formulas() -> None:
    losses = np.array([0.0, 0.25, 0.5, 0.05] * 50)
    mean, limit, samples = 0.2, 0.3, 200
    hoeffding = math.exp(-samples * (mean * math.log(mean / limit) + (1 - mean) * math.log((1 - mean) / (1 - limit))))
    bentkus = math.e * binomtest(40, samples, limit, alternative="less").pvalue
    assert hoeffding_bentkus(losses, limit) == pytest.approx(min(hoeffding, bentkus))
    # Losses in [-1, 1] are the same as their halves above a half.
    assert hoeffding_bentkus(losses, limit, low=-1.0) == pytest.approx(hoeffding_bentkus((losses + 1) / 2, 0.65))


def test_betting_by_hand() -> None:
    """Two samples: the second stake knows the variance of the first."""
    losses, limit, level = np.array([0.0, 0.2]), 0.5, 0.05
    boldest = 0.75 / (1 - limit)
    first = min(math.sqrt(2 * math.log(20) / (2 * 0.25)), boldest)
    guess = (0.5 + 0.0) / 2
    second = min(math.sqrt(2 * math.log(20) / (2 * (0.25 + guess**2) / 2)), boldest)
    wealth = (1 + first * (limit - 0.0)) * (1 + second * (limit - 0.2))
    assert betting(losses, limit, level=level) == pytest.approx(1 / wealth)
    assert betting(np.ones(5), limit) == 1.0


def test_many_samples_at_once_are_the_same_as_one_by_one() -> None:
    losses = np.random.default_rng(0).choice([-1.0, 0.0, 1.0], p=[0.02, 0.95, 0.03], size=(5, 400))
    expected = [betting(one, 0.05, low=-1.0) for one in losses]
    np.testing.assert_allclose(betting_p_values(losses, 0.05, low=-1.0), expected)


BOUNDS = {
    "binomial": (0.0, lambda rng, size: (rng.random(size) < 0.05).astype(float)),
    "hoeffding_bentkus": (0.0, lambda rng, size: rng.beta(0.1, 1.9, size)),
    "paired_score": (-1.0, lambda rng, size: rng.choice([-1.0, 0.0, 1.0], p=[0.02, 0.91, 0.07], size=size)),
    "betting": (-1.0, lambda rng, size: rng.choice([-1.0, 0.0, 1.0], p=[0.02, 0.91, 0.07], size=size)),
}


@pytest.mark.parametrize("bound", BOUNDS)
def test_a_true_hypothesis_is_rejected_no_more_often_than_promised(
    bound: str, draw: Callable[[str, int], Losses]
) -> None:
    """The mean is 0.05 everywhere, so that "at least 0.05" is true, by a hair."""
    p_value = p_value_of(bound, BOUNDS[bound][0], 0.1)
    rejected = [p_value(one, 0.05) <= 0.1 for one in draw(bound, 2000)]
    assert np.mean(rejected) <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / 2000)


@pytest.mark.parametrize("bound", BOUNDS)
def test_a_bound_holds_as_often_as_promised(bound: str, draw: Callable[[str, int], Losses]) -> None:
    low = BOUNDS[bound][0]
    bounds = [upper_bound(p_value_of(bound, low, 0.1), one, 0.9, low) for one in draw(bound, 200)]
    assert np.mean(np.array(bounds) < 0.05) <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / 200)
    assert np.mean(bounds) < 0.25  # and says something


@pytest.fixture
def draw() -> Callable[[str, int], Losses]:
    def drawn(bound: str, many: int) -> Losses:
        result: Losses = BOUNDS[bound][1](np.random.default_rng(1), (many, 300))
        return result

    return drawn


@given(st.lists(st.sampled_from([-1.0, 0.0, 0.0, 0.0, 1.0]), min_size=1, max_size=60), st.floats(0.01, 0.9))
def test_a_higher_limit_is_easier_to_prove(losses: list[float], limit: float) -> None:
    values = np.array(losses)
    for p_value in (p_value_of("betting", -1.0, 0.05), p_value_of("hoeffding_bentkus", -1.0, 0.05)):
        assert p_value(values, limit) >= p_value(values, limit + 0.05) - 1e-12


@settings(max_examples=40)
@given(st.integers(0, 30), st.integers(30, 400), st.floats(0.5, 0.99))
def test_the_bound_is_where_the_test_turns(losses: int, samples: int, confidence: float) -> None:
    for p_value in (binomial, p_value_of("betting", 0.0, 1 - confidence)):
        values = lost(losses, samples)
        bound = upper_bound(p_value, values, confidence)
        assert values.mean() <= bound <= 1
        if bound < 1:
            assert p_value(values, bound + 2e-9) <= 1 - confidence
            assert bound == pytest.approx(values.mean()) or p_value(values, bound - 1e-6) > 1 - confidence


@pytest.mark.parametrize("p_value", [binomial, p_value_of("betting", 0.0, 0.05)])
@pytest.mark.parametrize(("rate", "limit"), [(0, 0.02), (4, 0.02), (9, 0.02), (2, 0.1)])
def test_the_number_of_samples_that_would_do_would_do(p_value: PValue, rate: int, limit: float) -> None:
    """``rate``: losses in a thousand, spread at random: then about half of all samples of that size do."""
    needed = samples_needed(p_value, lost(rate, 1000), limit, 0.05)
    assert needed is not None
    rng = np.random.default_rng(0)

    def power(samples: int) -> float:
        drawn = (rng.random((100, samples)) < rate / 1000).astype(np.float64)
        return float(np.mean([p_value(one, limit) <= 0.05 for one in drawn]))

    assert power(needed) >= 0.3
    assert power(2 * needed) >= 0.6
    assert power(needed // 2) <= 0.4


def test_no_number_of_samples_proves_what_is_not_so() -> None:
    assert samples_needed(binomial, lost(20, 1000), 0.02, 0.05) is None
    assert samples_needed(binomial, lost(1999, 100_000), 0.02, 0.05) is None  # nor one up to a million what just is


def test_a_fixed_sequence_stops_at_the_first_failure() -> None:
    assert fixed_sequence([0.01, 0.05, 0.2, 0.001], 0.05) == [True, True, False, False]
    assert fixed_sequence([0.06, 0.001], 0.05) == [False, False]
    assert fixed_sequence([], 0.05) == []


def test_holm_divides_the_level_among_what_is_left() -> None:
    # 0.05 / 4 = 0.0125, / 3 = 0.0167, / 2 = 0.025: the third smallest fails, and with it the largest.
    assert holm([0.03, 0.012, 0.016, 0.049], 0.05) == [False, True, True, False]
    assert holm([0.01, 0.02, 0.03, 0.04], 0.05) == [True, False, False, False]
    assert holm([], 0.05) == []


def test_losses_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="losses of 0 and 1"):
        binomial(np.array([0.0, 0.5]), 0.1)
    with pytest.raises(ValueError, match=r"lie in \[-1, 1\], outside \[0, 1\]"):
        betting(np.array([-1.0, 1.0]), 0.1)
