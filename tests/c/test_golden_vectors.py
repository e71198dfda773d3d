"""The golden vectors that the C runtime is tested with are what the Python runtime and `tokenizers` do today."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path
from types import ModuleType

from tokenizers import Tokenizer

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "golden"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_decisions() -> None:
    vectors = load("make_decision_vectors")
    golden = json.loads((GOLDEN / "decisions_v1.json").read_bytes())
    assert len(golden) == vectors.SEQUENCES
    for number in range(0, vectors.SEQUENCES, 5):
        assert hashlib.sha256(vectors.sequence(number).encode()).hexdigest()[:12] == golden[number], number


def test_tokens() -> None:
    vectors = load("make_token_vectors")
    golden = json.loads((GOLDEN / "tokens_v1.json").read_bytes())
    tokenizers = [Tokenizer.from_file(str(GOLDEN / name)) for name in golden["tokenizers"]]
    assert len(golden["rows"]) == vectors.ROWS
    for number, (first, second, length, digests) in enumerate(golden["rows"]):
        if number % 5:
            continue
        texts = vectors.join(first), None if second is None else vectors.join(second)
        for tokenizer, expected in zip(tokenizers, digests, strict=True):
            tokenizer.enable_truncation(length, strategy="longest_first")
            assert vectors.digest(tokenizer, *texts) == expected, number
