"""Policies on what a trained model answers: the ones that a training record keeps, and what they measure elsewhere.

What a policy is and does: `sharcs_edge.routing.policy`. Shapes as in `sharcs_edge.train.metrics`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from sharcs_edge.routing import policy as routing
from sharcs_edge.routing import search
from sharcs_edge.routing.answers import Floats, agreement_confidence
from sharcs_edge.routing.policy import Decisions, Policy, Signals
from sharcs_edge.train.metrics import SplitOutputs

RECORDED_BUDGETS = (0.2, 1 / 3, 0.5, 2 / 3)


def confidences(outputs: SplitOutputs) -> tuple[Floats, bool]:
    """(widths, samples) in [0, 1], and whether an answer is sure of itself.

    Where it cannot be (a number), it is as sure as it is close to the next narrower width's answer, e^-x at x standard
    deviations of the labels, provided that one ran too; else it is not sure at all.
    """
    own = outputs.task.answer_confidence(outputs.logits)
    if own is not None:
        return own, True
    return agreement_confidence(outputs.logits[..., 0], float(outputs.labels.std())), False


def signals(outputs: SplitOutputs) -> Signals:
    """What routing sees of a split."""
    return Signals(outputs.router_logits, *confidences(outputs), outputs.trunk_macs, outputs.tail_macs)


def decide(outputs: SplitOutputs, policy: Policy) -> Decisions:
    """Runs a policy over a split.

    Raises:
        UsageError: the policy is for another number of widths.
    """
    return routing.decide(signals(outputs), policy)


def measured(outputs: SplitOutputs, policy: Policy) -> tuple[dict[str, float], float]:
    """Every metric of the task under a policy, and the mean multiply-accumulates."""
    decisions = decide(outputs, policy)
    answers = outputs.answers[decisions.widths, np.arange(len(outputs.labels))]
    return outputs.task.scores(answers, outputs.labels), float(decisions.costs.mean())


def policies_of_record(outputs: SplitOutputs) -> list[dict[str, Any]]:
    """The best policy on these samples within each of :data:`RECORDED_BUDGETS`, as a training record keeps it: the
    budget as a share of the full width's multiply-accumulates, the policy, its scores here and their cost."""
    if len(outputs.logits) == 1:
        return []
    full = float(outputs.macs[:, -1].mean())
    records = []
    for budget, policy in zip(
        RECORDED_BUDGETS, best_policies(outputs, [share * full for share in RECORDED_BUDGETS]), strict=True
    ):
        if policy is not None:
            scores, macs = measured(outputs, policy)
            records.append(
                {"name": f"escalated {budget:.0%}", "budget": budget, **asdict(policy), "scores": scores, "macs": macs}
            )
    return records


def policy_rows(
    outputs: SplitOutputs, records: Iterable[Mapping[str, Any]]
) -> list[tuple[str, dict[str, float], float]]:
    """(name, scores, mean multiply-accumulates) of recorded policies on other samples."""
    return [
        (one["name"], *measured(outputs, Policy(tuple(one["offsets"]), tuple(one["thresholds"])))) for one in records
    ]


def best_policies(
    outputs: SplitOutputs, budgets: Sequence[float], *, use_router: bool = True, use_confidence: bool = True
) -> list[Policy | None]:
    """`sharcs_edge.routing.search.best_policies` by the task's headline metric."""
    return search.best_policies(
        signals(outputs),
        outputs.quality,
        budgets,
        score=outputs.score,
        use_router=use_router,
        use_confidence=use_confidence,
    )
