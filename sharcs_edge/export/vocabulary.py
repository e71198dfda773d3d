"""A smaller vocabulary: special tokens, the tokens that given texts use, and what other words fall back to.

A text whose tokens are all kept, none of them the one for unknown words, is tokenized as before. Why this holds for
each kind of tokenizer stands with the code that decides what it must keep; what trimming costs, in
docs/adr/0014-embeddings-and-vocabulary.md.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sharcs_edge.errors import BundleError, ExportError, UsageError

if TYPE_CHECKING:
    import tokenizers

    from sharcs_edge.model.configuration import SharcsEncoderConfig
    from sharcs_edge.model.encoder import SharcsForSequenceClassification

_TEXTS_AT_ONCE: Final = 1000
_TEXTS_COMPARED: Final = 10_000


@dataclass(frozen=True)
class TrimmedVocabulary:
    """``tokenizer``: the new ``tokenizer.json``. ``kept``: the old ids, ascending, each at the place of its new id.
    ``source_size``: how many tokens there were.
    """

    tokenizer: str
    kept: tuple[int, ...]
    source_size: int

    def trim(self, model: SharcsForSequenceClassification) -> None:
        """Leaves the kept rows of ``model``'s word embeddings alone. BundleError if it lacks some of them."""
        import torch

        from sharcs_edge.model.embeddings import TokenEmbeddings

        embeddings = model.embeddings
        assert isinstance(embeddings, TokenEmbeddings)  # a bundle that reads images is not exported
        words = embeddings.words
        if self.kept[-1] >= words.num_embeddings:
            raise BundleError(
                f"the tokenizer has a token of id {self.kept[-1]}, but the model only {words.num_embeddings} word "
                "embeddings; train again"
            )
        embeddings.words = torch.nn.Embedding(
            len(self.kept), words.embedding_dim, _weight=words.weight.detach()[list(self.kept)]
        )
        self.trim_config(model.config)

    def trim_config(self, config: SharcsEncoderConfig) -> None:
        """Gives ``config`` the sizes and ids of a trimmed model."""
        config.vocab_size = len(self.kept)
        if config.pad_token_id in self.kept:  # else the tokenizer has no such token, which an export refuses
            config.pad_token_id = self.kept.index(config.pad_token_id)

    def to_dict(self) -> dict[str, int]:
        """The sizes as plain JSON values."""
        return {"tokens": len(self.kept), "trimmed_from": self.source_size}


def trim_vocabulary(file: Path, texts: Iterable[str], pad_id: int | None = None) -> TrimmedVocabulary:
    """The smallest vocabulary that ``texts`` are tokenized with as before, and that every other text can use.

    Args:
        file: a ``tokenizer.json`` whose model is WordPiece, BPE or Unigram.
        pad_id: the id that pads rows, kept whether or not the tokenizer calls it special.

    Raises:
        BundleError: the file cannot be read.
        UsageError: a model of another kind, which has nothing to fall back to.
        ExportError: the tokenizer does something that this function does not know of.
    """
    import tokenizers

    try:
        source = tokenizers.Tokenizer.from_file(str(file))
        raw = json.loads(source.to_str())  # the present form of the file, whatever version wrote it
    except Exception as error:  # the library raises plain Exception
        raise BundleError(f"cannot read {file}: {error}; train again") from error
    if raw["model"]["type"] not in _NEEDED:
        raise UsageError(
            f"{file} is a {raw['model']['type']} tokenizer, whose vocabulary cannot be trimmed; "
            f"that works for {', '.join(_NEEDED)}: export without it"
        )
    source.no_padding()
    source.no_truncation()
    used, compared = _count(source, texts)
    by_token = source.get_vocab()
    by_id = {number: token for token, number in by_token.items()}
    needed = {by_token[token] for token in _NEEDED[raw["model"]["type"]](raw["model"], {by_id[i] for i in used})}
    special = {number for number in (*_special(raw), pad_id) if number is not None} & by_id.keys()
    kept = tuple(sorted(used | needed | special))
    numbers = {old: new for new, old in enumerate(kept)}
    trimmed = json.dumps(_renumber(raw, numbers), ensure_ascii=False, indent=2)
    _compare(file, source, trimmed, numbers, compared)
    return TrimmedVocabulary(trimmed, kept, len(by_token))


