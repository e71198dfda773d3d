"""Profile records of `sharcs_edge_runtime.profile`, as files hold them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

from jsonschema import Draft202012Validator

from sharcs_edge.errors import DataError

Record = Mapping[str, Any]

_SHOWN: Final = 5
_SCHEMA: Final = "record.schema.json"


def read_record(path: Path) -> Record:
    """The one record of a file. Raises DataError, as `read_records` does, or if there are several."""
    records = read_records(path)
    if len(records) != 1:
        raise DataError(f"{path} holds {len(records)} profile records; expected one: keep the line that is meant")
    return records[0]


def read_records(path: Path) -> list[Record]:
    """The records of a file: one JSON document, or JSONL with one a line.

    Raises DataError, naming the file and the line, for what is no record of a version that this program reads.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 (byte {error.start}); expected a profile record (JSON)") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None
    try:
        return [parse_record(json.loads(text), str(path))]
    except ValueError:  # not one document
        lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if not lines:
        raise DataError(f"{path} is empty; expected a profile record, as `sharcs-edge profile --output` writes it")
    return [_parse_line(line, f"{path}, line {number}") for number, line in lines]


def parse_record(document: Any, source: str) -> Record:
    """A JSON document as a record; `source` names it. Raises DataError that lists what is wrong, with JSON paths."""
    version = document.get("schema_version") if isinstance(document, dict) else None
    if isinstance(version, int) and version > 1:
        raise DataError(f"{source} is a profile record of version {version}, this program reads 1; update sharcs-edge")
    schema = json.loads(resources.files(__package__).joinpath(_SCHEMA).read_text(encoding="utf-8"))
    errors = Draft202012Validator(schema).iter_errors(document)
    problems = sorted(f"{error.message[:160]} @ {error.json_path}" for error in errors)
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise DataError(
            f"{source} is no profile record: {'; '.join(problems[:_SHOWN])}{more}; make one with `sharcs-edge profile`"
        )
    record: Record = document
    return record


def _parse_line(line: str, source: str) -> Record:
    try:
        document = json.loads(line)
    except ValueError as error:
        raise DataError(f"{source} is not JSON ({error}); expected a profile record") from None
    return parse_record(document, source)
