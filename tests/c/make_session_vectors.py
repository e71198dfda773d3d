"""Write tests/c/data: tiny artifacts, and what the Python runtime's Session predicts with them.

Run after a change of the manifest's schema, from the root of the repository: python tests/c/make_session_vectors.py
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from sharcs_edge.device import Layout
from sharcs_edge.export import ExportOptions, export_bundle
from sharcs_edge.export.options import QuantizationRecipe
from sharcs_edge_runtime.budget import Budget
from sharcs_edge_runtime.session import Session
from sharcs_edge_runtime.tokenization import Text

HERE = Path(__file__).parent
DATA = HERE / "data"
WITHOUT_POINTS: list[dict[str, Any]] = [
    {},
    {"width": 0.25},
    {"width": 1.0},
    {"max_width": 0.5},
    {"min_width": 0.5},
    {"memory_mb": 14.0},
]


def load_builders(tests: str) -> Any:
    """The builders of the tests in that folder."""
    spec = importlib.util.spec_from_file_location(f"{tests}_conftest", HERE.parent / tests / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def export_tiny(target: Path, quantization: QuantizationRecipe, layout: Layout) -> list[Text]:
    """Export a tiny BERT; gives texts in its words."""
    builders = load_builders("integration")
    with tempfile.TemporaryDirectory() as folder:
        bundle = builders.write_tiny_bundle(Path(folder) / "bundle", "bert", rows=8)
        export_bundle(bundle, target, ExportOptions("x86-64", quantization=quantization, layout=layout))
    return [*builders.sentences(12, seed=2)]


def write_predictions(folder: Path, texts: list[Text], budgets: list[dict[str, Any]]) -> None:
    session = Session.load(folder)
    lines = []
    for given, text in itertools.product(budgets, texts):
        answer = session.predict(text, budget=Budget(**given)).to_dict()
        del answer["milliseconds"]
        row = {"texts": [text] if isinstance(text, str) else list(text), "budget": given, "answer": answer}
        lines.append(json.dumps(row, ensure_ascii=False))
    rows = ",\n".join(lines)
    folder.with_suffix(".json").write_text(f"[\n{rows}\n]\n", encoding="utf-8")


def main() -> None:
    builders = load_builders("runtime")
    shutil.rmtree(DATA, ignore_errors=True)
    kinds: dict[str, dict[str, Any]] = {
        "classification": {},
        "multi_label": {"task": "multi_label"},
        "regression": {"task": "regression", "labels": ("similarity",)},
        "pairs": {"text_inputs": 2, "token_types": False},
    }
    for name, options in kinds.items():
        folder = builders.build_artifact(DATA / name, **options)
        single = [*builders.TEXTS, "Türn ON the \U0001f4a1 lights!", "a", "play" * 40]
        if name == "pairs":
            write_predictions(folder, [*itertools.pairwise(single)], WITHOUT_POINTS)
            continue
        first = builders.point((0.5, 0.0, -0.5), (0.7, 0.6), macs=100.0)
        second = builders.point((0.0, 0.25, 0.0), (0.9, 2.0), macs=150.0)
        builders.write_points(folder, first, second)
        write_predictions(folder, single, [*WITHOUT_POINTS, {"max_drop": 0.0}, {"max_drop": 0.02}])
    # One whose graphs find their weights in one weights.bin, and one of 8-bit integers.
    exports: dict[str, tuple[QuantizationRecipe, Layout]] = {
        "shared": ("none", "shared"),
        "int8": ("int8_dynamic", "separate"),
    }
    for name, (quantization, layout) in exports.items():
        texts = export_tiny(DATA / name, quantization, layout)
        write_predictions(DATA / name, texts, [{}, {"width": 0.5}, {"width": 1.0}, {"max_width": 0.5}])


if __name__ == "__main__":
    main()
