"""From answers to operating points: what the test samples prove about the front, and which points may be promised."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sharcs_edge.calibrate.case import Against, Case, Promise
from sharcs_edge.calibrate.front import CHOOSING_SHARE, choose_front, divide, full_width
from sharcs_edge.calibrate.risk import PValue, fixed_sequence, p_value_of, samples_needed, upper_bound
from sharcs_edge.routing.answers import Floats
from sharcs_edge.routing.policy import Decisions, Policy, decide
from sharcs_edge.routing.search import CANDIDATES
from sharcs_edge_runtime.manifest import TaskName
from sharcs_edge_runtime.operating_points import Method, OperatingPoint
from sharcs_edge_runtime.tasks import METRICS
from sharcs_edge_runtime.tasks import decide as answers_of


@dataclass(frozen=True)
class Trial:
    """A policy of the front with its losses on the test samples, and whether the promise covers it."""

    policy: Policy
    losses: Floats
    p_value: float
    certified: bool


@dataclass(frozen=True)
class Certification:
    """Operating points, and what it would take to certify more of them.

    Attributes:
        points: ascending in mean cost; the last one is the full width alone.
        tested: how many samples the tests used.
        method: the tests and their bound.
        samples_needed: of each point, about how many samples in all would certify it at the losses seen; None where it
            is certified, and where no number up to a million would do.
        least_samples: how many it takes in all to certify a point that never loses; None for more than a million.
    """

    points: tuple[OperatingPoint, ...]
    tested: int
    method: Method
    samples_needed: tuple[int | None, ...]
    least_samples: int | None


def run_trials(case: Case, promise: Promise, candidates: int = CANDIDATES) -> tuple[list[Trial], Case]:
    """Chooses a front on some of the samples and tests it on the others, the dearest point first, until one fails.

    Returns the front, the dearest point first, and the samples of the tests. ``candidates``: how many policies to try.
    """
    choosing, testing = map(case.take, divide(len(case)))
    front = choose_front(
        choosing.signals, choosing.quality, choosing.agreement, priced=choosing.priced, candidates=candidates
    )
    p_value = _p_value(case.task, promise)
    losses = [testing.losses(policy) for policy in front]
    p_values = [p_value(one, promise.max_drop) for one in losses]
    certified = fixed_sequence(p_values, promise.level)
    return list(map(Trial, front, losses, p_values, certified)), testing


def certify(case: Case, promise: Promise) -> Certification:
    """The front as operating points, with their figures on the test samples."""
    front, testing = run_trials(case, promise)
    p_value = _p_value(case.task, promise)
    full = _point(testing, Trial(full_width(case.signals.widths), np.zeros(len(testing)), 0.0, True), 0.0)
    _, low = bound_of(case.task, promise.against)
    rows = []
    for one, needed in zip(front, samples_to_certify(front, p_value, promise), strict=True):
        bound = upper_bound(p_value, one.losses, promise.confidence, low)
        rows.append((_point(testing, one, bound), needed))
    # On other samples than those that chose it, a point may have more multiply-accumulates.
    rows = sorted((row for row in rows if row[0].macs < full.macs), key=lambda row: row[0].macs)
    least = samples_needed(p_value, np.zeros(1), promise.max_drop, promise.level)
    return Certification(
        points=(*(point for point, _ in rows), full),
        tested=len(testing),
        method=Method("fixed_sequence", bound_of(case.task, promise.against)[0]),
        samples_needed=(*(needed for _, needed in rows), None),
        least_samples=None if least is None else _with_choosing(least),
    )


def bound_of(task: TaskName, against: Against) -> tuple[str, float]:
    """The name of the bound, and the lowest loss that is possible (docs/adr/0010-bounds-of-calibration.md)."""
    if against == "labels":
        return ("paired_score" if task == "classification" else "betting"), -1.0
    return ("betting" if task == "regression" else "binomial"), 0.0


def _p_value(task: TaskName, promise: Promise) -> PValue:
    return p_value_of(*bound_of(task, promise.against), promise.level)


def samples_to_certify(front: Sequence[Trial], p_value: PValue, promise: Promise) -> list[int | None]:
    """Of each point: about how many samples would certify it, those to choose by included; None where it is certified.

    More than those of these trials, which did not do, and no fewer than certify the points that are tested before;
    None where no number certifies one of these.
    """
    most: int | None = 0
    result: list[int | None] = []
    for one in front:
        if not one.certified and most is not None:
            found = samples_needed(p_value, one.losses, promise.max_drop, promise.level)
            most = None if found is None else max(most, _with_choosing(max(found, len(one.losses) + 1)))
        result.append(None if one.certified else most)
    return result


def _with_choosing(tested: int) -> int:
    return math.ceil(tested / (1.0 - CHOOSING_SHARE))


def _point(case: Case, tested: Trial, drop_bound: float) -> OperatingPoint:
    decisions = decide(case.signals, tested.policy)
    return OperatingPoint(
        bias=tested.policy.offsets,
        thresholds=tested.policy.thresholds,
        shares=_shares(decisions.widths, case.signals.widths),
        starts=_shares(decisions.starts, case.signals.widths),
        macs=float(decisions.costs.mean()),
        mean_ms=_mean_ms(case, decisions),
        score=_score(case, decisions),
        drop=float(tested.losses.mean()),
        drop_bound=drop_bound,
        p_value=tested.p_value,
        certified=tested.certified,
    )


def _shares(indices: NDArray[np.int64], widths: int) -> tuple[float, ...]:
    return tuple((np.bincount(indices, minlength=widths) / len(indices)).tolist())


def _mean_ms(case: Case, decisions: Decisions) -> float:
    widths = np.arange(case.signals.widths)
    ran = (decisions.starts[:, None] <= widths) & (widths <= decisions.widths[:, None])
    return float((case.outputs.trunk_ms + (case.outputs.tail_ms * ran).sum(axis=1)).mean())


def _score(case: Case, decisions: Decisions) -> float | None:
    if case.truth is None:
        return None
    answers = answers_of(case.task, case.outputs.logits[decisions.widths, np.arange(len(case))])
    return METRICS[case.task][0].measure(answers, case.truth)
