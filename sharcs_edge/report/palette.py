"""One colour per width, narrow to wide: an ordered blue ramp, told apart by lightness as well, in light and in dark."""

from __future__ import annotations

from typing import Final

_Colour = tuple[int, int, int]

_LIGHT: Final[tuple[_Colour, _Colour]] = ((126, 186, 224), (8, 48, 107))
_DARK: Final[tuple[_Colour, _Colour]] = ((38, 92, 150), (196, 225, 250))
_BRIGHT: Final = 140.0  # luma above which dark letters are read better


def width_styles(widths: int) -> str:
    """CSS rules: `.w0` to the widest set `--c`, and `.on-w0` ... the colour of letters on it."""
    light, dark = (_rules(widths, ends) for ends in (_LIGHT, _DARK))
    return f"{light}\n@media (prefers-color-scheme: dark) {{ @media not print {{ {dark} }} }}"


def _rules(widths: int, ends: tuple[_Colour, _Colour]) -> str:
    rules = []
    for place in range(widths):
        colour = _between(*ends, place / max(widths - 1, 1) if widths > 1 else 1.0)
        luma = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
        letters = "#10202e" if luma > _BRIGHT else "#ffffff"
        rules.append(f".w{place}{{--c:#{bytes(colour).hex()}}} .on-w{place}{{fill:{letters}}}")
    return " ".join(rules)


def _between(first: _Colour, last: _Colour, share: float) -> _Colour:
    red, green, blue = (round(a + share * (b - a)) for a, b in zip(first, last, strict=True))
    return red, green, blue
