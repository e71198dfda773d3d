"""Accuracy and compute of a bundle on labelled text, with torch: per width, routed, and routed at random.

An artifact is evaluated by `sharcs_edge_runtime.evaluate`, through the runtime that ships; the rows are the same.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerFast

from sharcs_edge.bundle import Bundle
from sharcs_edge.data import Split
from sharcs_edge.errors import BundleError
from sharcs_edge.train.dataset import TokenizedSplit
from sharcs_edge.train.metrics import run_all_widths
from sharcs_edge_runtime.evaluate import EvaluationRow


@dataclass(frozen=True)
class BundleEvaluation:
    """The result of :func:`evaluate_bundle`; ``rows`` hold no milliseconds, which only an artifact has.

    ``agreement``: share of texts (0..1) whose routed label is that of the full width.
    """

    bundle: str
    texts: int
    mean_tokens: float
    agreement: float
    rows: tuple[EvaluationRow, ...]

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON values."""
        return {**asdict(self), "rows": [asdict(row) for row in self.rows]}


def evaluate_bundle(bundle: Bundle, split: Split) -> BundleEvaluation:
    """Answers every text at every width.

    Raises:
        BundleError: damaged weights or tokenizer.
    """
    model = bundle.load_model()
    try:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(bundle.path)
    except (OSError, ValueError) as error:
        raise BundleError(f"cannot read the tokenizer of {bundle.path}: {error}; train again") from error
    data = TokenizedSplit.encode(
        split, bundle.info.labels, tokenizer, bundle.info.max_length, model.config.uses_token_types
    )
    outputs = run_all_widths(model, data, model.config.pad_token_id or 0)
    routes = outputs.routes()
    summary = outputs.summary(routes)
    answers = outputs.logits.argmax(-1)  # (widths, texts)
    widths = [width.width for width in model.slices]
    rows = [
        _row("full" if width == 1 else f"w={width:g}", width, share, accuracy, macs)
        for width, share, accuracy, macs in zip(
            widths, summary["shares"], summary["accuracy"], summary["mean_macs"], strict=True
        )
    ]
    random_macs = float(np.dot(summary["shares"], summary["mean_macs"]))
    rows.append(_row("routed", None, None, summary["routed_accuracy"], summary["routed_macs"]))
    rows.append(_row("random", None, None, summary["random_accuracy"], random_macs, estimated=True))
    return BundleEvaluation(
        bundle=str(bundle.path),
        texts=len(split),
        mean_tokens=float(data.lengths.mean()),
        agreement=float((answers[routes, np.arange(len(split))] == answers[-1]).mean()),
        rows=tuple(rows),
    )


def _row(
    name: str, width: float | None, share: float | None, accuracy: float, macs: float, estimated: bool = False
) -> EvaluationRow:
    return EvaluationRow(name, width, share, accuracy, macs, None, None, None, estimated)
