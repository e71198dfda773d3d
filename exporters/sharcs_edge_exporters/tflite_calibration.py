"""Ranges of the activations of TFLite graphs, seen on calibration texts by ai-edge-quantizer.

docs/adr/0018-static-activation-scales.md has the measurements.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stderr
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer.calibrator import Calibrator
from ai_edge_quantizer.recipe_manager import RecipeManager
from ai_edge_quantizer.utils.qsv_utils import min_max_update
from numpy.typing import NDArray

from sharcs_edge_exporters.base import GraphPlan
from sharcs_edge_exporters.flatbuffer import twin_tensors
from sharcs_edge_runtime.backend import signature_name, smallest_bucket
from sharcs_edge_runtime.tokenization import TokenBatch

Feeds = dict[str, NDArray[Any]]


def activation_ranges(
    file: Path, graphs: Sequence[GraphPlan], rows: Iterable[TokenBatch], recipe: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The smallest and the largest number in each tensor that ``recipe`` asks for, by name, over all ``rows``.

    Each row runs in its bucket; what was seen holds for all buckets of a graph, so that an answer does not depend on
    the bucket, and biases, which are integers of the scales' size, are stored once.
    """
    manager = RecipeManager()
    manager.load_quantization_recipe(list(recipe))
    # One thread: sums in one order, so that equal modules give equal bytes. Usually ranges are moving averages, which
    # cut the outliers off that encoders compute with.
    calibrator = Calibrator(str(file), num_threads=1, qsv_update_func=min_max_update)
    with redirect_stderr(io.StringIO()):  # a progress bar without a switch
        calibrator.calibrate(_samples(file, graphs, rows), manager)
    ranges: dict[str, Any] = calibrator.get_model_qsvs()
    for plan in graphs:
        assert plan.buckets is not None  # fixed lengths
        for names in twin_tensors(file, [signature_name(plan.name, bucket) for bucket in plan.buckets]):
            seen = [ranges[name] for name in names if ranges.get(name)]
            if seen:
                ranges |= dict.fromkeys(names, reduce(min_max_update, seen))
    return ranges


def _samples(file: Path, graphs: Sequence[GraphPlan], rows: Iterable[TokenBatch]) -> dict[str, list[Feeds]]:
    """What each signature is given, in the order of the rows; the tails get what the float32 trunk makes."""
    (trunk,) = (plan for plan in graphs if plan.role == "trunk")
    assert trunk.buckets is not None  # fixed lengths
    interpreter = Interpreter(str(file), num_threads=1)
    samples: dict[str, list[Feeds]] = {}
    for row in rows:
        bucket = smallest_bucket(trunk.buckets, row.input_ids.shape[1])
        name = signature_name(trunk.name, bucket)
        feeds = _fit(row, trunk, bucket)
        hidden = interpreter.get_signature_runner(name)(**feeds)["hidden"]
        samples.setdefault(name, []).append(feeds)
        for tail in (plan for plan in graphs if plan.role == "tail"):
            inputs = {"hidden": hidden, "attention_mask": feeds["attention_mask"]}
            samples.setdefault(signature_name(tail.name, bucket), []).append(inputs)
    return samples


def _fit(row: TokenBatch, trunk: GraphPlan, bucket: int) -> Feeds:
    """(1, tokens) -> (1, bucket), as the trunk takes it."""
    arrays = {spec: row._asdict()[spec.name] for spec in trunk.inputs}
    return {
        spec.name: np.pad(array, ((0, 0), (0, bucket - array.shape[1]))).astype(spec.dtype)
        for spec, array in arrays.items()
    }
