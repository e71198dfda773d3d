"""The stages of a prediction, each timed by itself: tokenizing, trunk with router, every tail, and their sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

from sharcs_edge_runtime._profile_inputs import LengthInput
from sharcs_edge_runtime._timing import Pace, milliseconds_of, run_rounds, summarise
from sharcs_edge_runtime.manifest import Manifest
from sharcs_edge_runtime.session import Session


def measure_stages(session: Session, tokens: int, inputs: Sequence[LengthInput], pace: Pace) -> list[dict[str, Any]]:
    """Rows ``{"stage", "width", "tokens", "macs", "ms"}`` for one input of `tokens` tokens; `ms` as of `summarise`."""
    widths = session.widths

    def run_round(number: int) -> dict[tuple[str, float | None], float]:
        source = inputs[number % len(inputs)]
        times: dict[tuple[str, float | None], float] = {}
        times["tokenise", None] = milliseconds_of(lambda: session.encoder.encode(source.text))
        start = perf_counter()
        hidden, _ = session.run_trunk(source.tokens)
        times["trunk", None] = (perf_counter() - start) * 1000
        for turn in range(len(widths)):  # another width first each time: A B C, B C A, ...
            width = widths[(number + turn) % len(widths)]
            start = perf_counter()
            session.run_tail(width, hidden, source.tokens.attention_mask)
            times["tail", width] = (perf_counter() - start) * 1000
        shared = times["tokenise", None] + times["trunk", None]
        return {**times, **{("total", width): shared + times["tail", width] for width in widths}}

    return stage_rows(session.manifest, tokens, run_rounds(run_round, pace))


def stage_rows(
    manifest: Manifest, tokens: int, samples: Mapping[tuple[str, float | None], Sequence[float]]
) -> list[dict[str, Any]]:
    """The rows of `measure_stages` from the samples, in ms, by stage and width."""
    widths = manifest.widths
    trunk = manifest.trunk.macs.count(tokens)
    tails = {width: manifest.tail(width).macs.count(tokens) for width in widths}
    macs: dict[tuple[str, float | None], int] = {("tokenise", None): 0, ("trunk", None): trunk}
    for width in widths:
        macs |= {("tail", width): tails[width], ("total", width): trunk + tails[width]}
    return [
        {
            "stage": stage,
            "width": width,
            "tokens": tokens,
            "macs": macs[stage, width],
            "ms": summarise(samples[stage, width]),
        }
        for stage, width in macs
    ]
