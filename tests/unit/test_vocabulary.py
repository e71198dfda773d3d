"""Trimmed vocabularies: texts of kept tokens are tokenized as before, and every other text still is."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from sharcs_edge.errors import BundleError, UsageError
from sharcs_edge.export.vocabulary import TrimmedVocabulary, trim_vocabulary

LETTERS = "abcdé"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
words = st.text(LETTERS, min_size=1, max_size=8)
sentences = st.lists(words, min_size=1, max_size=6).map(" ".join)
any_text = sentences | st.text(max_size=20)
Trim = Callable[[Tokenizer, Sequence[str]], TrimmedVocabulary]


@pytest.fixture(scope="module")
def trim(tmp_path_factory: pytest.TempPathFactory) -> Trim:
    file = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"

    def run(tokenizer: Tokenizer, texts: Sequence[str]) -> TrimmedVocabulary:
        tokenizer.save(str(file))
        return trim_vocabulary(file, texts, pad_id=tokenizer.token_to_id("[PAD]"))

    return run


def template(tokenizer: Tokenizer) -> Any:
    ids = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    return processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ids
    )


@st.composite
def word_piece(draw: st.DrawFn) -> Tokenizer:
    pieces = draw(st.lists(st.tuples(st.booleans(), st.text(LETTERS, min_size=2, max_size=5)), max_size=30))
    singles = [*LETTERS, *(f"##{letter}" for letter in LETTERS)]
    longer = ["##" * inside + piece for inside, piece in pieces]
    # Special tokens stand in the midst, as [CLS] does in BERT's vocabulary: all ids but that of [PAD] move.
    order = dict.fromkeys(["[PAD]", "[unused0]", *longer[:5], *SPECIAL[1:], *longer[5:], *singles])
    tokenizer = Tokenizer(models.WordPiece({token: i for i, token in enumerate(order)}, unk_token="[UNK]"))
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = draw(
        st.sampled_from(
            (
                template(tokenizer),
                processors.BertProcessing(("[SEP]", order_of(order, "[SEP]")), ("[CLS]", order_of(order, "[CLS]"))),
            )
        )
    )
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def order_of(order: dict[str, Any], token: str) -> int:
    return list(order).index(token)


@st.composite
def byte_level(draw: st.DrawFn) -> Tokenizer:
    """Trained on drawn texts, so that merges build on each other; with an added token behind the model's."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=draw(st.booleans())))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=draw(st.booleans()))
    trainer = trainers.BpeTrainer(
        vocab_size=256 + len(SPECIAL) + draw(st.integers(0, 60)),
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(draw(st.lists(sentences, min_size=1, max_size=20)), trainer)
    tokenizer.add_tokens([AddedToken("<later>")])
    ids = tokenizer.get_vocab()
    ends = processors.RobertaProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
    tokenizer.post_processor = draw(st.sampled_from((ends, template(tokenizer))))
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


@st.composite
def marked_bpe(draw: st.DrawFn) -> Tokenizer:
    """Characters instead of bytes; marks for the inside and for the end of a word."""
    marks = {
        "continuing_subword_prefix": draw(st.sampled_from(("", "##"))),
        "end_of_word_suffix": draw(st.sampled_from(("", "</w>"))),
    }
    present: dict[str, Any] = {name: mark for name, mark in marks.items() if mark}
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]", **present))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    texts = [*draw(st.lists(sentences, min_size=1, max_size=20)), *(f"{a}{b}{a} {a}" for a in LETTERS for b in LETTERS)]
    trainer = trainers.BpeTrainer(
        vocab_size=60 + draw(st.integers(0, 40)), special_tokens=list(SPECIAL), show_progress=False, **present
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = template(tokenizer)
    without_marks = [decoders.Replace(mark, "") for mark in present.values()]
    tokenizer.decoder = decoders.Sequence([*without_marks, decoders.Fuse()])
    return tokenizer


@st.composite
def unigram(draw: st.DrawFn) -> Tokenizer:
    pieces = dict.fromkeys(
        [*LETTERS, "▁", *draw(st.lists(st.text("▁" + LETTERS, min_size=2, max_size=5), max_size=30))]
    )
    scores = {piece: -float(draw(st.integers(1, 30))) / 2 for piece in pieces}
    if draw(st.booleans()):
        scores["ÿabc"] = -1.0  # a character that no other piece has
    byte_fallback = draw(st.booleans())
    byte_pieces = {f"<0x{byte:02X}>": -20.0 for byte in range(256)} if byte_fallback else {}
    vocabulary = [*((token, 0.0) for token in SPECIAL), *byte_pieces.items(), *scores.items()]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=1, byte_fallback=byte_fallback))
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.Sequence([template(tokenizer)])
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer


def check_kept_tokens(tokenizer: Tokenizer, texts: Sequence[str], other: Sequence[str], trim: Trim) -> None:
    """Mapped ids wherever all tokens are kept; else no error, and no unknown word that was known before."""
    vocabulary = trim(tokenizer, texts)
    trimmed = Tokenizer.from_str(vocabulary.tokenizer)
    new_ids = {old: new for new, old in enumerate(vocabulary.kept)}
    unknown = tokenizer.get_vocab()["[UNK]"]
    for text in (*texts, *other):
        before, after = tokenizer.encode(text), trimmed.encode(text)
        assert after.special_tokens_mask[:1] + after.special_tokens_mask[-1:] == [1, 1]
        if unknown in before.ids:
            continue
        if set(before.ids) <= new_ids.keys():
            assert after.ids == [new_ids[number] for number in before.ids]
            assert after.tokens == before.tokens
        assert new_ids[unknown] not in after.ids
        assert trimmed.decode(after.ids) == tokenizer.decode(before.ids)


