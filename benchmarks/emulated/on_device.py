"""What runs on the emulated device: every graph of an artifact, once each between two marks (see count_instructions.c).

    python3 on_device.py ARTIFACT TOKENS[,TOKENS...] TURNS

Prints the marks' names as JSON, in the order of their tags: 0 is the end of a part, 1 the first name.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
from collections.abc import Callable

import numpy as np

from sharcs_edge_runtime.session import Session
from sharcs_edge_runtime.tokenization import TokenBatch

_MARK = 9000  # as in count_instructions.c


def _tokens(session: Session, count: int) -> TokenBatch:
    """(1, count): the padding token, which every vocabulary has; what the tokens are changes no count."""
    tokenizer = session.manifest.tokenizer
    ids = np.full((1, count), tokenizer.pad_id, dtype=np.int64)
    types = np.zeros_like(ids) if tokenizer.token_types else None
    return TokenBatch(ids, np.ones_like(ids), types)


def _parts(session: Session, lengths: list[int]) -> dict[str, Callable[[], object]]:
    """What to count, by name, each to be called several times; "nothing" costs what the marks themselves do."""
    parts: dict[str, Callable[[], object]] = {"nothing": lambda: None}
    for length in lengths:
        tokens = _tokens(session, length)
        hidden, _ = session.run_trunk(tokens)
        parts[f"trunk {length}"] = lambda tokens=tokens: session.run_trunk(tokens)  # type: ignore[misc]
        for width in session.widths:
            name = session.manifest.tail(width).name
            parts[f"{name} {length}"] = lambda width=width, hidden=hidden, mask=tokens.attention_mask: (  # type: ignore[misc]
                session.run_tail(width, hidden, mask)
            )
    return parts


def main(artifact: str, lengths: str, turns: str) -> None:
    """Warm up, then count."""
    mark = ctypes.CDLL(None).syscall
    session = Session.load(artifact)
    parts = _parts(session, [int(length) for length in lengths.split(",")])
    gc.disable()  # it would run at some time in the middle of a part
    for turn in range(2 + int(turns)):  # the first run allocates, the second one still settles
        for tag, part in enumerate(parts.values(), 1):
            if turn >= 2:
                mark(_MARK, tag)
            part()
            if turn >= 2:
                mark(_MARK, 0)
    json.dump(list(parts), sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
