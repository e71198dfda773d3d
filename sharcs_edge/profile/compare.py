"""Two profile records of one kind of machine: which figures changed, and whether the samples can tell.

The change of a figure is that of the whole run. Its range comes from fifths of both runs: from the fastest new one
against the slowest of the base to the slowest against the fastest. A range with 0 in it is noise, which neither passes
for better nor fails as worse: only runs whose fifths do not overlap differ (by chance alone, 1 of 252 pairs does so in
one direction). In the routed mix, whose texts differ in length, a fifth is one of the texts, and compared with the same
texts of the other run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sharcs_edge.errors import CheckFailed, UsageError
from sharcs_edge.profile.records import Record

Judgement = Literal["same", "better", "worse", "regression", "unclear"]
Group = Literal["stages", "mix", "start", "memory"]
Unit = Literal["ms", "MB"]
Floats: TypeAlias = NDArray[np.float64]

FAIL_OVER: Final = 0.10
PARTS: Final = 5
NEGLIGIBLE: Final = 0.01
"""Of a prediction at full width of the same length: a stage that lost less is no regression, however short it is."""

SINGLE: Final = 0.01
"""Assumed noise of what is read once: memory."""

_MACHINE: Final = ("model", "machine", "cpu", "cores")
_SHAPE: Final = ("task", "widths", "trunk_layers", "num_layers")
_RUNTIME: Final = ("engine", "active_provider", "tokenizers", "numpy", "sharcs_edge_runtime")
_SYSTEM: Final = ("os", "kernel", "python", "ram_mb")


@dataclass(frozen=True)
class Change:
    """One figure in both records.

    Attributes:
        group: "stages", "mix", "start" or "memory".
        figure: what it is, such as "total p50"; `width` and `tokens` where it is of one.
        unit: of `base` and `new`: "ms" or "MB".
        change: new / base - 1; `low` and `high`: its range.
        judgement: "same" (within the noise), "better", "worse", "regression" (worse by more than the limit), "unclear"
            (by more than the limit, but within the noise).
    """

    group: Group
    figure: str
    width: float | None
    tokens: int | None
    unit: Unit
    base: float
    new: float
    change: float
    low: float
    high: float
    judgement: Judgement


class _Place(NamedTuple):
    """Which figure, as the first fields of `Change` say it."""

    group: Group
    figure: str
    width: float | None = None
    tokens: int | None = None
    unit: Unit = "ms"


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`.

    Attributes:
        base, new: artifact, date and verdict of both records.
        fail_over: the limit, of 1.
        changes: every figure that both have.
        notes: what differs besides, and what could not be compared.
        doubts: why the result may be wrong: a run that was noisy or throttled.
    """

    base: Mapping[str, str]
    new: Mapping[str, str]
    fail_over: float
    changes: tuple[Change, ...]
    notes: tuple[str, ...]
    doubts: tuple[str, ...]

    @property
    def regressions(self) -> tuple[Change, ...]:
        """The changes that fail the check."""
        return tuple(change for change in self.changes if change.judgement == "regression")

    @property
    def sentence(self) -> str:
        """The result in one sentence, with its doubts."""
        failed, limit = self.regressions, f"{self.fail_over * 100:.3g} %"
        if failed:
            worst = max(failed, key=lambda change: change.change)
            are = "are" if len(failed) > 1 else "is"
            found = f"{len(failed)} of {len(self.changes)} figures {are} worse by more than {limit}, most of all"
            text = f"{found} {name_of(worst)}: {change_of(worst)}"
        else:
            unclear = sum(change.judgement == "unclear" for change in self.changes)
            text = f"none of {len(self.changes)} figures is clearly worse by more than {limit}"
            text += f" ({unclear} may be, within their noise)" if unclear else ""
        return f"{text}; but {' and '.join(self.doubts)}: measure again" if self.doubts else text

    def raise_if_failed(self) -> None:
        """CheckFailed (exit code 3) if there is a regression."""
        if self.regressions:
            raise CheckFailed(self.sentence)

    def to_dict(self) -> dict[str, Any]:
        """The comparison as plain JSON values."""
        return {"passed": not self.regressions, "sentence": self.sentence, **asdict(self)}


