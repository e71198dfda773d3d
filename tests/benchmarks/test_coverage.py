"""The coverage benchmark on known answers: what it counts as broken, and the sample sizes that it prints."""

from __future__ import annotations

import numpy as np

from benchmarks.coverage import ROWS, Population, bounds_table, measured
from sharcs_edge.calibrate.case import Case, Promise
from sharcs_edge.calibrate.collect import Outputs
from sharcs_edge.routing.policy import Policy


def population(lost: float) -> Population:
    """2,000 samples, two widths; the narrow one answers this share otherwise, whatever its confidence."""
    draw = np.random.default_rng(0)
    logits = np.zeros((2, 2000, 2), dtype=np.float32)
    other = (draw.random(2000) < lost).astype(int)
    logits[0, np.arange(2000), other] = draw.uniform(0.1, 3, 2000)
    logits[1, :, 0] = 1.0
    tails = np.tile([[10, 30]], (2000, 1))
    macs, ms = np.full(2000, 5), np.full(2000, 0.5)
    router = draw.normal(size=(2000, 2)).astype(np.float32)
    return Population(
        Case.of("classification", Outputs(logits, router, macs, tails, ms, tails / 10, macs), None, "full")
    )


def test_what_a_policy_really_loses_and_costs() -> None:
    narrow, full = Policy((1e6, 0.0), (0.0,)), Policy((0.0, 1e6), (0.0,))
    known = population(0.2)
    assert known.truth(full) == (0.0, 1.0)
    drop, cost = known.truth(narrow)
    assert abs(drop - 0.2) < 0.03
    assert cost == 15 / 35


def test_every_way_to_certify_is_measured() -> None:
    found = measured(population(0.0), Promise(0.05, 0.95, "full"), 200, 4, candidates=50)
    assert found.keys() == ROWS.keys()
    for one in found.values():  # nothing is lost anywhere, so that the narrow width alone is certified
        assert (one.broken, one.useful, round(one.cost, 6)) == (0.0, 1.0, round(15 / 35, 6))
    assert all(one.useful < 1 for one in measured(population(0.9), Promise(0.05, 0.95, "full"), 60, 4, 50).values())


def test_sample_sizes_by_bound() -> None:
    rows = [line.split(" | ") for line in bounds_table([0.01], 0.95).splitlines()[2:]]
    assert rows[0][3] == "299"  # ln(.05) / ln(.99) = 298.1
    assert rows[-1][3] == "-"  # 20 lost answers of 1,000 are too many, whatever is won beside them
