"""Engines head to head: the same texts for all, a reason for what fails, and real engines end to end."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.peers import environments
from benchmarks.peers.case import Case, make_case, texts_of_length
from benchmarks.peers.contenders import Contender, Engine, Ours
from benchmarks.peers.floor import Floor
from benchmarks.peers.measure import HARD, REAL, Row, Settings, measure
from benchmarks.peers.processes import EngineError, Worker
from benchmarks.peers.tables import as_csv, as_markdown
from sharcs_edge.calibrate.case import Promise
from sharcs_edge.config import SharcsConfig
from sharcs_edge.data import load_data
from sharcs_edge.errors import DataError, UsageError
from sharcs_edge.train.options import TrainOptions
from sharcs_edge.train.run import TrainRequest, train
from sharcs_edge_runtime.manifest import Macs
from tests.benchmarks.conftest import DataFolder

WORDS = st.lists(st.sampled_from(["a", "bb", "cccc"]), min_size=1, max_size=6).map(" ".join)


def letters(text: str | tuple[str, str]) -> int:
    """A tokenizer of letters, with two special tokens."""
    return 2 + sum(len(part.replace(" ", "")) for part in ([text] if isinstance(text, str) else text))


@given(st.lists(WORDS, min_size=1, max_size=9), st.integers(3, 40))
def test_inputs_of_a_length_have_exactly_that_length(texts: list[str], tokens: int) -> None:
    assert {letters(text) for text in texts_of_length(letters, [*texts, "a"], tokens)} == {tokens}


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=9), st.integers(4, 40))
def test_pairs_of_a_length_have_exactly_that_length(pairs: list[tuple[str, str]], tokens: int) -> None:
    found = texts_of_length(letters, [*pairs, ("a", "a")], tokens)
    assert {letters(pair) for pair in found} == {tokens}
    assert all(all(pair) for pair in found)  # an empty part is no text to classify


def test_a_length_that_no_words_give_is_refused() -> None:
    with pytest.raises(DataError, match="exactly 5 tokens"):
        texts_of_length(letters, ["cccc"], 5)


def test_what_pip_cannot_install_is_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "none.txt").write_text("./there-is-no-such-folder\n")
    monkeypatch.setattr(environments, "_REQUIREMENTS", tmp_path)
    with pytest.raises(EngineError, match=r"pip cannot install none\.txt: .*there-is-no-such-folder"):
        environments.environment("none", tmp_path / "work")


def test_an_engine_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"No module named 'benchmarks\.peers\.workers\.unknown'"):
        Worker(Path(sys.executable), "unknown", tmp_path, tmp_path, 1, "a text")


def test_tables_show_the_fastest_peer_and_what_failed() -> None:
    base = Row("data", "onnxruntime", "default", "full", 1, REAL, texts=10)
    rows = [
        dataclasses.replace(base, mean_ms=2.0, p95_ms=3.0, cpu_ms=2.5, accuracy=0.9, agreement=0.5, flash_mb=1.0),
        dataclasses.replace(base, inputs="16 tokens", mean_ms=4.0, p95_ms=4.0),
        dataclasses.replace(base, engine="litert", title="LiteRT", note="pip cannot install litert.txt"),
    ]
    peer = Contender("onnxruntime", "default", "onnxruntime", Path(), Path(), 1.0, {"full": "full width"})
    text = as_markdown(rows, {"onnxruntime": peer}, {1: Floor(2e6, 1e6)})
    assert "| default | full width | 2.00 | 3.00 | 2.50 | 1.00 | 90.0 | 50.0: answers otherwise than torch |" in text
    assert "not measured: pip cannot install litert.txt" in text
    assert "| default | full width | 4.00 |" in text
    assert as_csv(rows).count("\n") == 4


def test_the_floor_counts_linears_and_attention_at_their_own_rates() -> None:
    assert Floor(int8=100.0, float32=10.0).ms([Macs(0, 50, 0), Macs(100, 0, 5)], 10) == 5 + 1 + 50


@pytest.fixture(scope="module")
def case(tiny_encoder: Path, tiny_data: DataFolder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    folder, data = tmp_path_factory.mktemp("engines"), tiny_data("classification")
    for name, widths in (("plain", (1.0,)), ("nested", (0.25, 1.0))):
        options = TrainOptions(epochs=1, batch_size=8, max_length=16, precision="fp32")
        plan = SharcsConfig(widths=widths, trunk_layers=1)
        dataset = load_data(str(data))
        train(TrainRequest(str(tiny_encoder), dataset, str(data), plan, options, folder / name), [])
    yield make_case(str(data), folder / "plain", folder / "nested", folder / "work", 12, "x86-64-vnni", Promise(0.5))


def test_two_nested_bundles_are_no_plain_model(case: Case, tmp_path: Path) -> None:
    nested = case.nested.path
    with pytest.raises(UsageError, match="expected the single width 1"):
        make_case(case.data, nested, nested, tmp_path / "work", 4, "x86-64-vnni", Promise(0.5))


@pytest.mark.slow
def test_engines_agree_on_a_tiny_model(case: Case, tmp_path: Path) -> None:
    engines: dict[str, Engine | Ours] = {
        "torch": Engine("torch float32", "torch_float32", None),
        "torch-int8": Engine("torch int8", "torch_int8", None),
        "onnxruntime": Engine("default", "onnxruntime", None),
        "nested-onnx": Ours("ours", "onnx", None, nested=True),
    }
    contenders = {name: engine.prepare(name, case, tmp_path) for name, engine in engines.items()}
    broken = EngineError("there is no such engine here")
    rows = measure(case, {**contenders, "openvino": broken}, Settings(1, rounds=1, starts=1, lengths=(6,)))
    real = {(row.engine, row.way): row for row in rows if row.inputs == REAL}
    assert set(real) >= {("torch", "full"), ("nested-onnx", "full"), ("nested-onnx", "routed"), ("openvino", "full")}
    assert real["torch", "full"].agreement == 1.0
    agreement = real["onnxruntime", "full"].agreement
    assert agreement is not None and agreement >= 0.75  # per-tensor int8 of a tiny, barely trained model
    assert real["openvino", "full"].note == "there is no such engine here"
    for (engine, way), row in real.items():
        if engine != "openvino":
            assert row.texts == 12 and row.mean_ms and row.p95_ms and row.accuracy is not None
            assert (row.flash_mb is not None) == (way == "full")
    assert {row.texts for row in rows if row.inputs == "6 tokens"} == {8}
    assert all(row.texts <= 12 for row in rows if row.inputs == HARD)
    assert "not measured: there is no such engine here" in as_markdown(rows, contenders, {1: Floor(1e6, 1e6)})
