"""Session: an artifact loaded once, predictions for texts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from sharcs_edge_runtime.answers import Fields, Outcome, read_outcome
from sharcs_edge_runtime.artifact import Artifact
from sharcs_edge_runtime.backend import UNPROVEN, Engine, Hidden, Pool, open_backend
from sharcs_edge_runtime.budget import Budget
from sharcs_edge_runtime.conditions import ConditionReader
from sharcs_edge_runtime.errors import ArtifactError, InputError, ParityError
from sharcs_edge_runtime.forecast import LatencySource
from sharcs_edge_runtime.keeper import BudgetKeeper
from sharcs_edge_runtime.manifest import Manifest, find_width
from sharcs_edge_runtime.memory import GraphMemory
from sharcs_edge_runtime.operating_points import OperatingPoints
from sharcs_edge_runtime.policy import Escalation, Reason, all_finite, require_count
from sharcs_edge_runtime.tails import Tails
from sharcs_edge_runtime.tokenization import EncodedText, Text, TextEncoder, TokenBatch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sharcs_edge_runtime.keeper import Allowance


class Prediction(NamedTuple):
    """The answer for one input. What the manifest's task does not have is None.

    Attributes:
        label: of a classification; `score`: its probability.
        labels: of a multi-label artifact, those that hold, maybe none.
        value: of a regression, in the unit of the training labels.
        scores: probabilities of all labels in the manifest's order: their softmax, or for multi-label each by itself.
        confidence: of the answer, in [0, 1]; None where there is none (a value that was compared with no other).
        width: of the tail that answered.
        reason: why that one: "router", "explicit", "only_width" or "escalated", or the limit that forbade another one:
            "min_width", "max_width", "memory" or "deadline".
        ran: the widths whose tails ran, in order; the last one answered.
        point: index of the operating point that decided; None without calibration, or for an explicit width.
        budget_met: False if the input missed its deadline; if the mean cannot be held, since the cheapest operating
            point takes longer; or if a limit cut its way short, so that `max_drop` is not promised of it. None without
            a limit on time or drop.
        milliseconds: wall time with tokenization (see `Session.predict_batch` for its meaning in a batch).
        tokens: those processed, special tokens included.
        truncated: the text was longer and was cut.
    """

    label: str | None
    score: float | None
    labels: tuple[str, ...] | None
    value: float | None
    scores: tuple[float, ...] | None
    confidence: float | None
    width: float
    reason: Reason
    ran: tuple[float, ...]
    point: int | None
    budget_met: bool | None
    milliseconds: float
    tokens: int
    truncated: bool

    def to_dict(self) -> dict[str, Any]:
        """The fields that are not None, as plain JSON values."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in self._asdict().items()
            if value is not None
        }


class _Input:
    """One input on its way through the graphs.

    `seconds`: spent on it so far, of them `tokenizing` on its tokens and `loading` on tails that were not in memory.
    """

    __slots__ = ("allowance", "answer", "encoded", "escalation", "loading", "outcome", "seconds", "tokenizing")

    def __init__(self, encoded: EncodedText, allowance: Allowance, seconds: float) -> None:
        self.encoded = encoded
        self.allowance = allowance
        self.escalation: Escalation
        self.outcome: Outcome | None = None
        self.answer: Fields | None = None
        self.seconds = self.tokenizing = seconds
        self.loading = 0.0


