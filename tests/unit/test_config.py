"""Width plans: parsing, rounding to heads, refusals."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharcs_edge.config import SharcsConfig, distinct_widths, parse_widths
from sharcs_edge.errors import UsageError, WidthError


def test_parse_widths_takes_fractions_and_sorts() -> None:
    assert parse_widths("1, 0.25,1/12") == (0.083333, 0.25, 1.0)


@pytest.mark.parametrize("text", ["", "0.5,", "a", "1/0", "0,1", "1.5", "-0.5,1", "0.5,0.5,1", "nan,1"])
def test_parse_widths_refuses(text: str) -> None:
    with pytest.raises(WidthError):
        parse_widths(text)


@given(heads=st.integers(1, 16), head_size=st.integers(1, 8), ratio=st.integers(1, 4), data=st.data())
def test_slices_are_nested_and_end_at_the_full_sizes(
    heads: int, head_size: int, ratio: int, data: st.DataObject
) -> None:
    hidden = heads * head_size
    kept = sorted(data.draw(st.sets(st.integers(1, heads), max_size=4)) | {heads})
    widths = tuple(count / heads for count in kept)
    for dims in ("inner", "all"):
        slices = SharcsConfig(widths=widths, trunk_layers=1, width_dims=dims, own_layers=0.1).slices(
            heads, hidden, ratio * hidden, layers=3
        )
        assert [[layer.heads for layer in s.layers] for s in slices] == [[count] * 2 for count in kept]
        assert all(layer.intermediate == ratio * head_size * layer.heads for s in slices for layer in s.layers)
        assert [s.hidden for s in slices] == [count * head_size if dims == "all" else hidden for count in kept]
        assert all(layer.hidden == s.hidden for s in slices for layer in s.layers)
        own = sum(count / heads <= 0.1 for count in kept)  # their layers have LayerNorms for one width
        assert all(layer.norm == max(0, s.index - own) for s in slices for layer in s.layers)


@given(heads=st.integers(2, 16), layers=st.integers(2, 12), data=st.data())
def test_a_rising_width_grows_with_depth_and_stays_nested(heads: int, layers: int, data: st.DataObject) -> None:
    kept = sorted(data.draw(st.sets(st.integers(1, heads - 1), min_size=1, max_size=3)) | {heads})
    config = SharcsConfig(tuple(count / heads for count in kept), trunk_layers=0, width_shape="rising")
    try:
        slices = config.slices(heads, heads * 8, heads * 32, layers)
    except WidthError:
        return
    for narrow, wide in pairwise(slices):
        assert all(a.heads <= b.heads for a, b in zip(narrow.layers, wide.layers, strict=True))
    for one in slices:
        counts = [layer.heads for layer in one.layers]
        assert counts == sorted(counts) and counts[0] >= 1 and counts[-1] <= heads
    assert [layer.heads for layer in slices[-1].layers] == [heads] * layers


def test_a_rising_width_keeps_half_its_share_first_and_one_and_a_half_last() -> None:
    config = SharcsConfig((0.5, 1.0), trunk_layers=0, width_shape="rising")
    narrow = config.slices(12, 384, 1536, layers=3)[0]
    assert [(layer.heads, layer.intermediate) for layer in narrow.layers] == [(3, 384), (6, 768), (9, 1152)]
    assert narrow.heads == 18
    close = SharcsConfig((4 / 6, 5 / 6, 1.0), trunk_layers=0, width_shape="rising")
    with pytest.raises(WidthError, match=r"both round to 2 and 6 of 6 attention heads; choose widths further apart"):
        close.slices(6, 24, 24, layers=2)


@pytest.mark.parametrize(
    ("heads", "kept"), [(12, (1 / 12, 0.25, 1.0)), (4, (0.25, 1.0)), (2, (0.25, 1.0)), (1, (1.0,))]
)
def test_widths_that_few_heads_cannot_tell_apart_are_left_out(heads: int, kept: tuple[float, ...]) -> None:
    assert distinct_widths((1 / 12, 0.25, 1.0), heads) == kept
    SharcsConfig(kept).slices(heads, heads * 4, heads * 8, layers=2)


def test_a_tiny_width_keeps_one_head() -> None:
    assert [layer.heads for layer in SharcsConfig((0.01, 1.0)).slices(12, 384, 1536, layers=2)[0].layers] == [1, 1]


def test_learned_input_reduction_needs_whole_groups() -> None:
    config = SharcsConfig((0.75, 1.0), width_dims="all", input_reduction="learned")
    with pytest.raises(WidthError, match=r"width 0\.75 keeps 288 of 384 dimensions, which are not whole groups"):
        config.slices(12, 384, 1536, layers=3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"widths": (0.25, 0.5)}, "lack 1.0"),
        ({"trunk_layers": -1}, "trunk_layers is -1"),
        ({"width_dims": "outer"}, "inner, all"),
        ({"entry_norm": "none"}, "narrow, every"),
        ({"width_shape": "falling"}, "even, rising"),
        ({"input_reduction": "learned"}, 'needs width_dims "all"'),
        ({"token_keep": 0.0}, "token_keep is 0; expected a share from 0.1 to 1"),
        ({"router_hidden_size": 0}, "router_hidden_size is 0"),
        ({"own_layers": 1.0}, r"own_layers is 1; expected a width from 0 \(none\) to less than 1"),
    ],
)
def test_config_refuses(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SharcsConfig(**changes)  # type: ignore[arg-type]
