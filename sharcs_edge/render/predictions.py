"""Predictions, one line each, as soon as they are there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, TextIO

from rich.cells import cell_len, set_cell_size
from rich.console import Console

from sharcs_edge.render._json import write_json
from sharcs_edge_runtime.manifest import TaskName
from sharcs_edge_runtime.session import Prediction
from sharcs_edge_runtime.tokenization import Text

_LONGEST_ANSWER = 28
_VALUE_SIZE = 10
_NARROWEST_TEXT = 16
_SCORE = f"  {'score':>5}"
_ROUTE = f"  {'width':>5}  {'route':<10}  {'ms':>7}  "
_BUDGET = f"{'budget':<6}  "


class JsonLines:
    """One JSON object per line: the input, the prediction, and the score of every label by its name."""

    def __init__(self, stream: TextIO, labels: Sequence[str]) -> None:
        self._stream = stream
        self._labels = labels

    def print(self, text: Text, prediction: Prediction) -> None:
        record: dict[str, Any] = {"text": text} if isinstance(text, str) else {"text": text[0], "text_pair": text[1]}
        record |= prediction.to_dict()
        if prediction.scores is not None:
            record["scores"] = dict(zip(self._labels, prediction.scores, strict=True))
        write_json(record, self._stream)


class PredictionTable:
    """Aligned columns. Lines are printed one by one, so their widths follow from task and labels alone."""

    def __init__(self, stream: TextIO, labels: Sequence[str], task: TaskName) -> None:
        self._stream = stream
        self._title = {"classification": "label", "multi_label": "labels", "regression": "value"}[task]
        self._size = _VALUE_SIZE if task == "regression" else _LONGEST_ANSWER
        if task == "classification":
            self._size = min(max(map(cell_len, [*labels, self._title])), _LONGEST_ANSWER)
        self._columns = (_SCORE if task == "classification" else "") + _ROUTE
        self._text_size = max(Console(file=stream).width - self._size - len(self._columns), _NARROWEST_TEXT)
        self._has_header = False
        self._has_budget = False

    def print(self, text: Text, prediction: Prediction) -> None:
        if not self._has_header:
            self._has_budget = prediction.budget_met is not None
            self._columns += _BUDGET * self._has_budget
            self._text_size = max(self._text_size - len(_BUDGET) * self._has_budget, _NARROWEST_TEXT)
            self._line(set_cell_size(self._title, self._size) + self._columns + "text")
            self._has_header = True
        score = "" if prediction.score is None else f"  {prediction.score:5.3f}"
        route = f"  {prediction.width:5.3g}  {prediction.reason:<10}  {prediction.milliseconds:7.2f}  "
        if self._has_budget:
            route += f"{'met' if prediction.budget_met else 'missed':<6}  "
        shown = text if isinstance(text, str) else " | ".join(text)
        self._line(_fit(_answer(prediction), self._size) + score + route + _fit(shown, self._text_size).rstrip())

    def _line(self, line: str) -> None:
        print(line, file=self._stream, flush=True)


def _answer(prediction: Prediction) -> str:
    if prediction.value is not None:
        return f"{prediction.value:.5g}"
    if prediction.labels is not None:
        return ", ".join(prediction.labels) or "none"
    return prediction.label or ""


def _fit(text: str, size: int) -> str:
    """``text`` in exactly ``size`` terminal cells. What a terminal would act upon, such as escapes, becomes a space."""
    plain = "".join(character if character.isprintable() else " " for character in text)
    return set_cell_size(plain, size) if cell_len(plain) <= size else set_cell_size(plain, size - 1) + "…"


def render_summary(answers: Sequence[tuple[float, float, bool | None]], truncated: int = 0) -> str:
    """One sentence about the (width, milliseconds, budget met) of all answers; ``truncated``: texts that were cut."""
    counts = Counter(width for width, _, _ in answers)
    shares = ", ".join(f"{counts[width] / len(answers):.1%} at width {width:g}" for width in sorted(counts))
    mean = sum(milliseconds for _, milliseconds, _ in answers) / len(answers)
    met = [met for _, _, met in answers if met is not None]
    budget = f"; {sum(met) / len(met):.1%} within the budget" if met else ""
    cut = f"; {truncated:,} longer than the artifact's longest input and cut" if truncated else ""
    return f"{len(answers):,} texts: {shares}; mean {mean:.2f} ms{budget}{cut}"
