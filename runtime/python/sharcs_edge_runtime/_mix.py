"""The routed mix: the user's texts as the router and the budget choose, against the same texts at full width."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from sharcs_edge_runtime._timing import Pace, milliseconds_of, run_rounds, statistics, summarise
from sharcs_edge_runtime.budget import Budget
from sharcs_edge_runtime.evaluate import Agreement, answers_of
from sharcs_edge_runtime.manifest import Manifest
from sharcs_edge_runtime.policy import choose_route
from sharcs_edge_runtime.session import Prediction, Session
from sharcs_edge_runtime.tokenization import Text

_Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"


def measure_mix(session: Session, texts: Sequence[Text], pace: Pace) -> dict[str, Any]:
    """Each text routed and at full width in turn; every text counts equally often.

    Samples are in the order of the texts, pass after pass. `answered_by`: the width of each routed sample. `escalated`:
    the share that ran more than one tail. `points`: share of the texts per operating point of the calibration.
    """
    full = Budget(width=session.widths[-1])
    bias, last = (0.0,) * len(session.widths), len(session.widths) - 1
    router_logits = [session.run_trunk(session.encode([text]))[1].tolist()[0] for text in texts]
    routed_answers: dict[int, Prediction] = {}
    full_answers: dict[int, Prediction] = {}

    def run_round(number: int) -> dict[str, float]:
        place = (number - pace.warm_up) % len(texts)
        routed_first = (number // len(texts) + place) % 2 == 0
        for routed in (routed_first, not routed_first):
            answers = routed_answers if routed else full_answers
            answers[place] = session.predict(texts[place], budget=session.budget if routed else full)
        decision = milliseconds_of(lambda: choose_route(router_logits[place], bias, 0, last))
        answer = routed_answers[place]
        return {
            "routed": answer.milliseconds,
            "full": full_answers[place].milliseconds,
            "decision": decision,
            "width": answer.width,
            "tails": float(len(answer.ran)),
            "point": -1.0 if answer.point is None else float(answer.point),
        }

    samples = run_rounds(run_round, pace.at_least(len(texts)))
    answers = (
        answers_of(session, [way[place] for place in range(len(texts))]) for way in (routed_answers, full_answers)
    )
    return mix_record(session.manifest, len(texts), samples, *answers)


def mix_record(
    manifest: Manifest,
    texts: int,
    rounds: Mapping[str, Sequence[float]],
    routed_answers: np.ndarray[Any, Any],
    full_answers: np.ndarray[Any, Any],
) -> dict[str, Any]:
    """The result of `measure_mix` from its rounds, one per text and pass, in ms, and the answers of the texts."""
    samples = _whole_passes(rounds, texts)
    routed, everything, decision = (samples[name] for name in ("routed", "full", "decision"))
    widths = samples["width"]
    return {
        "shares": [_share(width, widths == width, routed, everything) for width in manifest.widths],
        **{name: summarise(samples[name].tolist()) for name in ("routed", "full", "decision")},
        "answered_by": widths.tolist(),
        "escalated": float(np.mean(samples["tails"] > 1)),
        "points": _points(samples["point"]),
        "speedup": round(float(everything.mean() / routed.mean()), 4),
        **Agreement.of(manifest.task, routed_answers, full_answers).to_dict(),
        "router_overhead": round(float(decision.mean() / routed.mean()), 6),
        "break_even_share": _break_even(widths < manifest.widths[-1], routed, everything, decision),
    }


def _whole_passes(samples: Mapping[str, Sequence[float]], texts: int) -> dict[str, _Floats]:
    """Without the last pass where it did not reach the end."""
    return {name: np.asarray(values[: len(values) // texts * texts]) for name, values in samples.items()}


def _share(width: float, chosen: np.ndarray[Any, Any], routed: _Floats, full: _Floats) -> dict[str, Any]:
    """Of one width: its share of the texts, and what they took routed and at full width (None if there are none)."""
    times = {"routed": routed[chosen], "full": full[chosen]}
    return {
        "width": width,
        "share": float(chosen.mean()),
        **{f"{way}_ms": round(float(ms.mean()), 6) if ms.size else None for way, ms in times.items()},
        **{way: statistics(ms) if ms.size else None for way, ms in times.items()},
    }


def _points(used: _Floats) -> dict[str, float]:
    counts = Counter(int(point) for point in used.tolist() if point >= 0)
    return {str(point): counts[point] / len(used) for point in sorted(counts)}


def _break_even(narrow: np.ndarray[Any, Any], routed: _Floats, full: _Floats, decision: _Floats) -> float | None:
    """The share of texts on narrow widths above which routing is faster than full width for all.

    Routing costs one decision per text and gains full - routed on a narrow one: decision / (decision + gain). None if
    no text went narrow or narrow was not faster. The router's own layers are in the trunk, which both ways run.
    """
    if not narrow.any():
        return None
    cost, gain = float(decision.mean()), float((full - routed)[narrow].mean())
    return round(cost / (cost + gain), 6) if gain > 0 else None
