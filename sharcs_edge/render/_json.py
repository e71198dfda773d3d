"""Records as JSON text."""

from __future__ import annotations

import json
import math
from typing import Any, TextIO


def write_json(record: Any, stream: TextIO, indent: int | None = None) -> None:
    """Writes one JSON document and a line end, and flushes.

    Letters stay readable where the stream's encoding holds them all. A number that is not finite becomes null: JSON
    has no name for it.
    """
    readable = (stream.encoding or "").lower().replace("-", "") == "utf8"
    text = json.dumps(_finite(record), indent=indent, ensure_ascii=not readable, allow_nan=False)
    print(text, file=stream, flush=True)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
