"""What the caller allows per input: limits that always hold, and rules that tighten them by the device's condition.

SPEC.md, section 11. A budget is a value: equal budgets mean the same, and nothing here looks at a clock or a sensor.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any, Final, NamedTuple

from sharcs_edge_runtime._strict_json import INVALID, Reader, boolean, fail, optional, show
from sharcs_edge_runtime._strict_json import fields as read_fields
from sharcs_edge_runtime.errors import UsageError, WidthError
from sharcs_edge_runtime.manifest import WIDTH_TOLERANCE, find_width, format_widths

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class Conditions:
    """How the device is doing; None: unknown. `battery`: charge, 0 to 1; `temperature`: the hottest zone, Celsius."""

    battery: float | None = None
    temperature: float | None = None
    throttled: bool | None = None
    background: bool | None = None


@dataclass(frozen=True)
class Limits:
    """Limits on one input, or on the mean over inputs; None: no limit.

    Attributes:
        width: run this width; neither router nor confidence is asked.
        min_width, max_width: inclusive; they need not be widths of the artifact.
        mean_ms: mean wall time per input, held over many inputs.
        deadline_ms: wall time of each input.
        memory_mb: private memory of the loaded graphs, in MB of 1024 * 1024 bytes.
        max_drop: loss of quality against the full width that calibration must have ruled out, of 1.
        energy_mj: mean millijoules per input, ESTIMATED as mean wall time x watts.
    """

    width: float | None = None
    min_width: float | None = None
    max_width: float | None = None
    mean_ms: float | None = None
    deadline_ms: float | None = None
    memory_mb: float | None = None
    max_drop: float | None = None
    energy_mj: float | None = None

    @classmethod
    def tightest(cls, sources: Sequence[Limits]) -> Limits:
        """Of each limit the tightest that any source has."""
        result: dict[str, float] = {}
        for name in _LIMITS:
            values = [value for source in sources if (value := getattr(source, name)) is not None]
            if values:
                result[name] = max(values) if name == "min_width" else min(values)
        return cls(**result)


@dataclass(frozen=True)
class Rule(Limits):
    """Limits that hold as well while ALL of its conditions do; a condition that is unknown does not hold.

    At least one condition and one limit. `battery_below`, `battery_above`: 0 to 1; temperatures in degrees Celsius;
    below and above are exclusive. `throttled`, `background`: hold while the device says the same. Raises UsageError.
    """

    battery_below: float | None = None
    battery_above: float | None = None
    temperature_below: float | None = None
    temperature_above: float | None = None
    throttled: bool | None = None
    background: bool | None = None

    def __post_init__(self) -> None:
        _check_values(self)
        if not self.conditions:
            raise UsageError(f"a rule has no condition; give one of {', '.join(_CONDITIONS)}")
        if all(getattr(self, name) is None for name in _LIMITS):
            raise UsageError(f"a rule has no limit; give one of {', '.join(_LIMITS)}")
        if not _together(self, self):
            raise UsageError("a rule can never hold: its `above` is not less than its `below`; swap or widen them")

    @property
    def conditions(self) -> frozenset[str]:
        """Names of the fields of `Conditions` that decide whether the rule holds."""
        given = [name for name in _CONDITIONS if getattr(self, name) is not None]
        return frozenset(name.removesuffix("_below").removesuffix("_above") for name in given)

    def holds(self, now: Conditions) -> bool:
        """Whether all conditions are known and met."""
        for gauge in _GAUGES:
            value, span = getattr(now, gauge), _span(self, gauge)
            if span != _ANYTHING and (value is None or not span[0] < value < span[1]):
                return False
        return all(getattr(self, flag) in (None, getattr(now, flag)) for flag in _FLAGS)


@dataclass(frozen=True)
class Budget(Limits):
    """Limits for every input, and rules that tighten them.

    `watts`: what the device draws while it computes; needed for `energy_mj` unless `latency.json` says it. Of the
    limits that hold at a time, the tightest of each kind counts. Raises UsageError for a value out of its range, and
    WidthError for limits or rules that can hold together and leave no width.
    """

    watts: float | None = None
    when: tuple[Rule, ...] = ()

    def __post_init__(self) -> None:
        _check_values(self)
        rules: object = self.when
        if not isinstance(rules, tuple) or not all(isinstance(rule, Rule) for rule in rules):
            raise UsageError(f"when is {rules!r}; expected a tuple of Rule")
        for names, pair in self.pairs():
            if (clash := _clash(*pair)) is not None:
                raise WidthError(f"{names} can hold at the same time, but {clash}; change one of them")

    @property
    def conditions(self) -> frozenset[str]:
        """Names of the fields of `Conditions` that any rule asks for."""
        return frozenset(name for rule in self.when for name in rule.conditions)

    @property
    def sources(self) -> tuple[Limits, ...]:
        """Everything that sets limits: the budget itself, then its rules."""
        return (self, *self.when)

    def pairs(self) -> Iterator[tuple[str, tuple[Limits, Limits]]]:
        """Every two sources that can hold together, one with itself included, and their names for a message.

        Conditions are intervals and flags, of which any number can hold together if every two can; and two limits are
        enough to contradict each other. So what is true of all pairs is true of everything that can be in force.
        """
        named = [("the budget" if not index else f"when[{index - 1}]", s) for index, s in enumerate(self.sources)]
        for (one, first), (other, second) in combinations_with_replacement(named, 2):
            if isinstance(first, Rule) and isinstance(second, Rule) and not _together(first, second):
                continue
            yield one if first is second else f"{one} and {other}", (first, second)

    def limits(self, now: Conditions) -> Limits:
        """The limits in force under these conditions."""
        return Limits.tightest([self, *(rule for rule in self.when if rule.holds(now))])

    @classmethod
    def parse(cls, data: bytes, source: str = "budget") -> Budget:
        """Read TOML: the fields as keys, rules as `[[when]]` tables. UsageError lists every problem with its path."""
        try:
            document = tomllib.loads(data.decode("utf-8"))
        except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
            raise UsageError(f"{source} is not TOML in UTF-8: {error}") from None
        problems: list[str] = []
        values = _read_table(document, "$", problems, {**_READERS, "when": _read_rules}, (*_LIMITS, "watts", "when"))
        if problems:
            count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
            raise UsageError(f"{source}: {count} in the budget: {'; '.join(problems)}")
        try:
            return cls(**{**values, "when": values["when"] or ()})
        except UsageError as error:
            raise type(error)(f"{source}: {error}") from None

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Budget:
        """Read a TOML file, see `parse`. UsageError if it cannot be read."""
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise UsageError(f"cannot read the budget {path}: {error.strerror or error}") from None
        return cls.parse(data, str(path))


def allowed_widths(limits: Limits, widths: Sequence[float]) -> tuple[int, int]:
    """First and last index (inclusive) of the artifact's `widths` that `limits` allow; WidthError if there is none."""
    if limits.width is not None:
        index = find_width(widths, limits.width)
        return index, index
    low = 0.0 if limits.min_width is None else limits.min_width - WIDTH_TOLERANCE
    high = (1.0 if limits.max_width is None else limits.max_width) + WIDTH_TOLERANCE
    inside = [index for index, width in enumerate(widths) if low <= width <= high]
    if not inside:
        given = (("min_width", limits.min_width), ("max_width", limits.max_width))
        shown = ", ".join(f"{name} {value:g}" for name, value in given if value is not None)
        raise WidthError(
            f"no width lies within {shown}: the artifact has {format_widths(widths)}; "
            "widen the limits or export that width"
        )
    return inside[0], inside[-1]


