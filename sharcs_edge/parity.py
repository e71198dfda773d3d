"""Does an artifact answer as torch does? Golden rows with torch's answers, checked by the runtime that ships."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from sharcs_edge.bundle import Bundle, BundleExample, LabelScale
from sharcs_edge.config import WidthSlice
from sharcs_edge.errors import ExportError, InputError, ParityError
from sharcs_edge_runtime.artifact import Artifact
from sharcs_edge_runtime.golden import Golden
from sharcs_edge_runtime.manifest import Tolerance
from sharcs_edge_runtime.session import Session
from sharcs_edge_runtime.tokenization import Text, TextEncoder, TokenBatch
from sharcs_edge_runtime.verify import VerifyReport, verify

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sharcs_edge.model.encoder import SharcsForSequenceClassification

GOLDEN_ROWS = 64
_MAX_CHARACTERS = 4000  # the file holds texts in cells of one size
_ROWS_AT_ONCE = 8


_FLOAT_TOLERANCE = Tolerance(logits=1e-4, label_agreement=1.0, route_agreement=1.0)
# docs/adr/0005-onnx-opset-and-ir.md has the measurements behind these three.
_INT8_SHARE_OF_LARGEST_LOGIT = 0.15
_INT8_LABEL_AGREEMENT = 0.9
_INT8_ROUTE_AGREEMENT = 0.9


def tolerance_of(recipe: str, golden: Golden, scale: LabelScale | None = None) -> Tolerance:
    """What an artifact of this recipe (`Preset.recipe`) must meet on these rows, at export and on every device.

    ``scale``: of a regression, whose answers are judged in standard deviations of its labels.

    float32 may differ in the order of sums alone. int8 noise grows with the logits, and so does its limit: above what a
    sound artifact shows, below what a wrong kernel does. Where torch's own decision was closer than that noise it may
    fall otherwise; more than one row in ten may not.
    """
    if recipe == "none":
        if scale is None:
            return _FLOAT_TOLERANCE
        # The mean of the labels is added last, in float32: where it is large, its rounding outweighs the rest.
        rounding = float(np.abs(golden.logits).max() * np.finfo(np.float32).eps)
        return replace(_FLOAT_TOLERANCE, logits=_FLOAT_TOLERANCE.logits * scale.std + rounding)
    # Answers of a regression lie closer together than its labels, which usually reach two standard deviations.
    mean, unit, least = (0.0, 1.0, 1.0) if scale is None else (scale.mean, scale.std, 2.0)
    largest = max(least, float(np.abs(golden.logits - mean).max()) / unit)
    limit = float(f"{_INT8_SHARE_OF_LARGEST_LOGIT * largest * unit:.2g}")
    return Tolerance(limit, _INT8_LABEL_AGREEMENT, _INT8_ROUTE_AGREEMENT)


def golden_rows(
    bundle: Bundle, model: SharcsForSequenceClassification, encoder: TextEncoder, widths: Sequence[WidthSlice]
) -> Golden:
    """The bundle's first 64 examples with torch's answers at ``widths``.

    Tokens are the runtime's own, padded together; padding changes no answer of torch.

    Raises:
        ExportError: the bundle has no example, or one that the tokenizer refuses.
    """
    texts = [_parts(example) for example in bundle.examples[:GOLDEN_ROWS]]
    if not texts:
        raise ExportError(f"{bundle.path} holds no examples to check the artifact with; train again with dev rows")
    try:
        encoded = [encoder.encode(_as_input(parts), f"example {index}") for index, parts in enumerate(texts)]
    except InputError as error:
        raise ExportError(f"{bundle.path}: {error}; train again without that row") from error
    tokens = encoder.batch(encoded)
    logits, router_logits = _answers(model, tokens, widths)
    return Golden(
        tokens=tokens,
        logits=logits,
        router_logits=router_logits,
        routes=router_logits.argmax(axis=1),  # the first of equals: the narrower
        texts=np.array(texts),
    )


def _parts(example: BundleExample) -> tuple[str, ...]:
    return tuple(part[:_MAX_CHARACTERS] for part in (example.text, example.text_pair) if part is not None)


def _as_input(parts: tuple[str, ...]) -> Text:
    return parts[0] if len(parts) == 1 else (parts[0], parts[1])


def _answers(
    model: SharcsForSequenceClassification, tokens: TokenBatch, widths: Sequence[WidthSlice]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Torch's logits (widths, rows, labels) and router logits (rows, widths)."""
    import torch

    logits, router_logits = [], []
    columns = [width.index for width in widths]
    with torch.inference_mode():
        for first in range(0, len(tokens.input_ids), _ROWS_AT_ONCE):
            ids, mask, types = (
                None if part is None else torch.from_numpy(part[first : first + _ROWS_AT_ONCE]) for part in tokens
            )
            assert ids is not None and mask is not None  # only token_type_ids may be left out
            hidden, scores = model.trunk(ids, mask, types)
            router_logits.append(scores[:, columns].numpy())
            logits.append(np.stack([model.tail(hidden, mask, width).logits.numpy() for width in widths]))
    return np.concatenate(logits, axis=1), np.concatenate(router_logits)


def check(artifact: Path, what: str) -> VerifyReport:
    """Runs the artifact's golden rows through the shipping runtime.

    Raises:
        ParityError: a limit of the manifest's tolerance is not met; the message names ``what`` and holds the numbers.
    """
    opened = Artifact.open(artifact)
    with TemporaryDirectory(prefix=".cache-", dir=artifact) as cache:
        # LiteRT would leave a cache of packed weights on this machine; ONNX Runtime makes one only where it is told to.
        report = verify(Session(opened, weight_cache=cache if opened.manifest.backend == "tflite" else None))
    if not report.passed:
        raise ParityError(f"{what} failed parity with torch: {'; '.join(report.failures)}")
    return report
