"""Width plans: parsing, rounding to heads, refusals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharcs_edge.config import SharcsConfig, parse_widths
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
        slices = SharcsConfig(widths=widths, width_dims=dims).slices(heads, hidden, ratio * hidden)
        assert [s.heads for s in slices] == kept
        assert (slices[-1].hidden, slices[-1].intermediate) == (hidden, ratio * hidden)
        assert all(s.intermediate == ratio * head_size * s.heads for s in slices)
        assert all(s.hidden == (s.heads * head_size if dims == "all" else hidden) for s in slices)


def test_a_tiny_width_keeps_one_head() -> None:
    assert SharcsConfig(widths=(0.01, 1.0)).slices(12, 384, 1536)[0].heads == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"widths": (0.25, 0.5)}, "lack 1.0"),
        ({"trunk_layers": -1}, "trunk_layers is -1"),
        ({"width_dims": "outer"}, "inner, all"),
        ({"entry_norm": "none"}, "narrow, every"),
        ({"router_hidden_size": 0}, "router_hidden_size is 0"),
    ],
)
def test_config_refuses(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SharcsConfig(**changes)  # type: ignore[arg-type]
