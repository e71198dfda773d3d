"""Write tests/c/data: tiny artifacts, and what the Python runtime's Session predicts with them.

Run after a change of the manifest's schema: python tests/c/make_session_vectors.py
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sharcs_edge_runtime.budget import Budget
from sharcs_edge_runtime.session import Session
from sharcs_edge_runtime.tokenization import Text

HERE = Path(__file__).parent
DATA = HERE / "data"
BUDGETS: list[dict[str, Any]] = [
    {},
    {"width": 0.25},
    {"width": 1.0},
    {"max_width": 0.5},
    {"min_width": 0.5},
    {"max_drop": 0.0},
    {"max_drop": 0.02},
    {"memory_mb": 14.0},
]


def load_builders() -> Any:
    """The builders of the Python runtime's own tests."""
    spec = importlib.util.spec_from_file_location("runtime_conftest", HERE.parent / "runtime" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def texts(builders: Any, pairs: bool) -> list[Text]:
    single = [*builders.TEXTS, "Türn ON the \U0001f4a1 lights!", "a", "play" * 40]
    return list(itertools.pairwise(single)) if pairs else single


def predictions(folder: Path, builders: Any, pairs: bool, calibrated: bool) -> Iterator[dict[str, Any]]:
    session = Session.load(folder)
    for given in BUDGETS:
        if "max_drop" in given and not calibrated:
            continue
        budget = Budget(**given)
        for text in texts(builders, pairs):
            answer = session.predict(text, budget=budget).to_dict()
            del answer["milliseconds"]
            yield {"texts": [text] if isinstance(text, str) else list(text), "budget": given, "answer": answer}


def main() -> None:
    builders = load_builders()
    shutil.rmtree(DATA, ignore_errors=True)
    kinds: dict[str, dict[str, Any]] = {
        "classification": {},
        "multi_label": {"task": "multi_label"},
        "regression": {"task": "regression", "labels": ("similarity",)},
        "pairs": {"text_inputs": 2, "token_types": False},
    }
    for name, options in kinds.items():
        folder = builders.build_artifact(DATA / name, **options)
        calibrated = name != "pairs"
        if calibrated:
            first = builders.point((0.5, 0.0, -0.5), (0.7, 0.6), macs=100.0)
            second = builders.point((0.0, 0.25, 0.0), (0.9, 2.0), macs=150.0)
            builders.write_points(folder, first, second)
        found = list(predictions(folder, builders, name == "pairs", calibrated))
        lines = ",\n".join(json.dumps(one, ensure_ascii=False) for one in found)
        (folder.parent / f"{name}.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