def compare(base: Record, new: Record, fail_over: float = FAIL_OVER) -> Comparison:
    """Compare two records. `fail_over`: the loss, of 1, above which a figure is a regression.

    Raises UsageError, naming both sides, for records of different kinds of machine, shapes of artifact, lengths or
    threads.
    """
    if not 0 <= fail_over < float("inf"):
        raise UsageError(f"the limit for a regression is {fail_over}; expected 0 or more, such as 10%")
    require_comparable(base, new)
    mix_problem = _mix_problem(base, new)
    changes = [*_stages(base, new, fail_over)]
    if mix_problem is None:
        changes += _mix(base, new, fail_over)
    changes += [*_start(base, new, fail_over), *_memory(base, new, fail_over)]
    notes = [*_differences(base, new), *([mix_problem] if mix_problem else [])]
    return Comparison(
        _identity(base), _identity(new), fail_over, tuple(changes), tuple(notes), tuple(_doubts(base, new))
    )


def name_of(change: Change) -> str:
    """``tail p50 of width 0.25 at 64 tokens``."""
    width = "" if change.width is None else f" of width {change.width:.3g}"
    return f"{change.figure}{width}{'' if change.tokens is None else f' at {change.tokens} tokens'}"


def change_of(change: Change) -> str:
    """``+12.0 % (+10.1 to +13.3)``."""
    return f"{change.change * 100:+.1f} % ({change.low * 100:+.1f} to {change.high * 100:+.1f})"


def require_comparable(base: Record, new: Record) -> None:
    """UsageError unless both are of the same kind of machine and shape of artifact, with the same lengths and threads.

    `new` may be a record that is yet to be measured: only its device, artifact and settings are looked at.
    """
    differences = [
        *((f"the machine's {name}", *both) for name, *both in _pairs(base["device"], new["device"], _MACHINE)),
        *((f"the artifact's {name}", *both) for name, *both in _pairs(base["artifact"], new["artifact"], _SHAPE)),
        *_pairs(base["settings"], new["settings"], ("lengths", "threads")),
    ]
    if differences:
        shown = "; ".join(f"{name}: {_show(old)} in the base, {_show(now)} now" for name, old, now in differences)
        raise UsageError(f"the two profiles cannot be compared: {shown}; measure a base of the same kind")


def find_base(bases: Sequence[Record], record: Record) -> Record:
    """The base of a record: the only one, or of several the one that was measured under the same name.

    Raises UsageError if there is none.
    """
    if len(bases) == 1:
        return bases[0]
    name = record.get("remote")
    found = [base for base in bases if base.get("remote") == name]
    if name is None or len(found) != 1:
        names = ", ".join(str(base.get("remote", "unnamed")) for base in bases)
        raise UsageError(f"there is no base for {name or 'this machine'} among {names}; give one with a record of it")
    return found[0]


def _pairs(base: Record, new: Record, names: Sequence[str]) -> Iterator[tuple[str, Any, Any]]:
    """The fields that differ, with both values."""
    for name in names:
        if base.get(name) != new.get(name):
            yield name, base.get(name), new.get(name)