def condition_problem(name: str, value: object) -> str | None:
    """What a field of `Conditions` expects, if this value is something else."""
    if name in _FLAGS:
        return None if isinstance(value, bool) else "True or False"
    allowed = _RANGES[f"{name}_below"]
    return None if allowed.holds(value) else allowed.expected


class _Range(NamedTuple):
    """The numbers that a field may hold."""

    low: float
    high: float
    above_low: bool
    expected: str

    def holds(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return False
        return self.low <= value <= self.high and not (self.above_low and value == self.low)


_LARGE: Final = 1e12  # far beyond any limit in its unit, far inside binary64
_WIDTH: Final = _Range(0, 1, True, "a fraction above 0 and up to 1, such as 0.5")
_MILLISECONDS: Final = _Range(0, _LARGE, True, "milliseconds above 0, such as 4.5")
_CELSIUS: Final = _Range(-273.15, 1000, False, "degrees Celsius, such as 70")
_BATTERY: Final = _Range(0, 1, False, "a share of the full battery from 0 to 1, such as 0.2")
_RANGES: Final[Mapping[str, _Range]] = {
    "width": _WIDTH,
    "min_width": _WIDTH,
    "max_width": _WIDTH,
    "mean_ms": _MILLISECONDS,
    "deadline_ms": _MILLISECONDS,
    "memory_mb": _Range(0, _LARGE, True, "megabytes above 0, such as 64"),
    "max_drop": _Range(0, 1, False, "a share from 0 to 1, such as 0.01"),
    "energy_mj": _Range(0, _LARGE, True, "millijoules above 0, such as 12"),
    "watts": _Range(0, _LARGE, True, "watts above 0, such as 3.5"),
    "battery_below": _BATTERY,
    "battery_above": _BATTERY,
    "temperature_below": _CELSIUS,
    "temperature_above": _CELSIUS,
}
_GAUGES: Final = ("battery", "temperature")
_FLAGS: Final = ("throttled", "background")
_LIMITS: Final = tuple(field.name for field in fields(Limits))
_CONDITIONS: Final = tuple(field.name for field in fields(Rule) if field.name not in _LIMITS)
_ANYTHING: Final = (-math.inf, math.inf)


def _span(rule: Rule, gauge: str) -> tuple[float, float]:
    """The open interval that a rule asks a gauge to lie in."""
    above, below = getattr(rule, f"{gauge}_above"), getattr(rule, f"{gauge}_below")
    return -math.inf if above is None else above, math.inf if below is None else below


def _together(one: Rule, other: Rule) -> bool:
    """Whether some condition of the device lets both rules hold."""
    for gauge in _GAUGES:
        spans = (_span(one, gauge), _span(other, gauge))
        if max(low for low, _ in spans) >= min(high for _, high in spans):
            return False
    flags = ((getattr(one, flag), getattr(other, flag)) for flag in _FLAGS)
    return all(None in pair or pair[0] == pair[1] for pair in flags)


def _clash(one: Limits, other: Limits) -> str | None:
    """Why no width can satisfy both; None if one can."""
    both = Limits.tightest((one, other))
    if both.min_width is not None and both.max_width is not None and both.min_width > both.max_width:
        return f"min_width {both.min_width:g} is above max_width {both.max_width:g}"
    if one.width is not None and other.width is not None and abs(one.width - other.width) > WIDTH_TOLERANCE:
        return f"one asks for width {one.width:g} and the other for width {other.width:g}"
    if both.width is None:
        return None
    if both.min_width is not None and both.width < both.min_width - WIDTH_TOLERANCE:
        return f"width {both.width:g} is below min_width {both.min_width:g}"
    if both.max_width is not None and both.width > both.max_width + WIDTH_TOLERANCE:
        return f"width {both.width:g} is above max_width {both.max_width:g}"
    return None


def _check_values(source: Budget | Rule) -> None:
    """What one budget or rule can be refused for by itself."""
    for name, allowed in _RANGES.items():
        value = getattr(source, name, None)
        if value is not None and not allowed.holds(value):
            raise UsageError(f"{name} is {value!r}; expected {allowed.expected}")
    for name in _FLAGS:
        value = getattr(source, name, None)
        if value is not None and not isinstance(value, bool):
            raise UsageError(f"{name} is {value!r}; expected True or False")
    if source.width is not None and (source.min_width is not None or source.max_width is not None):
        raise UsageError("width fixes the route and cannot be combined with min_width or max_width; leave one out")
    if source.min_width is not None and source.max_width is not None and source.min_width > source.max_width:
        raise WidthError(
            f"min_width {source.min_width:g} is above max_width {source.max_width:g}, so that no width is allowed; "
            "swap or widen them"
        )


def _number_reader(name: str) -> Reader:
    allowed = _RANGES[name]

    def read(value: Any, path: str, problems: list[str]) -> Any:
        if not allowed.holds(value):
            return fail(problems, f"expected {allowed.expected}, got {show(value)}", path)
        return float(value)

    return read


_READERS: Final[Mapping[str, Reader]] = {
    **{name: _number_reader(name) for name in _RANGES},
    **dict.fromkeys(_FLAGS, boolean),
}


def _read_table(
    value: Any, path: str, problems: list[str], readers: Mapping[str, Reader], names: Sequence[str]
) -> dict[str, Any]:
    """A TOML table whose keys may all be left out, which reads as None."""
    if isinstance(value, dict):
        value = {**dict.fromkeys(names), **value}
    return read_fields(value, path, problems, {name: optional(readers[name]) for name in names}) or {}


def _read_rules(value: Any, path: str, problems: list[str]) -> Any:
    if not isinstance(value, list):
        return fail(problems, f"expected [[when]] tables, got {show(value)}", path)
    return tuple(_read_rule(table, f"{path}[{index}]", problems) for index, table in enumerate(value))


def _read_rule(value: Any, path: str, problems: list[str]) -> Any:
    before = len(problems)
    values = _read_table(value, path, problems, _READERS, (*_LIMITS, *_CONDITIONS))
    if len(problems) > before:
        return INVALID
    try:
        return Rule(**values)
    except UsageError as error:
        return fail(problems, str(error), path)
