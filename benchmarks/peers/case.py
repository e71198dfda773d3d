"""One data set: the plain and the nested model, the texts that are timed, what conversion and calibration need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice, zip_longest
from pathlib import Path

from benchmarks.peers.source import source_of
from sharcs_edge.bundle import Bundle
from sharcs_edge.calibrate.case import Promise
from sharcs_edge.data import Split, load_data
from sharcs_edge.errors import DataError, UsageError
from sharcs_edge_runtime.tokenization import Text

PER_LENGTH = 8


@dataclass(frozen=True)
class Case:
    """``texts`` and ``answers`` (label numbers): of the test split; ``source``: of the plain model, see
    :func:`source_of`; ``dev``: to calibrate on, for what ``promise`` says."""

    data: str
    plain: Bundle
    nested: Bundle
    source: Path
    texts: tuple[Text, ...]
    answers: tuple[int, ...]
    dev: Split
    target: str
    promise: Promise
    work: Path

    @property
    def name(self) -> str:
        """For people: a folder's last part."""
        return Path(self.data).name


def make_case(data: str, plain: Path, nested: Path, work: Path, texts: int, target: str, promise: Promise) -> Case:
    """Raises DataError for data without a test split, UsageError for bundles of other data."""
    bundles = Bundle.open(plain), Bundle.open(nested)
    loaded = load_data(data, max_train_samples=None)
    labels = bundles[0].info.labels
    if bundles[1].info.labels != labels or set(loaded.label_names) != set(labels):
        raise UsageError(f"the labels of {plain}, {nested} and {data} differ; give two bundles trained on that data")
    if loaded.test is None:
        raise DataError(f"{data} has no test split to measure on; give such data")
    folder = work / Path(data).name
    folder.mkdir(parents=True, exist_ok=True)
    chosen = [number * len(loaded.test) // texts for number in range(min(texts, len(loaded.test)))]
    examples = list(loaded.test)
    number = {label: index for index, label in enumerate(labels)}
    return Case(
        data=data,
        plain=bundles[0],
        nested=bundles[1],
        source=source_of(bundles[0], [example.inputs for example in loaded.train], folder),
        texts=tuple(examples[place].inputs for place in chosen),
        answers=tuple(number[str(loaded.test.labels[place])] for place in chosen),
        dev=loaded.dev,
        target=target,
        promise=promise,
        work=folder,
    )


def texts_of_length(count: Callable[[Text], int], texts: Sequence[Text], tokens: int) -> list[Text]:
    """`PER_LENGTH` inputs of exactly ``tokens`` tokens, made of the words of ``texts``.

    ``count``: tokens of an input, special ones included. Raises DataError if the words do not give them.
    """
    step = max(1, len(texts) // PER_LENGTH)
    return [_grown(count, [*texts[start:], *texts[:start]], tokens) for start in range(0, step * PER_LENGTH, step)]


def _grown(count: Callable[[Text], int], texts: Sequence[Text], tokens: int) -> Text:
    """Words in the texts' order, each where it came from, of a pair's parts in turn; one too long is left out."""
    parts: list[list[str]] = [[] for _ in ((texts[0],) if isinstance(texts[0], str) else texts[0])]

    def joined() -> Text:
        whole = [" ".join(part) for part in parts]
        return whole[0] if len(whole) == 1 else (whole[0], whole[1])

    for text in islice(cycle(texts), 4 * tokens + len(texts)):
        columns = zip_longest(*(part.split() for part in ((text,) if isinstance(text, str) else text)))
        for part, word in ((part, word) for column in columns for part, word in zip(parts, column, strict=True)):
            if word is None:
                continue
            part.append(word)
            found = count(joined())
            if found == tokens and all(parts):
                return joined()
            if found >= tokens:
                part.pop()
    raise DataError(f"the texts give no input of exactly {tokens} tokens; leave this length out with --lengths")