class Session:
    """An artifact ready to answer. Safe to share between threads.

    A text that runs alone is not padded, but for TFLite graphs, which take fixed numbers of tokens. An int8 ONNX graph
    scales its activations over all rows of a batch, so logits from `predict_batch` may differ a little from those of
    `predict`, and a close decision may fall otherwise.
    """

    def __init__(
        self,
        artifact: Artifact,
        *,
        threads: int = 1,
        budget: Budget | None = None,
        calibrated: bool = True,
        engine: Engine | None = None,
        weight_cache: str | os.PathLike[str] | None = None,
    ) -> None:
        """Load the graphs and the tokenizer of an opened artifact; `load` opens and loads in one step."""
        require_count("threads", threads)
        manifest = artifact.manifest
        self.artifact = artifact
        self.manifest: Manifest = manifest
        self.threads = threads
        self.budget = budget or Budget()
        self.points = OperatingPoints.load(artifact) if calibrated else None
        self._value_scale = None if self.points is None else self.points.value_scale
        self.encoder = TextEncoder(artifact.tokenizer_file, manifest.tokenizer, manifest.text_inputs)
        start = perf_counter()
        self._backend = open_backend(artifact, threads, engine, None if weight_cache is None else Path(weight_cache))
        self._trunk = self._backend.load(manifest.trunk)
        memory = GraphMemory.of(manifest)
        self._tails = Tails(manifest, self._backend, memory, (perf_counter() - start) * 1000.0 / memory.trunk)
        self._keeper = BudgetKeeper(memory, self.points, LatencySource(self))
        if all(source.memory_mb is None for source in self.budget.sources):
            self._tails.load_all()
        self._keeper.check(self.budget)
        if self._backend.engine in UNPROVEN:
            self._prove_engine()

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        threads: int = 1,
        budget: Budget | None = None,
        verify_hashes: bool = True,
        calibrated: bool = True,
        engine: Engine | None = None,
        weight_cache: str | os.PathLike[str] | None = None,
    ) -> Session:
        """Open an artifact folder and load it.

        `threads`: that compute one prediction, the caller's included. `budget`: the default of every prediction.
        `calibrated`: use the artifact's operating points, if it has any. `engine`: the library that computes, instead
        of the usual one for the artifact's format; "tflite_runtime" is verified on the golden rows first, every time.
        `weight_cache`: folder for weights in the order that this processor likes, which then take no private memory;
        without it that of the environment variable SHARCS_EDGE_CACHE, or for LiteRT sharcs-edge in the user's cache
        folder and for ONNX Runtime none.
        Raises ArtifactError (missing, damaged or unreadable), UsageError (threads, engine, weight cache, or a budget
        that needs what the artifact lacks), WidthError (a budget that no width satisfies), MissingDependencyError (the
        engine is not installed), ParityError ("tflite_runtime" gives other answers than torch).
        """
        artifact = Artifact.open(path, verify_hashes)
        return cls(
            artifact, threads=threads, budget=budget, calibrated=calibrated, engine=engine, weight_cache=weight_cache
        )

    def _prove_engine(self) -> None:
        from sharcs_edge_runtime.verify import verify

        report = verify(self)
        if not report.passed:
            raise ParityError(
                f"the engine {self.engine} {self.engine_version} runs this artifact without an error and answers "
                f"otherwise than torch ({report.failures[0]}, and {len(report.failures) - 1} more): use "
                "ai-edge-litert, or export with --quantization none"
            )

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
        return self._backend.pool

    @property
    def engine(self) -> Engine:
        """The library that computes."""
        return self._backend.engine

    @property
    def engine_version(self) -> str:
        """Of that library."""
        return self._backend.version

    @property
    def requested_provider(self) -> str:
        """What was to compute inside that library: its execution provider or accelerator."""
        return self._backend.requested_provider

    @property
    def provider(self) -> str:
        """What computes there, as the library says."""
        return self._backend.provider

    @property
    def weight_cache(self) -> Path | None:
        """LiteRT's file of packed weights, or ONNX Runtime's folder of packed tails; None where there is none."""
        return self._backend.weight_cache

    @property
    def conditions(self) -> ConditionReader:
        """How the device is doing, for the rules of budgets; a program may push what it knows better."""
        return self._keeper.conditions

    def predict(self, text: Text, *, budget: Budget | None = None) -> Prediction:
        """Answer one text, or one (text, pair) where the manifest's `text_inputs` is 2.

        Raises InputError for anything else, UsageError (WidthError) for a budget that this artifact cannot hold.
        """
        start = perf_counter()
        encoded = self.encoder.encode(text)
        allowance = self._keeper.start(self.budget if budget is None else budget)
        tokens = self.encoder.batch((encoded,))
        one = _Input(encoded, allowance, perf_counter() - start)
        hidden, router_logits = self.run_trunk(tokens)
        one.seconds = perf_counter() - start
        self._route(one, router_logits.tolist()[0])
        while one.answer is None:
            logits, loading = self._run_tail(one.escalation.index, hidden, tokens.attention_mask, allowance.memory_mb)
            one.loading += loading
            one.seconds = perf_counter() - start
            self._hear(one, logits.tolist()[0])
        one.seconds = perf_counter() - start
        return self._prediction(one, one.answer, one.seconds - one.tokenizing - one.loading)

    def predict_batch(
        self, texts: Iterable[Text], *, batch_size: int = 32, budget: Budget | None = None
    ) -> list[Prediction]:
        """Answer many texts, in their order. All are tokenized and checked before the first is computed.

        Rows of like length share a trunk run of at most `batch_size`; its rows are then grouped by width for the tails,
        from the narrowest to the widest. A prediction's `milliseconds`, which its deadline and the mean count too, is
        its own tokenization plus an equal share of each run that it was part of.
        Raises InputError naming the index of the first bad text, and what `predict` raises for a budget.
        """
        if isinstance(texts, (str, bytes)):
            raise InputError("predict_batch takes a list of texts, got one str; use predict, or put it into a list")
        require_count("batch_size", batch_size)
        budget = self.budget if budget is None else budget
        self._keeper.check(budget)
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
            inputs = [_Input(encoded[index], self._keeper.start(budget), seconds[index]) for index in chunk]
            self._run_chunk(inputs)
            for index, one in zip(chunk, inputs, strict=True):
                assert one.answer is not None
                results[index] = self._prediction(one, one.answer)
        return [results[index] for index in range(len(encoded))]

    def encode(self, texts: Sequence[Text]) -> TokenBatch:
        """Token ids of some texts (at least one), right padded to the longest: each int64 (batch, tokens)."""
        if not texts:
            raise InputError("there are no texts to encode; give at least one")
        return self.encoder.batch(
            [self.encoder.encode(text, f"text {index} of the batch") for index, text in enumerate(texts)]
        )

    def run_trunk(self, tokens: TokenBatch) -> tuple[Hidden, NDArray[np.float32]]:
        """Hidden states, for `run_tail` alone, and router logits float32 (batch, widths)."""
        feeds = {"input_ids": tokens.input_ids, "attention_mask": tokens.attention_mask}
        if tokens.token_type_ids is not None:
            feeds["token_type_ids"] = tokens.token_type_ids
        hidden, router_logits = self._trunk.run(feeds)
        return hidden, router_logits

    def run_tail(self, width: float, hidden: Hidden, attention_mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits (batch, labels) of one width, from the trunk's hidden states. Raises WidthError for another width."""
        index = find_width(self.widths, width)
        return self._run_tail(index, hidden, attention_mask, self.budget.memory_mb)[0]

    def _run_tail(
        self, index: int, hidden: Hidden, attention_mask: NDArray[np.int64], memory_mb: float | None
    ) -> tuple[NDArray[np.float32], float]:
        """Logits (batch, labels), and the seconds that it took to load the tail."""
        start = perf_counter()
        tail = self._tails.get(index, memory_mb)
        loading = perf_counter() - start
        return tail.run({"hidden": hidden, "attention_mask": attention_mask})[0], loading

    def _run_chunk(self, inputs: Sequence[_Input]) -> None:
        """Answer all: one trunk run, then one run per tail that any of them takes, the narrowest first."""
        start = perf_counter()
        tokens = self.encoder.batch([one.encoded for one in inputs])
        hidden, router_logits = self.run_trunk(tokens)
        share = (perf_counter() - start) / len(inputs)
        for one, logits in zip(inputs, router_logits.tolist(), strict=True):
            one.seconds += share
            self._route(one, logits)
        for index in range(len(self.widths)):
            start = perf_counter()
            group = [row for row, one in enumerate(inputs) if one.answer is None and one.escalation.index == index]
            if not group:
                continue
            longest = max(len(inputs[row].encoded) for row in group)
            cut = self._backend.rows(hidden, group, longest), tokens.attention_mask[group, :longest]
            tail_logits, _ = self._run_tail(index, *cut, inputs[group[0]].allowance.memory_mb)
            share = (perf_counter() - start) / len(group)
            for row, logits in zip(group, tail_logits.tolist(), strict=True):
                inputs[row].seconds += share
                self._hear(inputs[row], logits)

    def _route(self, one: _Input, router_logits: Sequence[float]) -> None:
        """The trunk ran: where to start. `router_logits`: (widths,)."""
        startable = None if one.allowance.deadline_ms is None else partial(self._startable, one)
        one.escalation = Escalation(router_logits, one.allowance, startable)

    def _startable(self, one: _Input, index: int) -> bool:
        """Whether a tail is expected to end by the input's deadline."""
        elapsed, load = one.seconds * 1000.0, self._tails.load_ms(index)
        return self._keeper.startable(one.allowance, index, len(one.encoded), elapsed, load)

    def _hear(self, one: _Input, logits: Sequence[float]) -> None:
        """A tail ran, with these logits (labels,): that is the answer, or the next wider tail is to run."""
        if not all_finite(logits):
            name = self.manifest.tail(self.widths[one.escalation.index]).name
            raise ArtifactError(
                f"{name} gave logits that are not finite: the artifact is damaged or does not run on this machine; "
                "run `python -m sharcs_edge_runtime.verify` on it"
            )
        outcome = one.outcome = read_outcome(self.manifest.task, logits, one.outcome, self._value_scale)
        if not one.escalation.goes_on(outcome.confidence):
            one.answer = outcome.fields(self.manifest.labels)

    def _prediction(self, one: _Input, answer: Fields, computed: float | None = None) -> Prediction:
        """`computed`: seconds of the graphs that ran for this input alone, None in a batch."""
        milliseconds, allowance, escalation = one.seconds * 1000.0, one.allowance, one.escalation
        tokens, ran, widths = len(one.encoded), escalation.ran, self.manifest.widths
        budget_met = self._keeper.finish(
            allowance,
            milliseconds,
            tokens,
            ran,
            None if computed is None else computed * 1000.0,
            allowance.promised and escalation.cut_short,
        )
        return Prediction(  # by position, which costs less than by name
            *answer,
            widths[escalation.index],
            escalation.reason,
            widths[ran[0] : ran[-1] + 1],  # tails run one after the other
            None if allowance.explicit else allowance.point,
            budget_met,
            milliseconds,
            tokens,
            one.encoded.truncated,
        )
