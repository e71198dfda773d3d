"""Text to token ids, with the artifact's own tokenizer (SPEC.md, section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sharcs_edge_runtime.errors import ArtifactError, InputError
from sharcs_edge_runtime.manifest import Tokenizer as TokenizerSpec

Text = str | tuple[str, str]
"""One input: a text, or a pair of texts for an artifact of `text_inputs` 2."""


class TokenBatch(NamedTuple):
    """The trunk's inputs, int64 (batch, tokens), right padded; `token_type_ids` is None where the trunk has none."""

    input_ids: NDArray[np.int64]
    attention_mask: NDArray[np.int64]
    token_type_ids: NDArray[np.int64] | None


@dataclass(frozen=True)
class EncodedText:
    """One input as token ids, unpadded; `truncated`: tokens over `max_length` were cut off."""

    ids: list[int]
    type_ids: list[int]
    truncated: bool

    def __len__(self) -> int:
        return len(self.ids)


class TextEncoder:
    """The artifact's tokenizer, set up once at load and only read afterwards, so that threads may share it."""

    def __init__(self, file: Path, spec: TokenizerSpec, text_inputs: int) -> None:
        """Read `tokenizer.json`. ArtifactError if it cannot be read or contradicts the manifest."""
        import tokenizers

        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises plain Exception
            raise ArtifactError(
                f"{file} cannot be read by tokenizers {tokenizers.__version__} ({error}): "
                "update tokenizers or export the artifact again"
            ) from None
        self._text_inputs = text_inputs
        self._pad_id = spec.pad_id
        self._token_types = spec.token_types
        special = self._tokenizer.num_special_tokens_to_add(text_inputs == 2)
        if spec.max_length <= special:
            raise ArtifactError(
                f"{file} adds {special} special tokens, which leaves no room for text within max_length "
                f"{spec.max_length}: export the artifact again with a larger one"
            )
        found = self._tokenizer.token_to_id(spec.pad_token)
        if found != spec.pad_id:
            raise ArtifactError(
                f"{file} gives the padding token {spec.pad_token!r} the id {found}, the manifest says {spec.pad_id}: "
                "export the artifact again"
            )
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(spec.max_length, stride=0, strategy="longest_first", direction="right")

    def encode(self, text: Text, name: str = "the text") -> EncodedText:
        """Tokens of one input, special tokens included; `name` stands for it in an InputError."""
        first, second = self._parts(text, name)
        encoding = self._tokenizer.encode(first, second)
        ids = encoding.ids
        if not ids:
            raise InputError(f"{name} holds nothing that the tokenizer knows; give a text with words in it")
        return EncodedText(ids, encoding.type_ids, bool(encoding.overflowing))

    def batch(self, rows: Sequence[EncodedText]) -> TokenBatch:
        """Right-pad rows to the longest one: (batch, tokens)."""
        if len(rows) == 1:  # what `predict` does for every input
            ids, kinds = np.array([rows[0].ids], dtype=np.int64), rows[0].type_ids
            return TokenBatch(ids, np.ones_like(ids), np.array([kinds], dtype=np.int64) if self._token_types else None)
        longest = max(map(len, rows))
        shape = (len(rows), longest)
        input_ids = np.full(shape, self._pad_id, dtype=np.int64)
        mask = np.zeros(shape, dtype=np.int64)
        types = np.zeros(shape, dtype=np.int64) if self._token_types else None
        for index, row in enumerate(rows):
            input_ids[index, : len(row)] = row.ids
            mask[index, : len(row)] = 1
            if types is not None:
                types[index, : len(row)] = row.type_ids
        return TokenBatch(input_ids, mask, types)

    def _parts(self, text: Text, name: str) -> tuple[str, str | None]:
        """Check an input against `text_inputs`."""
        if self._text_inputs == 1:
            if not isinstance(text, str):
                raise InputError(f"{name} is {_kind(text)}; this artifact takes one text per input, as a str")
            _check_content(text, name)
            return text, None
        if not isinstance(text, (tuple, list)) or len(text) != 2:
            raise InputError(f"{name} is {_kind(text)}; this artifact takes pairs: give (text, other_text)")
        for index, part in enumerate(text):
            if not isinstance(part, str):
                raise InputError(f"part {index} of {name} is {_kind(part)}; expected a str")
            _check_content(part, f"part {index} of {name}")
        return text[0], text[1]


def _check_content(text: str, name: str) -> None:
    if not text or text.isspace():
        raise InputError(f"{name} is {'only white space' if text else 'empty'}; give a text or leave the input out")
    try:
        text.encode()  # checked here since versions of tokenizers differ: some replace a lone surrogate, some raise
    except UnicodeEncodeError as error:
        raise InputError(
            f"{name} holds a lone surrogate (U+{ord(text[error.start]):04X}, character {error.start}), which is not "
            "Unicode text; decode its source as UTF-8 with errors='replace'"
        ) from None


def _kind(value: object) -> str:
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else f"of type {type(value).__name__}"
