"""A slowdown attack: words of an input are replaced by others until the wide width has to run.

Black box: no gradients, only runs of the artifact's own graphs through the runtime that ships. Greedy, word by word,
as Coalson et al. did against multi-exit models ("BERT Lost Patience Won't Be Robust to Adversarial Slowdown", NeurIPS
2023): the words that matter most come first, and the answer of the full width stays what it was.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sharcs_edge.errors import UsageError
from sharcs_edge_runtime.answers import read_outcome
from sharcs_edge_runtime.budget import Budget
from sharcs_edge_runtime.operating_points import OperatingPoint
from sharcs_edge_runtime.session import Session
from sharcs_edge_runtime.tokenization import Text


@dataclass(frozen=True)
class Effort:
    """How hard to try. `most_changed`: share of an input's words; `candidates`: words tried for each of them."""

    most_changed: float = 0.25
    candidates: int = 24
    seed: int = 0


@dataclass(frozen=True)
class Attacked:
    """What became of one input. `changed`: words replaced; `queries`: how often graphs were asked; `reached`: the
    widest width has to run."""

    text: Text
    words: int
    changed: int
    queries: int
    reached: bool


class Vocabulary:
    """Words of the data itself that are one token, so that replacing a word does not make an input longer."""

    def __init__(self, session: Session, texts: Iterable[Text]) -> None:
        """Of words that occur more than once, the most frequent first; UsageError if none does."""
        seen = Counter(word for text in texts for word in words_of(text))
        lengths = {
            word: len(session.encoder.encode(_alone(word, session))) for word, count in seen.items() if count > 1
        }
        if not lengths:
            raise UsageError("no word occurs twice in the data: there is nothing to replace words by; give more texts")
        one_token = min(lengths.values())
        self.words = [word for word, _ in seen.most_common() if lengths.get(word) == one_token]
        self._gains: dict[str, float] = {}

    def draw(self, count: int, rng: random.Random) -> list[str]:
        """Half of them words that helped before, the rest at random."""
        proven = sorted(self._gains, key=lambda word: -self._gains[word])[: count // 2]
        fresh = rng.sample(self.words, min(count - len(proven), len(self.words)))
        return list(dict.fromkeys([*proven, *fresh]))

    def learn(self, word: str, gain: float) -> None:
        """Remember by how much a word brought an input closer."""
        self._gains[word] = self._gains.get(word, 0.0) + gain


class Attack:
    """Against one operating point of a session."""

    def __init__(self, session: Session, point: OperatingPoint, vocabulary: Vocabulary, effort: Effort) -> None:
        self._session = session
        self._point = point
        self._vocabulary = vocabulary
        self._effort = effort
        self._widest = Budget(width=session.widths[-1])
        self._queries = 0

    def run(self, text: Text, number: int) -> Attacked:
        """Attack one input; `number` seeds its random words."""
        self._queries = 0
        rng = random.Random(self._effort.seed * 1_000_003 + number)
        words = words_of(text)
        gap, true = self._gap(words, text), self._answer(text)
        changed: set[int] = set()
        for place in self._by_importance(words, text):
            if gap >= 0 or len(changed) >= max(1, round(self._effort.most_changed * len(words))):
                break
            found = self._best(words, place, text, gap, true, rng)
            if found is not None:
                word, closer = found
                self._vocabulary.learn(word, closer - gap)
                words[place], gap = word, closer
                changed.add(place)
        return Attacked(_join(words, text), len(words), len(changed), self._queries, gap >= 0)

    def scramble(self, text: Text, changes: int, number: int) -> Text:
        """As many words replaced, but any words by any others: what the search has to beat."""
        rng = random.Random(self._effort.seed * 1_000_003 + number)
        words = words_of(text)
        for place in rng.sample(range(len(words)), min(changes, len(words))):
            words[place] = rng.choice(self._vocabulary.words)
        return _join(words, text)

    def _best(
        self, words: Sequence[str], place: int, text: Text, gap: float, true: object, rng: random.Random
    ) -> tuple[str, float] | None:
        """The word for this place that comes closest and leaves the full width's answer alone; None if none helps."""
        drawn = self._vocabulary.draw(self._effort.candidates, rng)
        tried = [(self._gap(_replaced(words, place, word), text), word) for word in drawn]
        for closer, word in sorted(tried, reverse=True):
            if closer <= gap:
                return None
            if self._answer(_join(_replaced(words, place, word), text)) == true:
                return word, closer
        return None

    def _by_importance(self, words: Sequence[str], text: Text) -> list[int]:
        """Places, first the one whose word holds the input back the most: without it the gap is the smallest."""
        if len(words) == 1:
            return [0]
        gaps = [self._gap([*words[:place], *words[place + 1 :]], text, place) for place in range(len(words))]
        return sorted(range(len(words)), key=lambda place: -gaps[place])

    def _gap(self, words: Sequence[str], text: Text, left_out: int | None = None) -> float:
        """How far an input is from the widest width, at most 0, in probability: the nearer of the two ways there, by
        the router or by tails that are not sure enough."""
        self._queries += 1
        session, thresholds = self._session, self._point.thresholds
        tokens = session.encode([_join(words, text, left_out)])
        hidden, router_logits = session.run_trunk(tokens)
        scores = [float(logit) + bias for logit, bias in zip(router_logits[0], self._point.bias, strict=True)]
        start = scores.index(max(scores))
        by_router = _softmax(scores)[-1] - max(_softmax(scores)[:-1], default=0.0)
        by_doubt, outcome = 0.0, None
        for index in range(start, len(thresholds)):
            logits = session.run_tail(session.widths[index], hidden, tokens.attention_mask)[0].tolist()
            outcome = read_outcome(session.manifest.task, logits, outcome, None)
            by_doubt += min(thresholds[index] - outcome.confidence, 0.0)
        return max(min(by_router, 0.0), by_doubt)

    def _answer(self, text: Text) -> object:
        self._queries += 1
        prediction = self._session.predict(text, budget=self._widest)
        return prediction.labels if prediction.labels is not None else prediction.label


def words_of(text: Text) -> list[str]:
    """Of all texts of an input, one after the other."""
    return [word for part in ((text,) if isinstance(text, str) else text) for word in part.split()]


def _join(words: Sequence[str], original: Text, left_out: int | None = None) -> Text:
    """Words back into the texts that they came from; `left_out`: the place whose word is missing."""
    if isinstance(original, str):
        return " ".join(words)
    first = len(original[0].split())
    first -= left_out is not None and left_out < first
    return " ".join(words[:first]) or ".", " ".join(words[first:]) or "."


def _replaced(words: Sequence[str], place: int, word: str) -> list[str]:
    return [*words[:place], word, *words[place + 1 :]]


def _alone(word: str, session: Session) -> Text:
    return word if session.manifest.text_inputs == 1 else (word, word)


def _softmax(scores: Sequence[float]) -> list[float]:
    top = max(scores)
    powers = [math.exp(score - top) for score in scores]
    return [power / math.fsum(powers) for power in powers]
