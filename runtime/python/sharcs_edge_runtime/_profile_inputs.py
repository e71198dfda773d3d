"""What the profiler measures on: the user's texts, and inputs of an exact length made of those texts."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Any, Final

import numpy as np

from sharcs_edge_runtime.artifact import Artifact
from sharcs_edge_runtime.errors import ArtifactError, InputError, UsageError
from sharcs_edge_runtime.golden import Golden
from sharcs_edge_runtime.tokenization import Text, TextEncoder, TokenBatch

INPUTS_PER_LENGTH: Final = 8
MAX_TEXTS: Final = 512


@dataclass(frozen=True)
class Texts:
    """Texts to profile on; `source` says where they come from."""

    texts: tuple[Text, ...]
    source: str


@dataclass(frozen=True)
class LengthInput:
    """A text of at least the wanted number of tokens, and the same cut to exactly that number: (1, tokens)."""

    text: Text
    tokens: TokenBatch


def read_texts(file: Path, text_inputs: int) -> Texts:
    """Texts of a JSONL file: one object a line with `text`, and `text_pair` where `text_inputs` is 2.

    Raises InputError naming the file and the line.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8 (byte {error.start}); convert it") from None
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror or error}") from None
    texts = [_text(line, text_inputs, f"{file}, line {number}") for number, line in enumerate(lines, 1) if line.strip()]
    if not texts:
        raise InputError(f"{file} holds no text; expected one JSON object a line with the field text")
    return Texts(tuple(texts), file.name)


def _text(line: str, text_inputs: int, where: str) -> Text:
    try:
        row: Any = json.loads(line)
    except ValueError as error:
        raise InputError(f"{where} is not JSON ({error})") from None
    if not isinstance(row, dict):
        raise InputError(f"{where} is no JSON object; expected one with the field text")
    for field in ("text", "text_pair")[:text_inputs]:
        if not isinstance(row.get(field), str) or not row[field].strip():
            raise InputError(f"{where} has no text in the field {field}; fill it or leave the line out")
    return row["text"] if text_inputs == 1 else (row["text"], row["text_pair"])


def golden_texts(artifact: Artifact) -> Texts:
    """The texts that the artifact carries for its own verification."""
    rows = Golden.load(artifact.golden_file, artifact.manifest).texts.tolist()
    return Texts(tuple(row[0] if len(row) == 1 else (row[0], row[1]) for row in rows), "golden texts of the artifact")


def sample_texts(artifact: Artifact, texts: Sequence[Text]) -> tuple[list[Text], list[int]]:
    """At most `MAX_TEXTS`, evenly spaced, so that one pass over them stays short; and their tokens.

    Raises InputError if there are none or if the artifact cannot read one of them.
    """
    if not texts:
        raise InputError("there are no texts to profile on; give at least one")
    places = np.linspace(0, len(texts) - 1, min(len(texts), MAX_TEXTS)).round().astype(int)
    sample = [texts[place] for place in places]
    manifest = artifact.manifest
    encoder = TextEncoder(artifact.tokenizer_file, manifest.tokenizer, manifest.text_inputs)
    return sample, [len(encoder.encode(text, f"text {index}")) for index, text in enumerate(sample)]


def inputs_of_length(artifact: Artifact, texts: Sequence[Text], tokens: int) -> list[LengthInput]:
    """Up to `INPUTS_PER_LENGTH` inputs of exactly `tokens` tokens (special tokens included), from consecutive texts.

    Texts that are too short are continued with the ones that follow, and the whole is cut by the artifact's own
    tokenizer: random token ids would not exercise a router. Raises UsageError for a length that the artifact cannot
    have, InputError if the texts do not reach it.
    """
    spec = artifact.manifest.tokenizer
    if not 0 < tokens <= spec.max_length:
        raise UsageError(f"length {tokens} is not possible: this artifact takes 1 to {spec.max_length} tokens")
    cut = dataclasses.replace(spec, max_length=tokens)
    try:
        encoder = TextEncoder(artifact.tokenizer_file, cut, artifact.manifest.text_inputs)
    except ArtifactError:  # the file itself was read before, so only the room for text is missing
        raise UsageError(f"length {tokens} leaves no room beside the special tokens; choose a larger one") from None
    step = max(1, len(texts) // INPUTS_PER_LENGTH)
    starts = range(0, min(len(texts), step * INPUTS_PER_LENGTH), step)
    return [_input_from(encoder, texts, start, tokens) for start in starts]


def _input_from(encoder: TextEncoder, texts: Sequence[Text], start: int, tokens: int) -> LengthInput:
    """The shortest run of words from text `start` on that has `tokens` tokens."""
    rows = [(text,) if isinstance(text, str) else text for text in (*texts[start:], *texts[:start])]
    enough = 4 * tokens  # a word has one token or more, except where a tokenizer drops its characters
    columns = zip(*rows, strict=True)  # the texts, or the first and the second ones of pairs
    streams = [list(islice(cycle(chain.from_iterable(map(str.split, column))), enough)) for column in columns]

    def prefix(words: int) -> Text:
        parts = [" ".join(stream[:words]) for stream in streams]
        return parts[0] if len(parts) == 1 else (parts[0], parts[1])

    low, high = 1, enough
    while low < high:
        middle = (low + high) // 2
        if len(encoder.encode(prefix(middle))) < tokens:
            low = middle + 1
        else:
            high = middle
    encoded = encoder.encode(prefix(low))
    if len(encoded) < tokens:
        raise InputError(f"the texts give no input of {tokens} tokens: the tokenizer drops most of their words")
    return LengthInput(prefix(low), encoder.batch((encoded,)))
