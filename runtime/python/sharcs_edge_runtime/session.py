"""Session: an artifact loaded once, predictions for texts."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from sharcs_edge_runtime.artifact import Artifact
from sharcs_edge_runtime.errors import ArtifactError, InputError
from sharcs_edge_runtime.manifest import Manifest, find_width
from sharcs_edge_runtime.onnx_backend import OnnxGraph, Pool
from sharcs_edge_runtime.policy import Budget, Reason, Route, RoutePolicy, require_count
from sharcs_edge_runtime.tokenization import EncodedText, Text, TextEncoder, TokenBatch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The answer for one input. What the manifest's task does not have is None.

    Classification: `label`, its probability `score`, and `scores`, the softmax over the manifest's labels in their
    order. Multi-label: `labels`, those that hold (maybe none), and `scores`, the probability of each label. Regression:
    `value`, in the unit of the training labels.

    `width` and `reason`: the route. `milliseconds`: wall time with tokenization (see `Session.predict_batch` for its
    meaning in a batch). `tokens`: those processed, special tokens included; `truncated`: the text was longer and was
    cut.
    """

    label: str | None = None
    score: float | None = None
    labels: tuple[str, ...] | None = None
    value: float | None = None
    width: float
    reason: Reason
    milliseconds: float
    scores: tuple[float, ...] | None = None
    tokens: int
    truncated: bool

    def to_dict(self) -> dict[str, Any]:
        """The fields that the task has, as plain JSON values."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if value is not None
        }


class _Row(NamedTuple):
    """What was computed for one input. `answer`: the fields of `Prediction` that follow from the logits."""

    route: Route
    answer: dict[str, Any]
    seconds: float


class Session:
    """An artifact ready to answer. Immutable after `load` and safe to share between threads.

    A text that runs alone is not padded. An int8 graph scales its activations over all rows of a batch, so logits from
    `predict_batch` may differ a little from those of `predict`, and a close decision may fall otherwise.
    """

    def __init__(self, artifact: Artifact, *, threads: int = 1, budget: Budget | None = None) -> None:
        """Load the graphs and the tokenizer of an opened artifact; `load` opens and loads in one step."""
        require_count("threads", threads)
        manifest = artifact.manifest
        self.artifact = artifact
        self.manifest: Manifest = manifest
        self.threads = threads
        self.budget = budget or Budget()
        self._policy = RoutePolicy(manifest.widths)
        self._policy.allowed(self.budget)
        self.encoder = TextEncoder(artifact.tokenizer_file, manifest.tokenizer, manifest.text_inputs)
        self._trunk = OnnxGraph(manifest.trunk, artifact.file(manifest.trunk), threads)
        tails = (manifest.tail(width) for width in manifest.widths)
        self._tails = tuple(OnnxGraph(tail, artifact.file(tail), threads) for tail in tails)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        threads: int = 1,
        budget: Budget | None = None,
        verify_hashes: bool = True,
    ) -> Session:
        """Open an artifact folder and load it.

        `threads`: that compute one prediction, the caller's included. `budget`: the default of every prediction.
        Raises ArtifactError (missing, damaged or unreadable), UsageError (threads), WidthError (budget).
        """
        return cls(Artifact.open(path, verify_hashes), threads=threads, budget=budget)

    @property
    def widths(self) -> tuple[float, ...]:
        """The artifact's widths, ascending."""
        return self.manifest.widths

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of `Prediction.scores`; of a regression, the name of its value."""
        return self.manifest.labels

    @property
    def thread_pool(self) -> Pool:
        """Whose workers compute: "none" (the caller's thread alone), "own" (per graph), "process" (shared)."""
        return self._trunk.pool

    def predict(self, text: Text, *, budget: Budget | None = None) -> Prediction:
        """Answer one text, or one (text, pair) where the manifest's `text_inputs` is 2.

        Raises InputError for anything else, WidthError for a budget that no width satisfies.
        """
        start = perf_counter()
        encoded = self.encoder.encode(text)
        tokens = self.encoder.batch((encoded,))
        hidden, router_logits = self.run_trunk(tokens)
        route = self._policy.choose(router_logits[0], self.budget if budget is None else budget)
        logits = self._run_tail(route.index, hidden, tokens.attention_mask)
        answer = self._answer(route.index, logits[0])
        return self._prediction(encoded, _Row(route, answer, perf_counter() - start))

    def predict_batch(
        self, texts: Iterable[Text], *, batch_size: int = 32, budget: Budget | None = None
    ) -> list[Prediction]:
        """Answer many texts, in their order. All are tokenized and checked before the first is computed.

        Rows of like length share a trunk run of at most `batch_size`; its rows are then grouped by width for the tails.
        A prediction's `milliseconds` is its own tokenization plus an equal share of each run that it was part of.
        Raises InputError naming the index of the first bad text.
        """
        if isinstance(texts, (str, bytes)):
            raise InputError("predict_batch takes a list of texts, got one str; use predict, or put it into a list")
        require_count("batch_size", batch_size)
        budget = self.budget if budget is None else budget
        self._policy.allowed(budget)
        encoded: list[EncodedText] = []
        seconds: list[float] = []
        for index, text in enumerate(texts):
            start = perf_counter()
            encoded.append(self.encoder.encode(text, f"text {index} of the batch"))
            seconds.append(perf_counter() - start)
        order = sorted(range(len(encoded)), key=lambda index: len(encoded[index]))
        results: dict[int, Prediction] = {}
        for first in range(0, len(order), batch_size):
            chunk = order[first : first + batch_size]
            for index, row in zip(chunk, self._run_chunk([encoded[i] for i in chunk], budget), strict=True):
                results[index] = self._prediction(encoded[index], row._replace(seconds=row.seconds + seconds[index]))
        return [results[index] for index in range(len(encoded))]

    def encode(self, texts: Sequence[Text]) -> TokenBatch:
        """Token ids of some texts (at least one), right padded to the longest: each int64 (batch, tokens)."""
        if not texts:
            raise InputError("there are no texts to encode; give at least one")
        return self.encoder.batch(
            [self.encoder.encode(text, f"text {index} of the batch") for index, text in enumerate(texts)]
        )

    def run_trunk(self, tokens: TokenBatch) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Hidden (batch, tokens, hidden_size) and router logits (batch, widths), both float32."""
        feeds = {"input_ids": tokens.input_ids, "attention_mask": tokens.attention_mask}
        if tokens.token_type_ids is not None:
            feeds["token_type_ids"] = tokens.token_type_ids
        hidden, router_logits = self._trunk.run(feeds)
        return hidden, router_logits

    def run_tail(
        self, width: float, hidden: NDArray[np.float32], attention_mask: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Logits (batch, labels) of one width, from the trunk's hidden states. Raises WidthError for another width."""
        return self._run_tail(find_width(self.widths, width), hidden, attention_mask)

    def _run_tail(
        self, index: int, hidden: NDArray[np.float32], attention_mask: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        return self._tails[index].run({"hidden": hidden, "attention_mask": attention_mask})[0]

    def _run_chunk(self, rows: Sequence[EncodedText], budget: Budget) -> list[_Row]:
        """One trunk run over all rows, one tail run per width that they chose."""
        start = perf_counter()
        tokens = self.encoder.batch(rows)
        hidden, router_logits = self.run_trunk(tokens)
        routes = [self._policy.choose(logits, budget) for logits in router_logits]
        trunk_share = (perf_counter() - start) / len(rows)
        done: dict[int, _Row] = {}
        for index in sorted({route.index for route in routes}):
            start = perf_counter()
            group = [row for row, route in enumerate(routes) if route.index == index]
            longest = max(len(rows[row]) for row in group)
            logits = self._run_tail(index, hidden[group, :longest], tokens.attention_mask[group, :longest])
            answers = [self._answer(index, row_logits) for row_logits in logits]
            share = trunk_share + (perf_counter() - start) / len(group)
            for row, answer in zip(group, answers, strict=True):
                done[row] = _Row(routes[row], answer, share)
        return [done[row] for row in range(len(rows))]

    def _answer(self, index: int, logits: NDArray[np.float32]) -> dict[str, Any]:
        """What the logits (labels,) of a tail mean; probabilities in binary64 (SPEC.md, section 8)."""
        values: list[float] = logits.tolist()
        if not all(map(math.isfinite, values)):
            raise ArtifactError(
                f"{self._tails[index].name} gave logits that are not finite: the artifact is damaged or does not run "
                "on this machine; run `python -m sharcs_edge_runtime.verify` on it"
            )
        if self.manifest.task == "regression":
            return {"value": values[0]}
        if self.manifest.task == "multi_label":
            holds = tuple(label for label, value in zip(self.labels, values, strict=True) if value >= 0)
            return {"labels": holds, "scores": tuple(map(_sigmoid, values))}
        top = max(values)
        powers = [math.exp(value - top) for value in values]
        total = math.fsum(powers)
        scores = tuple([power / total for power in powers])
        best = values.index(top)  # the first of equals
        return {"label": self.labels[best], "score": scores[best], "scores": scores}

    def _prediction(self, encoded: EncodedText, row: _Row) -> Prediction:
        return Prediction(
            **row.answer,
            width=row.route.width,
            reason=row.route.reason,
            milliseconds=row.seconds * 1000.0,
            tokens=len(encoded),
            truncated=encoded.truncated,
        )


def _sigmoid(value: float) -> float:
    """1 / (1 + e^-x), without overflow for large negative x."""
    power = math.exp(-abs(value))
    return (1.0 if value >= 0 else power) / (1.0 + power)
