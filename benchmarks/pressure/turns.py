"""How often a series turns around, the small moves left out."""

from __future__ import annotations

from collections.abc import Iterable


def turns(series: Iterable[float], size: float) -> int:
    """How often `series` turned around after a move of more than `size`, and moved back by as much."""
    count, direction = 0, 0
    low = high = None
    for value in series:
        low = value if low is None else min(low, value)
        high = value if high is None else max(high, value)
        if direction >= 0 and high - value > size:
            count += direction > 0
            direction, low, high = -1, value, value
        elif direction <= 0 and value - low > size:
            count += direction < 0
            direction, low, high = 1, value, value
    return count
