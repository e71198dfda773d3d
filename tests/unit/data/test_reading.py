"""Labelled text from files: what is written is read back, and every bad input gives one error that names its place."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sharcs_edge.data import Columns, Example, read_examples
from sharcs_edge.errors import DataError, UsageError

# Every character that UTF-8 can hold: line separators, NUL, quotes and astral planes included.
texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30).filter(str.strip)
rows = st.lists(st.builds(Example, texts, texts, texts), min_size=1, max_size=6)
ODD = [
    Example("a\u2028b\x85c", "\ufeffmark", '"quoted", comma\tand tab'),
    Example("line\nbreak\r\n", "\x00", "\rreturn"),
]


def write_jsonl(path: Path, values: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in values), encoding="utf-8")
    return path


def write_csv(path: Path, table: list[list[str]], delimiter: str = ",") -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(table)
    return path


def error_of(path: Path | str, columns: Columns | None = None) -> str:
    with pytest.raises(DataError) as caught:
        list(read_examples(path, columns))
    return str(caught.value)


roundtrip = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@roundtrip
@given(rows)
@example(ODD)
def test_jsonl_round_trip(tmp_path: Path, examples: list[Example]) -> None:
    path = tmp_path / "rows.jsonl"
    values = [{"text": row.text, "text_pair": row.text_pair, "label": row.label} for row in examples]
    path.write_bytes(b"".join(json.dumps(value, ensure_ascii=False).encode() + b"\n" for value in values))
    assert list(read_examples(path)) == examples


@roundtrip
@given(rows, st.sampled_from([".csv", ".tsv"]))
@example(ODD, ".csv")
@example(ODD, ".tsv")
def test_delimited_round_trip(tmp_path: Path, examples: list[Example], extension: str) -> None:
    table = [["label", "text", "text_pair"], *([str(row.label), row.text, str(row.text_pair)] for row in examples)]
    path = write_csv(tmp_path / f"rows{extension}", table, "\t" if extension == ".tsv" else ",")
    assert list(read_examples(path)) == examples


@roundtrip
@given(rows)
@example(ODD)
def test_parquet_round_trip(tmp_path: Path, examples: list[Example]) -> None:
    table = {
        "unused": [b"\xff"] * len(examples),
        "text": [row.text for row in examples],
        "text_pair": [row.text_pair for row in examples],
        "label": [row.label for row in examples],
    }
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.table(table), path)
    assert list(read_examples(path)) == examples


@roundtrip
@given(st.binary(max_size=200), st.sampled_from([".jsonl", ".csv", ".tsv", ".jsonl.gz", ".csv.gz", ".parquet"]))
@example(b'{"text": "\\ud800", "label": "a"}', ".jsonl")
@example(b"\xef\xbb\xbf", ".jsonl")
@example(b"[" * 100_000, ".jsonl")
@example(b'{"text": "a", "label": ' + b"1" * 5000 + b"}", ".jsonl")
def test_any_bytes_give_rows_or_one_clear_error(tmp_path: Path, data: bytes, extension: str) -> None:
    path = tmp_path / f"rows{extension}"
    path.write_bytes(data)
    try:
        read = list(read_examples(path))
    except DataError as error:
        assert str(path) in str(error)
        assert "\n" not in str(error)
    else:
        assert all(row.text.strip() and row.label for row in read)


def test_column_names_can_be_given(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "d.csv", [["q1", "q2", "same"], ["one", "two", "1"]])
    assert list(read_examples(path, Columns("q1", "q2", "same"))) == [Example("one", "two", "1")]
    assert list(read_examples(path, Columns("q2", label=None))) == [Example("two")]
    assert Example("one", "two").inputs == ("one", "two")
    assert Example("one").inputs == "one"


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path: Path) -> None:
    jsonl, table = tmp_path / "d.jsonl", tmp_path / "d.csv"
    jsonl.write_bytes(b'\xef\xbb\xbf{"text": "a", "label": "x"}\r\n\r\n{"text": "b", "label": "y"}')
    table.write_bytes(b"\xef\xbb\xbftext,label\r\na,x\r\n\r\nb,y")
    assert (
        list(read_examples(jsonl)) == list(read_examples(table)) == [Example("a", None, "x"), Example("b", None, "y")]
    )


@pytest.mark.parametrize("extension", [".jsonl", ".csv"])
def test_a_text_of_100_000_characters_is_fine(tmp_path: Path, extension: str) -> None:
    text = "long " * 20_000
    path = tmp_path / f"d{extension}"
    if extension == ".csv":
        write_csv(path, [["text", "label"], [text, "x"]])
    else:
        write_jsonl(path, [{"text": text, "label": "x"}])
    assert next(read_examples(path)).text == text


def test_standard_input_is_read_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as source, os.fdopen(writing, "wb", buffering=0) as sink:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(source))
        examples = read_examples("-", Columns(label=None))
        sink.write(b'{"text": "first"}\n')
        assert next(examples) == Example("first")  # would hang if the reader waited for more than a line
        sink.write(b'{"text": "second"}\n{"text": 3}\n')
        assert next(examples) == Example("second")
        with pytest.raises(DataError, match=r"^standard input, line 3: 'text' is 3 \(int\); expected a text"):
            next(examples)
        monkeypatch.undo()


BAD_LINES = {
    "no column": ('{"text": "a", "intent": "x"}', "no column 'label'; found 'text', 'intent'; name yours with --label"),
    "no text column": (
        '{"sentence": "a", "label": 1}',
        "no column 'text'; found 'sentence', 'label'; name yours with --te",
    ),
    "malformed": (
        '{"text": "a", "label": "x"',
        "not valid JSON: Expecting ',' delimiter (column 27); expected one object",
    ),
    "too deep": ("[" * 100_000, "not usable JSON: "),
    "array": ('["a", "x"]', "a JSON list instead of an object; expected one object a line"),
    "empty text": ('{"text": "", "label": "x"}', "'text' is empty"),
    "blank text": ('{"text": " \\t\\n\\u3000", "label": "x"}', "'text' is empty"),
    "null text": ('{"text": null, "label": "x"}', "'text' is null; expected a text"),
    "number as text": ('{"text": 7, "label": "x"}', "'text' is 7 (int); expected a text"),
    "list as text": ('{"text": ["a"], "label": "x"}', "'text' is ['a'] (list); expected a text"),
    "half a surrogate": ('{"text": "a\\ud83d", "label": "x"}', "'text' holds half of a surrogate pair (\\ud83d)"),
    "null label": ('{"text": "a", "label": null}', "'label' is empty; every row needs a label"),
    "blank label": ('{"text": "a", "label": " "}', "'label' is empty; every row needs a label"),
    "float label": (
        '{"text": "a", "label": 3.8}',
        "'label' is 3.8 (float); numbers with a fraction ask for regression",
    ),
    "list label": ('{"text": "a", "label": ["x", "y"]}', "'label' is ['x', 'y'] (list); expected a string, an integer"),
    "unexpected pair": ('{"text": "a", "text_pair": "b", "label": "x"}', "'text_pair' must be filled in every row or"),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_a_bad_jsonl_line_is_named(tmp_path: Path, case: str) -> None:
    line, complaint = BAD_LINES[case]
    path = tmp_path / "d.jsonl"
    path.write_text(f'{{"text": "good", "label": "x"}}\n\n{line}\n', encoding="utf-8")
    assert error_of(path).startswith(f"{path}, line 3: {complaint}")


def test_a_null_pair_is_no_pair_unless_the_column_was_asked_for(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "d.jsonl", [{"text": "a", "text_pair": None, "label": "x"}])
    assert list(read_examples(path)) == [Example("a", None, "x")]
    assert error_of(path, Columns(pair="text_pair")) == f"{path}, line 1: 'text_pair' is null; expected a text"


BAD_TABLES = {
    "ragged": (b'text,label\n"a\nb",x\nc,y,z\n', ", line 4: 3 fields, but the header has 2"),
    "short": (b"text,label\na\n", ", line 2: 1 fields, but the header has 2"),
    "repeated header": (b"text,label,text\na,x,b\n", ": the header names the column 'text' twice"),
    "no column": (b"text,intent\na,x\n", ": no column 'label'; found 'text', 'intent'; name yours with --label-column"),
    "open quote": (b'text,label\na,x\n"b,y\nc,z\n', ", line 3: unexpected end of data; check the quotes"),
    "stray quote": (b'text,label\n"b"c,y\n', ", line 2: ',' expected after '\"'; check the quotes"),
    "huge field": (b"text,label\n" + b"a" * 200_000 + b",x\n", ", line 2: field larger than field limit (131072)"),
    "blank text": (b"text,label\n ,x\n", ", line 2: 'text' is empty"),
    "blank label": (b"text,label\na,\n", ", line 2: 'label' is empty"),
    "header only": (b"text,label\n", ": no rows; expected at least one"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_a_bad_csv_record_is_named(tmp_path: Path, case: str) -> None:
    data, complaint = BAD_TABLES[case]
    path = tmp_path / "d.csv"
    path.write_bytes(data)
    assert error_of(path).startswith(f"{path}{complaint}")


BAD_COLUMNS: dict[str, tuple[list[object], list[object], str]] = {
    "null text": (["a", None], ["x", "y"], ", row 2: 'text' is null; expected a text"),
    "null label": (["a", "b"], ["x", None], ", row 2: 'label' is empty; every row needs a label"),
    "scores": (["a", "b"], [0.5, 1.0], ", row 1: 'label' is 0.5 (float); numbers with a fraction ask for regression"),
    "bytes": ([b"a"], ["x"], ", row 1: 'text' is b'a' (bytes); expected a text"),
    "no rows": ([], [], ": no rows; expected at least one"),
}


@pytest.mark.parametrize("case", BAD_COLUMNS)
def test_a_bad_parquet_row_is_named(tmp_path: Path, case: str) -> None:
    column, labels, complaint = BAD_COLUMNS[case]
    path = tmp_path / "d.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": column, "label": labels}), path)
    assert error_of(path).startswith(f"{path}{complaint}")


def test_a_parquet_text_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    broken = pyarrow.array([b"fine", b"caf\xe9"]).view(pyarrow.string())
    pyarrow.parquet.write_table(pyarrow.table({"text": broken, "label": ["x", "y"]}), path)
    assert error_of(path) == f"{path}, row 2: the text is not UTF-8: unexpected end of data"


def test_a_file_that_is_no_parquet_or_lacks_a_column(tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    path.write_bytes(b"text,label\na,x\n")
    assert error_of(path).startswith(f"{path}: not a readable Parquet file: ")
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a"], "intent": ["x"]}), path)
    assert error_of(path) == f"{path}: no column 'label'; found 'text', 'intent'; name yours with --label-column"


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_byte_that_is_not_utf8_is_named_with_its_offset(tmp_path: Path, mark: bytes) -> None:
    path = tmp_path / "d.csv"
    path.write_bytes(mark + "text,label\né,x\n".encode() + b"caf\xe9,y\n")
    offset = path.read_bytes().rindex(b"\xe9")
    assert error_of(path).startswith(f"{path}, line 3: byte 0xe9 at offset {offset} is not UTF-8; convert")


def test_a_damaged_gzip_file(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl.gz"
    whole = gzip.compress(b'{"text": "a", "label": "x"}\n' * 1000)
    path.write_bytes(whole[: len(whole) // 2])
    assert error_of(path).startswith(f"{path}: the gzip file is damaged: ")
    path.write_bytes(b"plain")
    assert error_of(path).startswith(f"cannot read {path}: Not a gzipped file")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert error_of(tmp_path / "absent.jsonl") == f"cannot read {tmp_path / 'absent.jsonl'}: No such file or directory"
    (tmp_path / "folder.jsonl").mkdir()
    assert error_of(tmp_path / "folder.jsonl") == f"cannot read {tmp_path / 'folder.jsonl'}: Is a directory"
    (tmp_path / "d.txt").write_text("a")
    assert error_of(tmp_path / "d.txt").startswith(
        f"{tmp_path / 'd.txt'}: unknown kind of file; expected one of .jsonl, "
    )
    (tmp_path / "empty.jsonl").touch()
    assert error_of(tmp_path / "empty.jsonl") == f"{tmp_path / 'empty.jsonl'}: no rows; expected at least one"


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_permission_denied(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "train.jsonl", [{"text": "a", "label": "x"}])
    path.chmod(0)
    assert error_of(path) == f"cannot read {path}: Permission denied"


def test_columns_must_differ() -> None:
    with pytest.raises(UsageError, match="'text', 'text_pair', 'text' must be different ones"):
        Columns(label="text")
