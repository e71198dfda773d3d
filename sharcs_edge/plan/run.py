"""`make_plan`: from an artifact, a device and a budget to what the budget will buy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from sharcs_edge.errors import CheckFailed, InputError, UsageError
from sharcs_edge.latency import Timing, find_timing
from sharcs_edge.plan import deadline
from sharcs_edge.plan.front import Mix, PlannedPoint, calibration_tokens, plan_points, settle
from sharcs_edge_runtime.artifact import Artifact
from sharcs_edge_runtime.budget import Budget
from sharcs_edge_runtime.operating_points import OPERATING_POINTS_NAME, OperatingPoints
from sharcs_edge_runtime.tasks import METRICS, Metric
from sharcs_edge_runtime.tokenization import Text, TextEncoder

LIMITS = ("mean_ms", "deadline_ms", "max_drop", "energy_mj", "watts")
"""Of a budget, what a plan can speak of."""


@dataclass(frozen=True)
class Tokens:
    """Mean tokens per input that the times are for, and who says so."""

    mean: float
    source: str


@dataclass(frozen=True)
class Plan:
    """What a budget will buy.

    Attributes:
        artifact: the folder's name; `widths`: its widths, ascending; `longest_input`: the most tokens that it takes.
        timing: where the milliseconds come from; `tokens`: for inputs of which length.
        calibration: whose points these are.
        metric: of `quality`; None without labels: then it is 1 - the drop against the full width's answers.
        quality_title: what `quality` is, for people.
        budget: what was asked for.
        front: the operating points, in ascending compute; the last one is the full width alone.
        mix: what the budget keeper settles at.
        energy_mj: ESTIMATED, mean time x watts; None where nobody says the watts.
        paths: of a deadline, empty without one.
    """

    artifact: str
    widths: tuple[float, ...]
    longest_input: int
    timing: Timing
    tokens: Tokens
    calibration: OperatingPoints
    metric: Metric | None
    quality_title: str
    budget: Budget
    front: tuple[PlannedPoint, ...]
    mix: Mix
    energy_mj: float | None
    paths: tuple[deadline.Path, ...]

    @property
    def full(self) -> PlannedPoint:
        """The full width alone."""
        return self.front[-1]

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain JSON values."""
        file = self.calibration
        return {
            "kind": "plan",
            "artifact": self.artifact,
            "timing": self.timing.to_dict(),
            "tokens": asdict(self.tokens),
            "budget": {name: getattr(self.budget, name) for name in LIMITS},
            "calibration": {
                "against": file.against,
                "samples": file.samples,
                "max_drop": file.max_drop,
                "confidence": file.confidence,
            },
            "quality": "agreement" if self.metric is None else self.metric.name,
            "widths": list(self.widths),
            "plan": {
                **asdict(self.mix),
                "points": [{"point": point, "share": share} for point, share in self.mix.points.items()],
                "energy_mj": self.energy_mj,
                "speedup": self.full.mean_ms / self.mix.mean_ms,
            },
            "deadline": [asdict(path) for path in self.paths],
            "front": [asdict(point) for point in self.front],
        }


def make_plan(folder: Path, budget: Budget, *, device: str | None = None, tokens: Tokens | None = None) -> Plan:
    """What `budget` buys on a device.

    `device`: name of a profile; None: the machine of the artifact's `latency.json`, else the target that the artifact
    was exported for. `tokens`: None: those of the calibration texts. Only `LIMITS` of the budget may be given.

    Raises CheckFailed where the budget buys nothing, UsageError for an artifact without operating points or a limit
    that a plan cannot speak of, and what `Artifact.open`, `load_device` and the budget keeper raise.
    """
    _refuse_other_limits(budget)
    artifact = Artifact.open(folder, verify_hashes=False)
    manifest = artifact.manifest
    points = OperatingPoints.load(artifact)
    if points is None:
        raise UsageError(
            f"{folder} has no {OPERATING_POINTS_NAME}, which a plan is made from: run `sharcs-edge calibrate` on it"
        )
    timing = find_timing(artifact, device)
    if tokens is None:
        tokens = Tokens(calibration_tokens(points, manifest), "calibration texts")
    front = plan_points(points, manifest, timing.latency, tokens.mean)
    watts = timing.watts if budget.watts is None else budget.watts
    try:
        mix = settle(points, front, manifest, replace(budget, deadline_ms=None), watts)
        paths: tuple[deadline.Path, ...] = ()
        if budget.deadline_ms is not None:
            start = min(index for part in mix.points for index, share in enumerate(front[part].starts) if share > 0)
            end = max(index for index, share in enumerate(mix.shares) if share > 0)
            paths = deadline.deadline_paths(manifest, timing.latency, tokens.mean, budget.deadline_ms, start, end)
    except CheckFailed as error:
        raise CheckFailed(
            f"{error} on {timing.device} ({timing.kind}, for {tokens.mean:.1f} tokens); allow more, export narrower "
            "widths, or take a faster device"
        ) from None
    metric = None if points.full.score is None else METRICS[manifest.task][0]
    likeness = "closeness to" if manifest.task == "regression" else "agreement with"
    return Plan(
        artifact=artifact.path.name,
        widths=manifest.widths,
        longest_input=manifest.tokenizer.max_length,
        timing=timing,
        tokens=tokens,
        calibration=points,
        metric=metric,
        quality_title=f"{likeness} the full width" if metric is None else metric.title,
        budget=budget,
        front=front,
        mix=mix,
        energy_mj=None if watts is None else mix.mean_ms * watts,
        paths=paths,
    )


def count_tokens(folder: Path, texts: Callable[[int], Iterable[Text]], source: str) -> Tokens:
    """Mean tokens of texts as the artifact's tokenizer sees them; `texts` is told how many an input has (1 or 2).

    Raises InputError for a text that cannot be processed, or none at all.
    """
    artifact = Artifact.open(folder, verify_hashes=False)
    manifest = artifact.manifest
    encoder = TextEncoder(artifact.tokenizer_file, manifest.tokenizer, manifest.text_inputs)
    counts = [len(encoder.encode(text, f"text {index}")) for index, text in enumerate(texts(manifest.text_inputs))]
    if not counts:
        raise InputError(f"{source} holds no text to count tokens of")
    return Tokens(sum(counts) / len(counts), f"{len(counts):,} texts of {source}")


def _refuse_other_limits(budget: Budget) -> None:
    given = [field.name for field in fields(budget) if getattr(budget, field.name) not in (None, ())]
    if other := [name for name in given if name not in LIMITS]:
        raise UsageError(
            f"a plan knows nothing of {', '.join(other)}: calibration did not measure that; "
            f"it takes {', '.join(LIMITS)}"
        )
