"""What training and calibration simulate over arrays is what the runtime decides, input by input."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sharcs_edge.routing.policy import Policy
from sharcs_edge.train.escalation import decide
from sharcs_edge.train.metrics import SplitOutputs
from sharcs_edge.train.tasks import make_task
from sharcs_edge_runtime.answers import Outcome, read_outcome
from sharcs_edge_runtime.controller import Controller
from sharcs_edge_runtime.keeper import Allowance
from sharcs_edge_runtime.manifest import TaskName
from sharcs_edge_runtime.policy import Escalation

SAMPLES = 20
TAIL_MACS = np.array([[100, 250, 500, 1000]])


def random_outputs(task: TaskName, widths: int, seed: int) -> SplitOutputs:
    """Float32 values, as a graph gives them, held in float64, in which the runtime computes confidence."""
    draw = np.random.default_rng(seed)
    labels: NDArray[Any] = draw.integers(0, 3, SAMPLES)
    if task == "multi_label":
        labels = draw.integers(0, 2, (SAMPLES, 3)).astype(np.float32)
    elif task == "regression":
        labels = draw.normal(size=SAMPLES).astype(np.float32)
    logits = draw.normal(0, 2, (widths, SAMPLES, 1 if task == "regression" else 3)).astype(np.float32)
    return SplitOutputs(
        logits=logits.astype(np.float64),
        router_logits=draw.normal(size=(SAMPLES, widths)).astype(np.float32),
        labels=labels,
        trunk_macs=np.full(SAMPLES, 10),
        tail_macs=np.repeat(TAIL_MACS[:, :widths], SAMPLES, axis=0),
        task=make_task(task),
    )


def run(outputs: SplitOutputs, task: TaskName, policy: Policy, row: int) -> list[int]:
    """The tails that the runtime runs for one input."""
    allowance = Allowance(
        first=0,
        last=len(outputs.logits) - 1,
        ceiling="max_width",
        explicit=False,
        point=0,
        bias=tuple(np.asarray(policy.offsets, dtype=np.float32).tolist()),
        thresholds=policy.thresholds,
        deadline_ms=None,
        memory_mb=None,
        target_ms=None,
        promised=False,
        controller=Controller(),
    )
    way = Escalation(outputs.router_logits[row].tolist(), allowance, None)
    scale = float(outputs.labels.std()) if task == "regression" else None
    outcome: Outcome | None = None
    while True:
        outcome = read_outcome(task, outputs.logits[way.index, row].tolist(), outcome, scale)
        if not way.goes_on(outcome.confidence):
            return way.ran


@settings(deadline=None, max_examples=60)
@given(
    task=st.sampled_from(("classification", "multi_label", "regression")),
    widths=st.integers(1, 4),
    seed=st.integers(0, 10**6),
    offsets=st.lists(st.floats(-2, 2) | st.sampled_from((0.0, 1e6, -1e6)), min_size=4, max_size=4),
    # Not on a confidence: numpy's exponential differs from the C library's in the last bit.
    thresholds=st.lists(st.floats(0.01, 0.99) | st.sampled_from((0.0, 1.5)), min_size=3, max_size=3),
)
def test_the_runtime_runs_the_tails_that_were_simulated(
    task: TaskName, widths: int, seed: int, offsets: list[float], thresholds: list[float]
) -> None:
    outputs = random_outputs(task, widths, seed)
    policy = Policy(tuple(offsets[:widths]), tuple(thresholds[: widths - 1]))
    decisions = decide(outputs, policy)
    for row in range(SAMPLES):
        ran = run(outputs, task, policy, row)
        assert (ran[0], ran[-1]) == (decisions.starts[row], decisions.widths[row])
        assert ran == list(range(ran[0], ran[-1] + 1))
        assert decisions.costs[row] == 10 + TAIL_MACS[0, ran].sum()
