"""Write tests/golden/tokens_v1.json and its tokenizers: what Hugging Face `tokenizers` makes of 2,000 texts.

A text is a list of [piece, repetitions], so that a line of 100 KB takes few bytes. Of each encoding the first 12 hex
digits of a SHA-256 are kept. Run: python tests/c/make_token_vectors.py
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

ROOT = Path(__file__).parent.parent.parent
GOLDEN = ROOT / "tests" / "golden"
ROWS = 2000
LENGTHS = (8, 32, 128, 1_000_000)
Pieces = list[tuple[str, int]]

WORDS = [
    "the",
    "film's",
    "a",
    "don't",
    "isn't",
    "we'll",
    "they've",
    "I'm",
    "you're",
    "he'd",
    "play",
    "light",
    "Turn",
    "OFF",
    "résumé",
    "naïve",
    "coöperate",
    "Straße",
    "İstanbul",
    "ǅ",
    "1234",
    "3.14",
    "x²",
    "½",
    "Ⅷ",
    "٣٤",
    '१२"',
]
SCRIPTS = [
    "中文字符测试",
    "日本語のテキスト",
    "한국어 텍스트 각",
    "каждый день",
    "Ελληνικά ΣΊΣΥΦΟΣ",
    "שָׁלוֹם עולם",
    "مَرْحَبًا بالعالم",
    "ภาษาไทย",
    "हिन्दी क्षत्रिय",
    "தமிழ்",
    "ქართული",
    "𠀀𠮷𪚥",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢",
    "👩‍👩‍👧‍👦",
    "🏳️‍🌈",
    "🇩🇪🇯🇵",
    "👍🏽",
    "ﬁﬂ",
    "㎏㍿",
    "Å Å Å",
    "ẛ̣",
    "ﷺ",
    "豈更車",
    "〆〇々",
]
SPACES = [
    " ",
    "  ",
    "\t",
    "\n",
    "\r\n",
    "\u00a0",
    "\u2003",
    "\u3000",
    "\u200b",
    "\ufeff",
    "\u2028",
    "\x1c",
    "\x85",
    "   \n  ",
]
MARKS = [
    "\u0301",
    "\u0323\u0307",
    "\u0307\u0323",
    "\u20dd",
    "\u302e",
    "\U0001d165\U0001d16d",
    "\ufe0f",
    "\u0345\u0301",
    "\u093c",
    "\u0f71\u0f72",
]
CONTROLS = [
    "\x00",
    "\x01",
    "\x7f",
    "\u0080",
    "\ufffd",
    "\u202e",
    "\u2066",
    "\ue000",
    "\U0010ffff",
    "\u0378",
    "\U000e0041",
]
SPECIAL = [
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "[UNK]",
    "<s>",
    "</s>",
    "<mask>",
    " <mask> ",
    "<pad>",
    "Yesterday",
    "yesterday",
    "todays",
    "today",
    "qq qqq",
]
PUNCTUATION = [*"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "…", "—", "«", "»", "¿", "。", "、", "॥", "؟", "٪", "′"]


def any_character(draw: random.Random) -> str:
    code = draw.choice([draw.randrange(0x80, 0x3000), draw.randrange(0x3000, 0x30000), draw.randrange(0x110000)])
    return "\ue000" if 0xD800 <= code < 0xE000 else chr(code)


def piece(draw: random.Random) -> str:
    kinds = (WORDS, SCRIPTS, SPACES, MARKS, CONTROLS, SPECIAL, PUNCTUATION)
    kind = draw.choices([*kinds, None], weights=(30, 12, 20, 6, 4, 5, 10, 13))[0]
    return any_character(draw) if kind is None else draw.choice(kind)


def text(draw: random.Random, number: int) -> Pieces:
    if number % 100 == 99:  # a long line
        return [
            ("word ", 3),
            (
                draw.choice(["a", "ab", "é", "中", "a\u0301", "'", " ", "1", "<mask>", "👍🏽", "thefilm"]),
                draw.choice([101, 5000, 20000]),
            ),
            (" end", 1),
        ]
    pieces = [(piece(draw), draw.choices([1, 2, 130], weights=(90, 9, 1))[0]) for _ in range(draw.randint(1, 14))]
    spaced = [(found + (" " if draw.random() < 0.4 else ""), count) for found, count in pieces]
    return spaced if "".join(found * count for found, count in spaced).strip() else [("x", 1), *spaced]


def rows() -> Iterator[tuple[Pieces, Pieces | None, int]]:
    """Text, second text or None, max_length."""
    draw = random.Random(7)
    for number in range(ROWS):
        yield text(draw, number), text(draw, number + 50) if number % 4 == 3 else None, LENGTHS[number % 13 % 4]


def join(pieces: Pieces) -> str:
    return "".join(found * count for found, count in pieces)


def corpus() -> list[str]:
    draw = random.Random(3)
    lines = (ROOT / "LICENSE").read_text(encoding="utf-8").splitlines()
    return [*lines, *SCRIPTS * 3, *(" ".join(draw.choices(WORDS, k=12)) for _ in range(200))]


def word_piece(cased: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=not cased, strip_accents=False if cased else None)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(
        corpus(), trainers.WordPieceTrainer(vocab_size=900, special_tokens=special, show_progress=False)
    )
    ids = {name: number for number, name in enumerate(special)}  # the trainer puts them first, in this order
    if cased:
        tokenizer.add_tokens(
            [
                AddedToken("Yesterday", normalized=True),
                AddedToken("today", single_word=True),
                AddedToken("qq", rstrip=True, lstrip=True, normalized=False),
            ]
        )
        tokenizer.post_processor = processors.BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
    else:
        tokenizer.add_tokens([AddedToken("Yesterday", normalized=True), AddedToken("todays"), AddedToken("today")])
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[(name, ids[name]) for name in ("[CLS]", "[SEP]")],
        )
    return tokenizer


def byte_level(prefix: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(ignore_merges=prefix))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1100, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False)])
    tokenizer.decoder = decoders.ByteLevel()
    if prefix:
        pieces = [(name, tokenizer.token_to_id(name)) for name in ("<s>", "</s>")]
        template = processors.TemplateProcessing(
            single="<s> $A </s>", pair="<s> $A </s> $B:1 </s>:1", special_tokens=pieces
        )
        tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    else:
        tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return tokenizer


def digest(tokenizer: Tokenizer, first: str, second: str | None) -> str:
    """Of "ids|type ids|cut", numbers joined by commas."""
    encoding = tokenizer.encode(first, second)
    cut = int(bool(encoding.overflowing))
    plain = f"{','.join(map(str, encoding.ids))}|{','.join(map(str, encoding.type_ids))}|{cut}"
    return hashlib.sha256(plain.encode()).hexdigest()[:12]


def main() -> None:
    names = {
        "tokenizer_bert_uncased.json": word_piece(cased=False),
        "tokenizer_bert_cased.json": word_piece(cased=True),
        "tokenizer_roberta.json": byte_level(prefix=False),
        "tokenizer_byte_level.json": byte_level(prefix=True),
    }
    pads: dict[str, Any] = {}
    for name, tokenizer in names.items():
        pad = "[PAD]" if "bert_" in name else "<pad>"
        pads[name] = [pad, tokenizer.token_to_id(pad)]
        (GOLDEN / name).write_text(
            json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, separators=(",", ":")) + "\n",
            encoding="utf-8",
        )
    lines = []
    for first, second, length in rows():
        digests = []
        for tokenizer in names.values():
            tokenizer.enable_truncation(length, strategy="longest_first")
            digests.append(digest(tokenizer, join(first), None if second is None else join(second)))
        lines.append(json.dumps([first, second, length, digests], separators=(",", ":")))
    body = ",\n".join(lines)
    (GOLDEN / "tokens_v1.json").write_text(
        f'{{"tokenizers": {json.dumps(pads)},\n"rows": [\n{body}\n]}}\n', encoding="utf-8"
    )


if __name__ == "__main__":
    main()
