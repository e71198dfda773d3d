"""Rows of a file, with the place where each was read: JSONL, CSV, TSV (all three also gzipped) and Parquet.

A reader yields `(where, values)`: `where` names file and line (or row), `values` maps column names to what the file
holds. The columns that `Columns` requires are there; their values are not looked at here.
"""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, cast

from sharcs_edge.data.records import Columns
from sharcs_edge.errors import DataError, MissingDependencyError

Row = tuple[str, Mapping[str, object]]

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_PARQUET_BATCH_ROWS = 4096


def read_rows(path: Path, columns: Columns) -> Iterator[Row]:
    """The rows of one file, by its extension.

    Raises:
        DataError: the extension is unknown, the file cannot be read, or a line of it is malformed.
        MissingDependencyError: Parquet without pyarrow.
    """
    extension = extension_of(path)
    if extension is None:
        raise DataError(f"{path}: unknown kind of file; expected one of {EXTENSIONS}")
    try:
        yield from _READERS[extension](path, columns)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except (EOFError, zlib.error) as error:
        raise DataError(f"{path}: the gzip file is damaged: {error}") from error


def extension_of(path: Path) -> str | None:
    """The known extension that the name ends in (`.jsonl`, `.csv.gz`, ...), or None."""
    name = path.name.lower()
    return next((extension for extension in _READERS if name.endswith(extension)), None)


def read_jsonl_stream(stream: BinaryIO, name: str, columns: Columns) -> Iterator[Row]:
    """JSON lines from an open binary stream, each yielded as soon as it is complete; blank lines are skipped."""
    for number, line in _lines(stream, name):
        document = line.rstrip()
        if not document:
            continue
        where = f"{name}, line {number}"
        try:
            values = json.loads(document)
        except json.JSONDecodeError as error:
            raise DataError(f"{where}: not valid JSON: {error.msg} (column {error.colno}); {_JSONL_HINT}") from None
        except (ValueError, RecursionError) as error:  # a number with too many digits, a value nested too deeply
            raise DataError(f"{where}: not usable JSON: {error}; {_JSONL_HINT}") from None
        if not isinstance(values, dict):
            raise DataError(f"{where}: a JSON {type(values).__name__} instead of an object; {_JSONL_HINT}")
        columns.require(values.keys(), where)
        yield where, values


_JSONL_HINT = 'expected one object a line, such as {"text": "...", "label": "..."}'


def _read_jsonl(path: Path, columns: Columns) -> Iterator[Row]:
    with _open(path) as stream:
        yield from read_jsonl_stream(stream, str(path), columns)


def _read_delimited(path: Path, columns: Columns, *, delimiter: str) -> Iterator[Row]:
    """A header line, then records; fields are quoted as RFC 4180 says, in TSV too."""
    with _open(path) as stream:
        records = _records(stream, str(path), delimiter)
        _, header = next(records, (1, []))
        if not header:
            return
        _refuse_repeated(header, str(path))
        columns.require(header, str(path))
        for line, record in records:
            where = f"{path}, line {line}"
            if len(record) != len(header):
                raise DataError(
                    f"{where}: {len(record)} fields, but the header has {len(header)}; "
                    'put a field that holds the delimiter, a quote or a line break in quotes ("")'
                )
            yield where, dict(zip(header, record, strict=True))


def _records(stream: BinaryIO, name: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Each record that is not blank, with the number of the line it starts on."""
    reader = csv.reader((line for _, line in _lines(stream, name)), delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(f"{name}, line {line}: {error}; check the quotes of this record") from None
        if record:
            yield line, record


def _read_parquet(path: Path, columns: Columns) -> Iterator[Row]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingDependencyError(f'reading {path} needs pyarrow: pip install "sharcs-edge[train]"') from None
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            _refuse_repeated(names, str(path))
            columns.require(names, str(path))
            wanted = [name for name in names if name in columns.wanted]
            for batch in file.iter_batches(batch_size=_PARQUET_BATCH_ROWS, columns=wanted):
                for values in zip(*batch.columns, strict=True):
                    number += 1
                    named = zip(batch.schema.names, values, strict=True)
                    yield f"{path}, row {number}", {name: value.as_py() for name, value in named}
    except UnicodeDecodeError as error:
        raise DataError(f"{path}, row {number}: the text is not UTF-8: {error.reason}") from None
    except pyarrow.ArrowException as error:
        raise DataError(f"{path}: not a readable Parquet file: {str(error).splitlines()[0]}") from None


_READERS: Final[Mapping[str, Callable[[Path, Columns], Iterator[Row]]]] = {
    ".jsonl": _read_jsonl,
    ".jsonl.gz": _read_jsonl,
    ".csv": partial(_read_delimited, delimiter=","),
    ".csv.gz": partial(_read_delimited, delimiter=","),
    ".tsv": partial(_read_delimited, delimiter="\t"),
    ".tsv.gz": partial(_read_delimited, delimiter="\t"),
    ".parquet": _read_parquet,
}
EXTENSIONS: Final = ", ".join(_READERS)


def _open(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb")) if path.name.lower().endswith(".gz") else path.open("rb")


def _lines(stream: BinaryIO, name: str) -> Iterator[tuple[int, str]]:
    """Numbered lines with their line ends; only a newline byte ends a line, as in every tool that counts lines."""
    offset = 0
    for number, line in enumerate(stream, start=1):
        data = line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line
        offset += len(line) - len(data)
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{name}, line {number}: byte 0x{data[error.start]:02x} at offset {offset + error.start} is not UTF-8; "
                "convert the file to UTF-8, for example with iconv"
            ) from None
        yield number, text
        offset += len(data)


def _refuse_repeated(names: Sequence[str], where: str) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DataError(f"{where}: the header names the column {repeated[0]!r} twice; rename one of them")
