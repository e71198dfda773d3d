"""Write src/unicode_tables.cpp: what Hugging Face `tokenizers` does with every code point, found out by asking it.

Its parts are built on several Unicode versions (Rust's standard library, unicode_categories, unicode-normalization,
Oniguruma), so no Unicode library gives equal answers for all characters. Run: python make_unicode_tables.py
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

TARGET = Path(__file__).parent.parent / "src" / "unicode_tables.cpp"
CODES = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
HANGUL = range(0xAC00, 0xD7A4)
BLOCK = 64


def bert(**on: bool) -> Callable[[str], str]:
    off = {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": False}
    return normalizers.BertNormalizer(**{**off, **on}).normalize_str


def flags() -> list[int]:
    """Per code point the bits of `unicode.h`."""
    clean, strip = bert(clean_text=True), bert(strip_accents=True)
    words, regex = pre_tokenizers.BertPreTokenizer(), pre_tokenizers.ByteLevel(add_prefix_space=False)
    single = Tokenizer(models.WordLevel({"x": 0}, unk_token="x"))
    single.add_tokens([AddedToken("qq", single_word=True)])
    token = single.token_to_id("qq")
    found = [0] * 0x110000
    for code in CODES:
        text = chr(code)
        if clean(text) == "":
            found[code] |= 1
        pieces = len(words.pre_tokenize_str(f"a{text}b"))
        if pieces == 2:
            found[code] |= 2
        elif pieces == 3:
            found[code] |= 4
        if len(regex.pre_tokenize_str(f"a{text}")) == 1:
            found[code] |= 8
        elif len(regex.pre_tokenize_str(f"1{text}")) == 1:
            found[code] |= 16
        elif len(regex.pre_tokenize_str(f"!{text}")) == 2:
            found[code] |= 32
        if strip(text) == "":
            found[code] |= 64
        if token not in single.encode(f"qq{text}").ids:
            found[code] |= 128
    return found


def ranges(holds: Callable[[int], bool]) -> list[tuple[int, int]]:
    result: list[tuple[int, int]] = []
    for code in filter(holds, CODES):
        if result and result[-1][1] == code - 1:
            result[-1] = (result[-1][0], code)
        else:
            result.append((code, code))
    return result


def mappings(normalize: Callable[[str], str]) -> list[tuple[int, str]]:
    """Every code point outside ASCII and the Hangul syllables that becomes something else."""
    outside = (code for code in CODES if code > 127 and code not in HANGUL)
    return [(code, result) for code in outside if (result := normalize(chr(code))) != chr(code)]


def classes() -> list[tuple[int, int]]:
    """Code points whose canonical combining class is not 0, by the order in which NFD puts them."""
    normalize = normalizers.NFD().normalize_str
    probes: dict[int, str] = {}
    for code in range(0x3000):  # old characters, whose class every Unicode version knows
        if (combining := unicodedata.combining(chr(code))) and normalize(chr(code)) == chr(code):
            probes.setdefault(combining, chr(code))
    levels = sorted(probes)
    moves = [code for code in CODES if code > 127 and normalize(chr(code)) == chr(code)]
    last = probes[levels[-1]]
    moved = [code for code in moves if chr(code) == last or normalize(last + chr(code)) != last + chr(code)]
    found = []
    for code in moved:
        below = [level for level in levels if normalize(chr(code) + probes[level]) != chr(code) + probes[level]]
        above = [level for level in levels if normalize(probes[level] + chr(code)) != probes[level] + chr(code)]
        level = next(level for level in levels if level not in below and level not in above)
        found.append((code, level))
    return found


def two_stages(values: Sequence[int]) -> tuple[list[int], list[int]]:
    """Indices of blocks, and the different blocks one after the other."""
    blocks: dict[tuple[int, ...], int] = {}
    stage = [blocks.setdefault(tuple(values[at : at + BLOCK]), len(blocks)) for at in range(0, len(values), BLOCK)]
    return stage, [value for block in blocks for value in block]


def array(kind: str, name: str, values: Iterable[object]) -> str:
    items = [str(value) for value in values]
    lines, line = [], " "
    for item in items:
        if len(line) + len(item) > 117:
            lines.append(line)
            line = " "
        line += f" {item},"
    return f"const {kind} {name}[{len(items)}] = {{\n" + "\n".join([*lines, line]) + "\n};\n"


def expansions(name: str, found: Sequence[tuple[int, str]]) -> str:
    """Code points, sorted, each with where its result begins in a pool; one more entry ends the last."""
    pool: list[int] = []
    entries = []
    for code, result in found:
        entries.append(f"{{{code}, {len(pool)}}}")
        pool += map(ord, result)
    entries.append(f"{{0x110000, {len(pool)}}}")
    table = array("Expansion", f"k{name}", entries) + array("char32_t", f"k{name}Pool", pool)
    return table + f"const std::size_t k{name}Size = {len(found)};\n"


def main() -> None:
    stage, blocks = two_stages(flags())
    chinese = ranges(lambda code: bert(handle_chinese_chars=True)(chr(code)) != chr(code))
    combining = classes()
    parts = [
        f"// Made by tools/make_unicode_tables.py from tokenizers {tokenizers.__version__}; do not edit.\n"
        '#include "unicode_tables.h"\n\nnamespace sharcs::unicode {\n',
        array("std::uint16_t", "kBlocks", stage),
        array("std::uint8_t", "kFlags", blocks),
        array("Span", "kChinese", (f"{{{first}, {last}}}" for first, last in chinese))
        + f"const std::size_t kChineseSize = {len(chinese)};\n",
        array("Combining", "kCombining", (f"{{{code}, {level}}}" for code, level in combining))
        + f"const std::size_t kCombiningSize = {len(combining)};\n",
        expansions("Decomposition", mappings(normalizers.NFD().normalize_str)),
        expansions("Lower", mappings(bert(lowercase=True))),
        "}  // namespace sharcs::unicode\n",
    ]
    TARGET.write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
