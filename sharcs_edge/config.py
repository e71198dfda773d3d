"""What makes an encoder a SHARCS encoder: its widths, where the trunk ends and which dimensions shrink."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Literal, get_args

from sharcs_edge.errors import UsageError, WidthError
from sharcs_edge_runtime.manifest import WIDTH_TOLERANCE, find_width, format_widths

WidthDims = Literal["inner", "all"]
EntryNorm = Literal["narrow", "every"]

ROUTER_HIDDEN_SIZE = 1024  # as published (METHOD: Linear(D, 1024) -> ReLU -> Linear(1024, widths))


@dataclass(frozen=True)
class WidthSlice:
    """The leading block of every tail tensor that one width uses.

    ``hidden`` is the residual stream's size, ``heads`` the number of attention heads (their size never
    changes), ``intermediate`` the number of FFN neurons.
    """

    index: int
    width: float
    heads: int
    hidden: int
    intermediate: int


@dataclass(frozen=True)
class SharcsConfig:
    """The nested-width plan of a model.

    Attributes:
        widths: ascending fractions in (0, 1]; the last one is always 1.0, the full width.
        trunk_layers: layers before the router; 0 routes from the embeddings.
        width_dims: ``inner`` shrinks heads and FFN only, the residual stream keeps its size; ``all`` also
            shrinks the residual stream, as published.
        entry_norm: with ``all``, which tails start with a width-private LayerNorm: the ``narrow`` ones, so that
            the full width stays exactly the original encoder, or ``every`` one, as published.
        router_hidden_size: units of the router's hidden layer.

    Raises:
        UsageError: a field is outside its range; WidthError when it is about the widths.
    """

    widths: tuple[float, ...] = (0.25, 0.5, 1.0)
    trunk_layers: int = 1
    width_dims: WidthDims = "inner"
    entry_norm: EntryNorm = "narrow"
    router_hidden_size: int = ROUTER_HIDDEN_SIZE

    def __post_init__(self) -> None:
        check_widths(self.widths)
        if self.widths[-1] != 1.0:
            raise WidthError(
                f"widths {format_widths(self.widths)} lack 1.0: the full width teaches the narrower ones; "
                "add it (an export may leave it out)"
            )
        if self.trunk_layers < 0:
            raise UsageError(f"trunk_layers is {self.trunk_layers}; expected 0 or more")
        if self.width_dims not in get_args(WidthDims):
            raise UsageError(f"width_dims is {self.width_dims!r}; expected one of {', '.join(get_args(WidthDims))}")
        if self.entry_norm not in get_args(EntryNorm):
            raise UsageError(f"entry_norm is {self.entry_norm!r}; expected one of {', '.join(get_args(EntryNorm))}")
        if self.router_hidden_size < 1:
            raise UsageError(f"router_hidden_size is {self.router_hidden_size}; expected 1 or more")

    def slices(self, heads: int, hidden: int, intermediate: int) -> tuple[WidthSlice, ...]:
        """The blocks of an encoder with these full sizes, one per width, rounded to whole heads.

        Raises:
            WidthError: two widths round to the same number of heads.
        """
        head_size = hidden // heads
        slices = []
        for index, width in enumerate(self.widths):
            kept = max(1, round(width * heads))
            slices.append(
                WidthSlice(
                    index=index,
                    width=width,
                    heads=kept,
                    hidden=kept * head_size if self.width_dims == "all" else hidden,
                    intermediate=max(1, round(intermediate * kept / heads)),
                )
            )
        for narrow, wide in pairwise(slices):
            if narrow.heads == wide.heads:
                raise WidthError(
                    f"widths {narrow.width:g} and {wide.width:g} both round to {wide.heads} of {heads} attention "
                    f"heads; choose widths at least 1/{heads} apart"
                )
        return tuple(slices)

    def index_of(self, width: float) -> int:
        """Position of ``width`` in ``widths``. Raises WidthError naming the widths that are there."""
        return find_width(self.widths, width)


def check_widths(widths: Sequence[float]) -> None:
    """Raises WidthError unless ``widths`` is a non-empty, strictly ascending list of fractions in (0, 1]."""
    if not widths:
        raise WidthError("no widths given; expected fractions in (0, 1] such as 0.25,0.5,1.0")
    for width in widths:
        if not 0.0 < width <= 1.0:
            raise WidthError(f"width {width:g} is outside (0, 1]; a width is a fraction of the full encoder")
    if any(b - a <= WIDTH_TOLERANCE for a, b in pairwise(widths)):
        raise WidthError(f"widths {format_widths(widths)} are not strictly ascending")
    names = [round(width * 100) for width in widths]
    if len(set(names)) < len(names):
        raise WidthError(f"widths {format_widths(widths)} must differ by at least 0.01")


def parse_widths(text: str) -> tuple[float, ...]:
    """``"1/12,0.25,1"`` -> ``(0.083333, 0.25, 1.0)``, sorted; fractions are kept to six decimals.

    Raises:
        WidthError: not numbers, out of range or repeated.
    """
    widths = []
    for part in text.split(","):
        try:
            widths.append(round(float(Fraction(part.strip())), 6))
        except (ValueError, ZeroDivisionError):
            raise WidthError(
                f"{part.strip()!r} in widths {text!r} is not a number; expected a list such as 0.25,0.5,1.0 or 1/12,1"
            ) from None
    widths.sort()
    check_widths(widths)
    return tuple(widths)