def _count(source: tokenizers.Tokenizer, texts: Iterable[str]) -> tuple[set[int], list[str]]:
    """The ids that ``texts`` use, and the first of these texts."""
    used: set[int] = set()
    compared: list[str] = []
    rest = iter(texts)
    while some := list(islice(rest, _TEXTS_AT_ONCE)):
        compared += some[: _TEXTS_COMPARED - len(compared)]
        for encoding in source.encode_batch_fast(some):
            used.update(encoding.ids)
    return used, compared


def _compare(
    file: Path, source: tokenizers.Tokenizer, trimmed: str, numbers: Mapping[int, int], texts: list[str]
) -> None:
    """ExportError unless the trimmed tokenizer has the tokens of ``numbers`` and tokenizes ``texts`` as before."""
    import tokenizers

    try:
        result = tokenizers.Tokenizer.from_str(trimmed)
    except Exception as error:  # the library raises plain Exception
        raise ExportError(f"{file} cannot be read with a trimmed vocabulary ({error}): export without it") from error
    result.no_padding()
    result.no_truncation()
    expected = {token: numbers[number] for token, number in source.get_vocab().items() if number in numbers}
    unknown = _unknown(json.loads(trimmed)["model"])
    pairs = zip(source.encode_batch_fast(texts), result.encode_batch_fast(texts), strict=True)
    before_after = (([numbers[number] for number in before.ids], after.ids) for before, after in pairs)
    if result.get_vocab() != expected or any(
        before != after and unknown not in before for before, after in before_after
    ):
        raise ExportError(f"{file} answers otherwise with a trimmed vocabulary: export without it")


def _special(raw: Mapping[str, Any]) -> Iterator[int | None]:
    """Ids that the file names outside of its model, and that of unknown words."""
    yield from (token["id"] for token in raw["added_tokens"])
    yield from _ids_of_processor(raw["post_processor"])
    yield (raw["padding"] or {}).get("pad_id")
    yield _unknown(raw["model"])


def _unknown(model: Mapping[str, Any]) -> int | None:
    """The id of unknown words."""
    number: int | None = model["unk_id"] if model["type"] == "Unigram" else model["vocab"].get(model["unk_token"])
    return number


def _ids_of_processor(processor: Mapping[str, Any] | None) -> Iterator[int]:
    for part in (processor or {}).get("processors", ()):
        yield from _ids_of_processor(part)
    for token in (processor or {}).get("special_tokens", {}).values():
        yield from token["ids"]
    yield from (processor[end][1] for end in ("sep", "cls") if processor and end in processor)


def _need_of_wordpiece(model: Mapping[str, Any], used: Collection[str]) -> set[str]:
    """Single characters, at the start of a word and inside it.

    At each place of a word the longest known piece is taken. If it is kept, it still is the longest one.
    """
    prefix = model["continuing_subword_prefix"]
    return {token for token in model["vocab"] if len(token.removeprefix(prefix)) == 1 or len(token) == 1}


def _need_of_bpe(model: Mapping[str, Any], used: Collection[str]) -> set[str]:
    """Single characters or bytes, and each token on the way to a used one.

    Pairs are merged in the order of their ranks, and no merge crosses the border of two tokens of the result. So each
    token of a result comes about as it would alone; with these merges kept, the next one to apply is always the same.
    """
    needed = {token for token in model["vocab"] if any(len(part) == 1 for part in _stripped(model, token))}
    needed |= _byte_tokens(model)
    for pair in _merges_towards(model, used):
        needed |= {*pair, _joined(model, pair)}
    return needed


def _need_of_unigram(model: Mapping[str, Any], used: Collection[str]) -> set[str]:
    """Single characters or bytes, and the piece of the lowest score.

    The pieces with the largest sum of scores are taken; if these are kept, none of the sums that are left is larger. An
    unknown character's score is derived from the lowest one of the vocabulary.
    """
    pieces = dict(model["vocab"])
    return {piece for piece in pieces if len(piece) == 1} | _byte_tokens(model) | {min(pieces, key=pieces.__getitem__)}


