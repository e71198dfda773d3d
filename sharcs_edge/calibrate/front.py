"""Which policies calibration tests: chosen on some of the samples, which no test looks at then.

Every test comes after a choice, and the best of thousands of settings looks better than it is. So the samples are
divided at random: some to choose by, the rest to test on ("Pareto testing", Laufer-Goldshtein et al. 2023, arXiv
2210.07913).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sharcs_edge.routing.answers import Floats
from sharcs_edge.routing.policy import Policy, Signals, decide
from sharcs_edge.routing.search import CANDIDATES, best_policies, constant_offsets

CHOOSING_SHARE: Final = 0.2
FRONT_SIZE: Final = 24
# Few samples cannot tell apart the many settings that lose nothing on them. What makes one of those safer is that it
# keeps the surer answers: so an answer of a narrow width counts a little less the less sure it is.
_DOUBT = 0.1


def divide(samples: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to choose by and rows to test on, at least one each of two or more, the same ones every time.

    There is no seed to give: trying seeds until one gives the wanted answer would void the promise.
    """
    order = np.random.default_rng(0).permutation(samples)
    count = max(1, round(CHOOSING_SHARE * samples))
    return order[:count], order[count:]


def choose_front(
    signals: Signals,
    quality: Floats,
    agreement: Floats,
    *,
    priced: Signals | None = None,
    size: int = FRONT_SIZE,
    candidates: int = CANDIDATES,
) -> list[Policy]:
    """At most ``size`` policies, the dearest first, which lose less: the best one on these samples within each of as
    many budgets from the cheapest width's cost to the full one's, which is not among them.

    The best one has the highest sum of quality and agreement with the full width's answers. By quality alone few
    samples favour a policy whose luck makes up for its losses; answers that agree neither lose nor depend on luck, and
    such a policy takes fewer samples to certify (docs/adr/0010-bounds-of-calibration.md has figures).

    A narrow tail takes more time than its multiply-accumulates say, so that of two policies the faster one may have
    more of them; then it is left out, and so is one that has no fewer than the full width: points ascend in both.

    Args:
        signals: of the samples, at their multiply-accumulates.
        quality: (widths, samples), what the promise is about.
        agreement: (widths, samples).
        priced: the signals at the cost that the budgets are of; multiply-accumulates if None.
        size: how many budgets.
        candidates: how many policies to try, as `best_policies` has it.
    """
    priced = priced or signals
    cheapest = float((priced.trunk_cost[:, None] + priced.tail_cost).mean(axis=0).min())
    if cheapest == priced.full_cost:
        return []
    budgets = np.linspace(cheapest * (1 + 1e-9), priced.full_cost, size + 1)[:-1].tolist()
    worth = quality.astype(np.float64) + agreement
    worth[:-1] -= _DOUBT * (1.0 - signals.confidence[:-1])
    found = best_policies(priced, worth, budgets, candidates=candidates)
    front: list[Policy] = []
    fewest = signals.full_cost
    for policy in reversed(found):
        macs = fewest if policy is None else float(decide(signals, policy).costs.mean())
        if policy is not None and macs < fewest:
            front.append(policy)
            fewest = macs
    return front


def full_width(widths: int) -> Policy:
    """Every sample is answered by the full width alone."""
    return Policy(constant_offsets(widths - 1, widths), (0.0,) * (widths - 1))
