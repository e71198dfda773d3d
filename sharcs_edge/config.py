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
WidthShape = Literal["even", "rising", "short"]
NarrowHead = Literal["shared", "own"]
InputReduction = Literal["leading", "learned"]
EntryNorm = Literal["narrow", "every"]

ROUTER_HIDDEN_SIZE = 1024  # as published (METHOD: Linear(D, 1024) -> ReLU -> Linear(1024, widths))


@dataclass(frozen=True)
class LayerSlice:
    """The leading block of one layer's tensors: ``heads`` attention heads (their size never changes), ``hidden``
    dimensions of the residual stream, ``intermediate`` FFN neurons; ``norm`` is the index of its LayerNorms in
    the layer."""

    norm: int
    heads: int
    hidden: int
    intermediate: int


@dataclass(frozen=True)
class WidthSlice:
    """What one width uses of the tail: its residual size and the block of every tail layer, in order."""

    index: int
    width: float
    hidden: int
    layers: tuple[LayerSlice, ...]

    @property
    def heads(self) -> int:
        """Attention heads over all tail layers."""
        return sum(layer.heads for layer in self.layers)


@dataclass(frozen=True)
class SharcsConfig:
    """The nested-width plan of a model.

    Attributes:
        widths: ascending fractions in (0, 1]; the last one is always 1.0, the full width.
        trunk_layers: layers before the router; 0 routes from the embeddings.
        width_dims: ``inner`` shrinks heads and FFN only, the residual stream keeps its size; ``all`` also
            shrinks the residual stream, as published.
        width_shape: ``even`` keeps the same share of every tail layer; ``rising`` makes a narrow width grow with depth,
            from half its share in the first tail layer to one and a half in the last (MatFormer, arXiv 2310.07707);
            ``short`` keeps that share of the tail's layers, the first ones, whole.
        narrow_head: ``shared``: all widths have one task head; ``own``: each narrow width has one of its own, which
            reads the mean of what went into the last layer beside the first token behind it.
        input_reduction: with ``all``, what enters a narrow tail: the ``leading`` dimensions of the trunk's output, or a
            ``learned`` weighted sum over groups of adjacent ones, which begins as their mean.
        token_keep: share of the tokens that a narrow tail passes on behind each of its layers: those that the others
            attended to most, and always the first. 1 keeps all. The full width never drops tokens.
        entry_norm: with ``all``, which tails start with a width-private LayerNorm: the ``narrow`` ones, so that
            the full width stays exactly the original encoder, or ``every`` one, as published.
        own_layers: widths up to this one have tail layers of their own, which begin as the leading blocks of the shared
            ones; 0: none has. They add their share of the tail to the model's size.
        narrow_dropout: whether narrow blocks drop out in training, as the full ones do.
        router_hidden_size: units of the router's hidden layer.

    Raises:
        UsageError: a field is outside its range; WidthError when it is about the widths.
    """

    widths: tuple[float, ...] = (0.083333, 0.25, 1.0)
    trunk_layers: int = 0
    width_dims: WidthDims = "inner"
    width_shape: WidthShape = "even"
    narrow_head: NarrowHead = "own"
    input_reduction: InputReduction = "leading"
    token_keep: float = 1.0
    entry_norm: EntryNorm = "narrow"
    own_layers: float = 0.0
    narrow_dropout: bool = False
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
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in get_args(choices):
                raise UsageError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(get_args(choices))}")
        if self.input_reduction != "leading" and self.width_dims != "all":
            raise UsageError(
                'input_reduction "learned" needs width_dims "all": with "inner" the residual stream is whole'
            )
        if self.width_shape == "short" and self.width_dims == "all":
            raise UsageError(
                'width_shape "short" keeps whole layers, so width_dims "all" has nothing to shrink; use "inner"'
            )
        if not 0.1 <= self.token_keep <= 1.0:
            raise UsageError(f"token_keep is {self.token_keep:g}; expected a share from 0.1 to 1")
        if not 0.0 <= self.own_layers < 1.0:
            raise UsageError(
                f"own_layers is {self.own_layers:g}; expected a width from 0 (none) to less than 1: the full "
                "width's layers are the shared ones"
            )
        if self.router_hidden_size < 1:
            raise UsageError(f"router_hidden_size is {self.router_hidden_size}; expected 1 or more")

    def slices(self, heads: int, hidden: int, intermediate: int, layers: int) -> tuple[WidthSlice, ...]:
        """The blocks of an encoder of ``layers`` layers with these full sizes, one per width, in whole heads.

        Raises:
            WidthError: two widths round to the same number of heads, or do not divide the residual stream evenly.
        """
        slices = []
        own = sum(map(self.has_own_layers, self.widths))
        for index, width in enumerate(self.widths):
            narrow_hidden = max(1, round(width * heads)) * (hidden // heads) if self.width_dims == "all" else hidden
            if self.input_reduction == "learned" and hidden % narrow_hidden:
                raise WidthError(
                    f"width {width:g} keeps {narrow_hidden} of {hidden} dimensions, which are not whole groups; with "
                    "input_reduction learned use widths such as 1/4 or 1/2"
                )
            blocks = [
                LayerSlice(max(0, index - own), kept, narrow_hidden, max(1, round(intermediate * kept / heads)))
                for kept in self._heads_by_layer(width, heads, layers - self.trunk_layers)
            ]
            slices.append(WidthSlice(index, width, narrow_hidden, tuple(blocks)))
        for narrow, wide in pairwise(slices):
            if narrow.heads == wide.heads:
                counts = " and ".join(str(count) for count in sorted({layer.heads for layer in wide.layers}))
                kept, apart = f"{counts} of {heads} attention heads", f"at least 1/{heads}"
                if self.width_shape == "rising":
                    apart = "further"
                if self.width_shape == "short":
                    units = layers - self.trunk_layers
                    kept, apart = f"{len(wide.layers)} of {units} layers", f"at least 1/{units}"
                raise WidthError(
                    f"widths {narrow.width:g} and {wide.width:g} both round to {kept}; choose widths {apart} apart"
                )
        return tuple(slices)

    def _heads_by_layer(self, width: float, heads: int, tail_layers: int) -> list[int]:
        if self.width_shape == "short":
            return [heads] * max(1, round(width * tail_layers))
        if self.width_shape == "even" or width == 1.0 or tail_layers == 1:
            return [max(1, round(width * heads))] * tail_layers
        rising = [0.5 + layer / (tail_layers - 1) for layer in range(tail_layers)]
        return [min(heads, max(1, round(width * heads * factor))) for factor in rising]

    def has_own_layers(self, width: float) -> bool:
        """Whether the tail of ``width`` shares no layer with the others."""
        return width <= self.own_layers + WIDTH_TOLERANCE

    def index_of(self, width: float) -> int:
        """Position of ``width`` in ``widths``. Raises WidthError naming the widths that are there."""
        return find_width(self.widths, width)


_CHOICES = {
    "width_dims": WidthDims,
    "width_shape": WidthShape,
    "narrow_head": NarrowHead,
    "input_reduction": InputReduction,
    "entry_norm": EntryNorm,
}


def distinct_widths(widths: Sequence[float], heads: int) -> tuple[float, ...]:
    """Without those that round to the same number of heads as the next wider one."""
    kept = [max(1, round(width * heads)) for width in widths]
    return tuple(width for width, a, b in zip(widths, kept, [*kept[1:], heads + 1], strict=True) if a < b)


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