_NEEDED: Final = {"WordPiece": _need_of_wordpiece, "BPE": _need_of_bpe, "Unigram": _need_of_unigram}
"""Of a kind of model: which tokens it must have besides the special ones if it is to give the used ones."""


def _byte_tokens(model: Mapping[str, Any]) -> set[str]:
    if not model.get("byte_fallback"):
        return set()
    known = set(model["vocab"] if isinstance(model["vocab"], dict) else dict(model["vocab"]))
    return known & {f"<0x{byte:02X}>" for byte in range(256)}


def _stripped(model: Mapping[str, Any], token: str) -> set[str]:
    """The characters of a BPE token; more than one answer where a word may hold what marks its inside or its end."""
    starts = {token, token.removeprefix(model.get("continuing_subword_prefix") or "")}
    return {part.removesuffix(end) for part in starts for end in ("", model.get("end_of_word_suffix") or "")}


def _merges_towards(model: Mapping[str, Any], tokens: Iterable[str]) -> set[tuple[str, str]]:
    """The merges that make ``tokens`` from single characters."""
    ranks = {_pair(merge): rank for rank, merge in enumerate(model["merges"])}
    applied: set[tuple[str, str]] = set()
    for token in tokens:
        for symbols in _readings(model, token):
            while pairs := [(ranks[pair], place) for place, pair in enumerate(pairwise(symbols)) if pair in ranks]:
                _, place = min(pairs)
                pair = (symbols[place], symbols[place + 1])
                applied.add(pair)
                symbols[place : place + 2] = [_joined(model, pair)]
    return applied


def _readings(model: Mapping[str, Any], token: str) -> Iterator[list[str]]:
    """The symbols that a token may have started from, marked as inside of a word and as its end."""
    inside, end = model.get("continuing_subword_prefix") or "", model.get("end_of_word_suffix") or ""
    for starts_inside in (False, True) if inside and token.startswith(inside) else (False,):
        for is_end in (False, True) if end and token.endswith(end) else (False,):
            characters = token[len(inside) if starts_inside else 0 : len(token) - len(end) if is_end else None]
            symbols = [inside + character for character in characters]
            if symbols and not starts_inside:
                symbols[0] = symbols[0][len(inside) :]
            if symbols and is_end:
                symbols[-1] += end
            yield symbols


def _pair(merge: str | list[str]) -> tuple[str, str]:
    first, second = merge.split(" ") if isinstance(merge, str) else merge
    return first, second


def _joined(model: Mapping[str, Any], pair: tuple[str, str]) -> str:
    return pair[0] + pair[1][len(model.get("continuing_subword_prefix") or "") :]


def _renumber(raw: dict[str, Any], numbers: Mapping[int, int]) -> dict[str, Any]:
    """The file with the tokens of ``numbers`` (old id -> new id) alone; ``raw`` is changed."""
    model = raw["model"]
    if model["type"] == "Unigram":
        model["vocab"] = [entry for number, entry in enumerate(model["vocab"]) if number in numbers]
        model["unk_id"] = None if model["unk_id"] is None else numbers[model["unk_id"]]
    else:
        ordered = sorted(model["vocab"].items(), key=lambda entry: int(entry[1]))
        model["vocab"] = {token: numbers[number] for token, number in ordered if number in numbers}
    if model["type"] == "BPE":
        known = model["vocab"]
        model["merges"] = [
            merge for merge in model["merges"] if known.keys() >= {*_pair(merge), _joined(model, _pair(merge))}
        ]
    for token in raw["added_tokens"]:
        token["id"] = numbers[token["id"]]
    if raw["padding"] is not None:
        raw["padding"]["pad_id"] = numbers.get(raw["padding"]["pad_id"], 0)
    _renumber_processor(raw["post_processor"], numbers)
    return raw


def _renumber_processor(processor: dict[str, Any] | None, numbers: Mapping[int, int]) -> None:
    if processor is None:
        return
    for part in processor.get("processors", ()):
        _renumber_processor(part, numbers)
    for token in processor.get("special_tokens", {}).values():
        token["ids"] = [numbers[number] for number in token["ids"]]
    for end in ("sep", "cls"):
        if end in processor:
            processor[end][1] = numbers[processor[end][1]]
