"""How good an answer is, and how sure it is of itself, from logits alone: needs no torch.

Shapes: ``logits`` (..., samples, outputs), one output per label, one alone for regression. ``labels``: classification,
class index (samples,); multi-label, whether each label holds (samples, labels), booleans or 0 and 1; regression, value
(samples,), in the unit of the logits.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sharcs_edge_runtime.manifest import TaskName

Floats = NDArray[np.floating[Any]]
DEFAULT_TOLERANCE: Final = 0.1


def quality(
    task: TaskName, logits: Floats, labels: NDArray[Any], tolerance: float = DEFAULT_TOLERANCE, scale: float = 1.0
) -> Floats:
    """(..., samples) in [0, 1]: how good each answer is by itself.

    Classification: 1 or 0, right or wrong. Multi-label: F1 of each sample's labels, 1 where none holds and none is
    given; not exact match, since with many labels hardly any answer is exact, and one that finds more of them is
    better. Regression: 1 up to an error of ``tolerance``, then e^-x at an error of x more, both in units of ``scale``.
    """
    if task == "classification":
        return np.asarray(logits.argmax(-1) == labels, dtype=np.float32)
    if task == "regression":
        excess = np.abs(logits[..., 0] - labels) / scale - tolerance
        return np.asarray(np.exp(-np.maximum(excess, 0.0)))
    given, truth = logits >= 0, labels > 0.5
    named = given.sum(-1) + truth.sum(-1)
    return np.where(named > 0, 2.0 * (given & truth).sum(-1) / np.maximum(named, 1), 1.0).astype(np.float32)


def answer_confidence(task: TaskName, logits: Floats) -> Floats | None:
    """(..., samples) in [0, 1]: how sure each answer is of itself, as runtime/SPEC.md defines it; None for regression,
    where one number cannot tell.

    Classification: the largest probability. Multi-label: that of the given state of the label that is least sure; the
    mean over labels would say little, since where few of many labels hold it stays near 1 however wrong those few are.
    """
    if task == "classification":
        powers = np.exp(logits - logits.max(-1, keepdims=True))
        return np.asarray(powers.max(-1) / powers.sum(-1))
    return None if task == "regression" else np.asarray(1.0 / (1.0 + np.exp(-np.abs(logits).min(-1))))


def agreement_confidence(values: Floats, scale: float) -> Floats:
    """(widths, samples) in [0, 1]: how close each value of a regression is to the next narrower width's, e^-x at x
    times ``scale``; 0 for the narrowest. ``values``: (widths, samples)."""
    agreement = np.zeros(values.shape)
    agreement[1:] = np.exp(-np.abs(np.diff(values, axis=0)) / max(scale, 1e-9))
    return agreement