# Words of the first list are used again in the second one: tokens kept for one text meet in another.
known_and_other = st.lists(words, min_size=1, max_size=8).flatmap(
    lambda known: st.tuples(
        st.lists(st.lists(st.sampled_from(known), min_size=1).map(" ".join), min_size=1, max_size=4),
        st.lists(st.lists(st.sampled_from(known) | words, min_size=1).map(" ".join) | any_text, max_size=6),
    )
)


@given(word_piece(), known_and_other)
@settings(deadline=None, max_examples=50)
def test_word_piece(trim: Trim, tokenizer: Tokenizer, texts: tuple[list[str], list[str]]) -> None:
    check_kept_tokens(tokenizer, *texts, trim)


@given(byte_level(), known_and_other)
@settings(deadline=None, max_examples=50)
def test_byte_level_bpe(trim: Trim, tokenizer: Tokenizer, texts: tuple[list[str], list[str]]) -> None:
    check_kept_tokens(tokenizer, *texts, trim)


@given(marked_bpe(), known_and_other)
@settings(deadline=None, max_examples=50)
def test_bpe_with_marks(trim: Trim, tokenizer: Tokenizer, texts: tuple[list[str], list[str]]) -> None:
    check_kept_tokens(tokenizer, *texts, trim)


@given(unigram(), known_and_other)
@settings(deadline=None, max_examples=50)
def test_unigram(trim: Trim, tokenizer: Tokenizer, texts: tuple[list[str], list[str]]) -> None:
    check_kept_tokens(tokenizer, *texts, trim)


def simple(*pieces: str, **model: Any) -> Tokenizer:
    tokens = [*SPECIAL, *pieces]
    tokenizer = Tokenizer(
        models.WordPiece({token: number for number, token in enumerate(tokens)}, unk_token="[UNK]", **model)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = template(tokenizer)
    return tokenizer


def test_what_is_dropped_and_how_ids_move(trim: Trim) -> None:
    tokenizer = simple("film", "movie", "##s", "m", "##o", "##vie")
    vocabulary = trim(tokenizer, ["films"])
    assert vocabulary.kept == (0, 1, 2, 3, 4, 6, 7, 8)
    assert vocabulary.to_dict() == {"tokens": 8, "trimmed_from": 10}
    trimmed = Tokenizer.from_str(vocabulary.tokenizer)
    assert trimmed.encode("films").tokens == ["[CLS]", "film", "##s", "[SEP]"]
    assert trimmed.encode("films").ids == [2, 4, 5, 3]
    assert trimmed.encode("movie").tokens == ["[CLS]", "[UNK]", "[SEP]"]  # there is no ##v to fall back to


def test_merges_towards_a_kept_token_stay(trim: Trim) -> None:
    merges = [("a", "b"), ("ab", "c"), ("b", "c"), ("c", "d"), ("abc", "d")]
    tokens = [*SPECIAL, *"abcd", "ab", "abc", "bc", "cd", "abcd"]
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, merges, unk_token="[UNK]"))
    tokenizer.post_processor = template(tokenizer)
    raw = json.loads(trim(tokenizer, ["abc"]).tokenizer)
    assert raw["model"]["merges"] == [["a", "b"], ["ab", "c"]]
    assert [token for token in raw["model"]["vocab"] if token not in SPECIAL] == [*"abcd", "ab", "abc"]


def test_unknown_characters_keep_their_score(trim: Trim) -> None:
    """It is 10 below the lowest one of the vocabulary; were "zz" dropped, "ca" and an unknown "ÿ" would win."""
    scores = {"c": -40.0, "a": -40.0, "z": -1.0, "ca": -1.0, "aÿ": -12.0, "zz": -100.0}
    tokenizer = Tokenizer(models.Unigram([*((token, 0.0) for token in SPECIAL), *scores.items()], unk_id=1))
    tokenizer.post_processor = template(tokenizer)
    trimmed = Tokenizer.from_str(trim(tokenizer, ["aÿ", "ca"]).tokenizer)
    assert trimmed.encode("caÿ").tokens == tokenizer.encode("caÿ").tokens == ["[CLS]", "c", "aÿ", "[SEP]"]


def test_padding_and_truncation_of_the_file_survive(trim: Trim) -> None:
    tokenizer = simple("film", "movie", "s")
    tokenizer.enable_padding(pad_id=0, pad_token="[PAD]", length=6)
    tokenizer.enable_truncation(5)
    trimmed = Tokenizer.from_str(trim(tokenizer, ["movie movie movie movie movie film"]).tokenizer)
    assert trimmed.encode("movie").tokens == ["[CLS]", "movie", "[SEP]", "[PAD]", "[PAD]", "[PAD]"]
    assert len(trimmed.encode("movie film movie film movie")) == 6
    assert trimmed.token_to_id("film") is not None  # its only use lies behind what truncation would leave


def test_kinds_without_subwords_are_refused(trim: Trim) -> None:
    with pytest.raises(UsageError, match=r"is a WordLevel tokenizer, whose vocabulary cannot be trimmed; that works"):
        trim(Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]")), ["a"])


def test_a_file_that_is_no_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(BundleError, match=r"cannot read .*tokenizer\.json: .*; train again"):
        trim_vocabulary(tmp_path / "tokenizer.json", ["a"])
