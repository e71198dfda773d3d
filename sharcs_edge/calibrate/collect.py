"""What every width of an artifact answers on every text, through the runtime that ships, and how long it takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from sharcs_edge.errors import ArtifactError
from sharcs_edge_runtime.session import Session
from sharcs_edge_runtime.tokenization import EncodedText, Text


@dataclass(frozen=True)
class Outputs:
    """Of every text, run alone, as `Session.predict` does it.

    Attributes:
        logits: (widths, texts, labels), float32.
        router_logits: (texts, widths), float32.
        trunk_macs: (texts,) multiply-accumulates; `tail_macs`: (texts, widths).
        trunk_ms: (texts,) milliseconds of the trunk and of the tokens; `tail_ms`: (texts, widths).
        tokens: (texts,) how many each text has.
    """

    logits: NDArray[np.float32]
    router_logits: NDArray[np.float32]
    trunk_macs: NDArray[np.int64]
    tail_macs: NDArray[np.int64]
    trunk_ms: NDArray[np.float64]
    tail_ms: NDArray[np.float64]
    tokens: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> Outputs:
        """These texts alone, in this order."""
        return Outputs(
            self.logits[:, rows],
            self.router_logits[rows],
            self.trunk_macs[rows],
            self.tail_macs[rows],
            self.trunk_ms[rows],
            self.tail_ms[rows],
            self.tokens[rows],
        )


def collect(session: Session, texts: Sequence[Text], *, progress: Callable[[int, int], None] | None = None) -> Outputs:
    """Runs the trunk and all tails on each text. ``progress`` is called with (texts done, texts) after each.

    Raises:
        InputError: a text that cannot be answered, named by its index, before anything is run.
        ArtifactError: results that are not finite.
    """
    manifest, widths, count = session.manifest, session.widths, len(texts)
    encoded: list[EncodedText] = []
    trunk_ms = np.empty(count)
    for index, text in enumerate(texts):
        start = perf_counter()
        encoded.append(session.encoder.encode(text, f"text {index}"))
        trunk_ms[index] = (perf_counter() - start) * 1000.0
    lengths = np.array([len(one) for one in encoded])
    logits = np.empty((len(widths), count, len(manifest.labels)), dtype=np.float32)
    router_logits = np.empty((count, len(widths)), dtype=np.float32)
    tail_ms = np.empty((count, len(widths)))
    for _ in range(2):  # the first run of a graph pays for its memory
        _run(session, encoded[0])
    for index, one in enumerate(encoded):
        router_logits[index], logits[:, index], seconds = _run(session, one)
        trunk_ms[index] += seconds[0] * 1000.0
        tail_ms[index] = np.array(seconds[1:]) * 1000.0
        if progress is not None:
            progress(index + 1, count)
    if not (np.isfinite(logits).all() and np.isfinite(router_logits).all()):
        raise ArtifactError(
            f"{session.artifact.path} gave results that are not finite: it is damaged or does not run on this "
            "machine; run `sharcs-edge verify` on it"
        )
    tails = [manifest.tail(width).macs for width in widths]
    return Outputs(
        logits,
        router_logits,
        trunk_macs=np.array([manifest.trunk.macs.count(length) for length in lengths.tolist()]),
        tail_macs=np.array([[tail.count(length) for tail in tails] for length in lengths.tolist()]),
        trunk_ms=trunk_ms,
        tail_ms=tail_ms,
        tokens=lengths,
    )


def _run(session: Session, text: EncodedText) -> tuple[NDArray[np.float32], NDArray[np.float32], list[float]]:
    """Router logits (widths,), logits (widths, labels), and the seconds of the trunk and of each tail."""
    marks = [perf_counter()]
    tokens = session.encoder.batch((text,))
    hidden, router_logits = session.run_trunk(tokens)
    marks.append(perf_counter())
    answers = []
    for width in session.widths:
        answers.append(session.run_tail(width, hidden, tokens.attention_mask)[0])
        marks.append(perf_counter())
    return router_logits[0], np.stack(answers), np.diff(marks).tolist()
