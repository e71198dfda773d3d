"""Which numbers of tokens fixed graphs are written for."""

from __future__ import annotations

from itertools import combinations, pairwise

from hypothesis import given
from hypothesis import strategies as st

from sharcs_edge.export.buckets import choose_buckets


def padded(lengths: list[int], buckets: tuple[int, ...]) -> int:
    return sum(min(bucket for bucket in buckets if bucket >= length) for length in lengths)


@given(st.lists(st.integers(1, 64), min_size=1, max_size=40), st.integers(1, 4))
def test_no_other_choice_pads_less(lengths: list[int], count: int) -> None:
    buckets = choose_buckets(lengths, 64, count)
    assert buckets[-1] == 64
    assert list(buckets) == sorted(set(buckets))
    others = [(*chosen, 64) for size in range(count) for chosen in combinations(range(8, 64, 8), size)]
    least = min(padded(lengths, other) for other in others)
    assert padded(lengths, buckets) <= least
    assert least in [
        padded(lengths, (*some, 64)) for size in range(count) for some in combinations(buckets[:-1], size)
    ]  # what is there besides takes nothing away


@given(st.lists(st.integers(1, 300), min_size=1, max_size=40), st.integers(1, 512))
def test_no_input_is_padded_to_twice_its_tokens(lengths: list[int], longest: int) -> None:
    buckets = choose_buckets([min(length, longest) for length in lengths], longest)
    assert all(larger <= 2 * smaller for smaller, larger in pairwise(buckets))
    assert len(buckets) <= 4 + (longest // 8).bit_length()


def test_the_longest_input_fits_whatever_its_length() -> None:
    assert choose_buckets([3, 3, 5], 50) == (8, 16, 32, 50)
    assert choose_buckets([20, 31, 45], 128) == (24, 32, 48, 64, 128)
    assert choose_buckets([1, 49, 50], 50, count=1) == (50,)
    assert choose_buckets([], 128) == (16, 32, 64, 128)
    assert choose_buckets([], 5) == (5,)