def _show(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return ", ".join(f"{part['count']} x {part['part']}" for part in value)
    if isinstance(value, list):
        return ", ".join(f"{item:.3g}" if isinstance(item, float) else str(item) for item in value)
    return "unknown" if value is None else str(value)


def _identity(record: Record) -> dict[str, str]:
    artifact = record["artifact"]
    return {
        "artifact": artifact["name"],
        "manifest_sha256": artifact["manifest_sha256"],
        "created": record["created"],
        "verdict": record["verdict"]["state"],
    }


def _differences(base: Record, new: Record) -> Iterator[str]:
    """What may explain a change."""
    before, after = base["artifact"], new["artifact"]
    if before["manifest_sha256"] != after["manifest_sha256"]:
        what = "another export" if before["family"] == after["family"] else "another bundle"
        named = [f"{one['name']} ({one['manifest_sha256'][:8]})" for one in (before, after)]
        yield f"{what}: {' -> '.join(named)}"
    groups = (
        ("artifact", ("backend", "target")),
        ("runtime", _RUNTIME),
        ("device", _SYSTEM),
        ("settings", ("min_samples", "min_seconds")),
    )
    for group, names in groups:
        for name, old, now in _pairs(base[group], new[group], names):
            if old is not None:  # a record of an older profiler does not say
                yield f"{name}: {_show(old)} -> {_show(now)}"
    governors = [_governors(record) for record in (base, new)]
    if governors[0] != governors[1]:
        yield f"governor: {governors[0]} -> {governors[1]}"


def _governors(record: Record) -> str:
    clocks = record["state"]["before"]["clocks"]
    return clocks if isinstance(clocks, str) else ", ".join(dict.fromkeys(clock["governor"] for clock in clocks))


def _doubts(base: Record, new: Record) -> Iterator[str]:
    for name, record in (("the base", base), ("the new run", new)):
        if (state := record["verdict"]["state"]) != "stable":
            yield f"{name} was {state}"


def _stages(base: Record, new: Record, fail_over: float) -> Iterator[Change]:
    before = {(row["stage"], row["width"], row["tokens"]): row["ms"] for row in base["stages"]}
    widest = max(new["artifact"]["widths"])
    for row in new["stages"]:
        key = stage, width, tokens = row["stage"], row["width"], row["tokens"]
        if key in before:
            whole = before.get(("total", widest, tokens))
            least = NEGLIGIBLE * whole["p50"] if whole else 0.0
            parts = before[key]["samples"], row["ms"]["samples"]
            place = _Place("stages", f"{stage} p50", width, tokens)
            yield _judge(place, before[key]["p50"], row["ms"]["p50"], _extremes(*parts), fail_over, least)


def _mix_problem(base: Record, new: Record) -> str | None:
    """Why the routed mixes are not comparable."""
    if base["mix"] is None or new["mix"] is None:
        return None if base["mix"] is new["mix"] else "one of the two has no routed mix: it is not compared"
    before, after = base["texts"], new["texts"]
    if before.get("sha256") is None or before.get("sha256") != after.get("sha256"):
        return (
            f"the texts differ or are unknown ({before['source']}, {after['source']}): the routed mix is not compared"
        )
    if base.get("budget") != new.get("budget"):
        return "the budgets differ: the routed mix is not compared"
    return None


def _mix(base: Record, new: Record, fail_over: float) -> Iterator[Change]:
    if base["mix"] is None:
        return
    texts = new["texts"]["used"]
    for way in ("routed", "full"):
        before, after = base["mix"][way], new["mix"][way]
        parts = _by_text(before["samples"], texts), _by_text(after["samples"], texts)
        for name, statistic in (("mean", np.mean), ("p95", partial(np.percentile, q=95))):
            place = _Place("mix", f"{way} {name}")
            yield _judge(place, before[name], after[name], _ratios(*parts, statistic), fail_over)


def _start(base: Record, new: Record, fail_over: float) -> Iterator[Change]:
    before, after = base["cold_start"], new["cold_start"]
    for name in ("import_ms", "load_ms", "first_run_ms"):
        if name in before and name in after:
            parts = before[name]["samples"], after[name]["samples"]
            place = _Place("start", f"{name.removesuffix('_ms').replace('_', ' ')} p50")
            yield _judge(place, before[name]["p50"], after[name]["p50"], _extremes(*parts), fail_over)


def _memory(base: Record, new: Record, fail_over: float) -> Iterator[Change]:
    """Private bytes: the proportional share also changes with what else runs on the machine."""
    sizes = [record["cold_start"].get("memory", {}).get("after_runs", {}).get("private_mb") for record in (base, new)]
    if all(isinstance(size, int | float) and size > 0 for size in sizes):
        change = sizes[1] / sizes[0]
        ratios = change - SINGLE, change + SINGLE
        yield _judge(_Place("memory", "private", unit="MB"), sizes[0], sizes[1], ratios, fail_over)


def _judge(
    place: _Place, base: float, new: float, ratios: Sequence[float], fail_over: float, least: float = 0.0
) -> Change:
    """`ratios`: new / base of parts; `least`: what a regression costs at the least, in the figure's unit."""
    change = new / base - 1
    low, high = min(ratios) - 1, max(ratios) - 1
    judgement: Judgement = "same"
    if change > fail_over and new - base > least:
        judgement = "regression" if low > 0 else "unclear"
    elif low > 0:
        judgement = "worse"
    elif high < 0:
        judgement = "better"
    return Change(*place, base, new, change, low, high, judgement)


def _extremes(base: Sequence[float], new: Sequence[float]) -> tuple[float, float]:
    """The least and the largest ratio of the medians of stretches of time."""
    before, after = (
        [float(np.median(part)) for part in np.array_split(np.asarray(samples), min(PARTS, len(samples)))]
        for samples in (base, new)
    )
    return min(after) / max(before), max(after) / min(before)


def _by_text(samples: Sequence[float], texts: int) -> list[Floats]:
    """`samples`: pass after pass over the texts."""
    values = np.asarray(samples, dtype=np.float64)
    passes = values[: len(values) // texts * texts].reshape(-1, texts)  # (passes, texts)
    return [part.ravel() for part in np.array_split(passes, min(PARTS, texts), axis=1)]


def _ratios(base: Sequence[Floats], new: Sequence[Floats], statistic: Callable[[Floats], Any]) -> list[float]:
    return [float(statistic(after) / statistic(before)) for before, after in zip(base, new, strict=False)]
