"""Quality and compute of a bundle on labelled text or images, with torch: per width, routed, and routed at random.

An artifact is evaluated by `sharcs_edge_runtime.evaluate`, through the runtime that ships; the rows are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerFast

from sharcs_edge.bundle import PROCESSOR_FILES, Bundle, Modality
from sharcs_edge.data import ImageSplit, Split
from sharcs_edge.errors import BundleError, UsageError
from sharcs_edge.model.configuration import SharcsEncoderConfig
from sharcs_edge.train.escalation import policy_rows
from sharcs_edge.train.metrics import run_all_widths
from sharcs_edge.train.processing import Processor, encode, load_processor
from sharcs_edge.train.tasks import make_task
from sharcs_edge_runtime.evaluate import Agreement, EvaluationRow
from sharcs_edge_runtime.manifest import TaskName


@dataclass(frozen=True)
class BundleEvaluation:
    """The result of :func:`evaluate_bundle`; ``rows`` hold no milliseconds, which only an artifact has.

    ``samples``: how many texts or images, as ``modality`` says. ``agreement``: of the routed answers with those of the
    full width.
    """

    bundle: str
    task: TaskName
    modality: Modality
    samples: int
    mean_tokens: float
    agreement: Agreement
    rows: tuple[EvaluationRow, ...]

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON values; ``texts`` or ``images`` is their number."""
        plain = {key: value for key, value in asdict(self).items() if key not in ("samples", "agreement", "rows")}
        return {
            **plain,
            f"{self.modality}s": self.samples,
            **self.agreement.to_dict(),
            "rows": [row.to_dict() for row in self.rows],
        }


def evaluate_bundle(bundle: Bundle, split: Split | ImageSplit) -> BundleEvaluation:
    """Answers every text or image at every width.

    Raises:
        BundleError: damaged weights, tokenizer or image processor.
        DataError: an image cannot be read.
    """
    model, task = bundle.load_model(), bundle.info.task
    processor = _processor(bundle, model.config)
    data = encode(split, processor, model.config, bundle.info.labels, bundle.info.max_length, make_task(task))
    outputs = run_all_widths(model, data)
    routes = outputs.routes()
    summary = outputs.summary(routes)

    def scores(prefix: str = "") -> dict[str, Any]:
        return {name: summary[f"{prefix}{name}"] for name in outputs.task.metrics}

    rows = []
    for index, (width, share, macs) in enumerate(
        zip(model.slices, summary["shares"], summary["mean_macs"], strict=True)
    ):
        name = "full" if width.width == 1 else f"w={width.width:.3g}"
        found = {metric: values[index] for metric, values in scores().items()}
        rows.append(_row(name, width.width, share, found, macs))
    random_macs = float(np.dot(summary["shares"], summary["mean_macs"]))
    rows.append(_row("routed", None, None, scores("routed_"), summary["routed_macs"]))
    rows.append(_row("random", None, None, scores("random_"), random_macs, estimated=True))
    for name, found, macs in policy_rows(outputs, bundle.record.get("policies", ())):
        rows.append(_row(name, None, None, found, macs))
    routed = outputs.answers[routes, np.arange(len(split))]
    return BundleEvaluation(
        bundle=str(bundle.path),
        task=task,
        modality=bundle.info.modality,
        samples=len(split),
        mean_tokens=float(data.lengths.mean()),
        agreement=Agreement.of(task, routed, outputs.answers[-1]),
        rows=tuple(rows),
    )


def _processor(bundle: Bundle, config: SharcsEncoderConfig) -> Processor:
    try:
        if bundle.info.modality == "image":
            return load_processor(bundle.path, str(bundle.path), config)
        tokenizer: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(bundle.path)
    except (OSError, ValueError, UsageError) as error:
        file = PROCESSOR_FILES[bundle.info.modality]
        raise BundleError(f"cannot read {file} of {bundle.path}: {error}; train again") from error
    return tokenizer


def _row(
    name: str,
    width: float | None,
    share: float | None,
    scores: Mapping[str, float],
    macs: float,
    estimated: bool = False,
) -> EvaluationRow:
    return EvaluationRow(name, width, share, scores, macs, None, None, None, estimated)
