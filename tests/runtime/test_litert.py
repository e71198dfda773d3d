"""TFLite artifacts on LiteRT."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharcs_edge_runtime import _litert_api
from sharcs_edge_runtime.artifact import Artifact
from sharcs_edge_runtime.backend import smallest_bucket
from sharcs_edge_runtime.errors import (
    ArtifactError,
    InputError,
    MissingDependencyError,
    ParityError,
    SharcsEdgeError,
    UsageError,
)
from sharcs_edge_runtime.memory import GraphMemory
from sharcs_edge_runtime.session import Session
from sharcs_edge_runtime.verify import verify
from tests.runtime.conftest import TEXTS, ArtifactBuilder, point, write_points

pytest.importorskip("ai_edge_litert")

from tests.runtime.tables import BUCKETS, as_tflite


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test writes into the cache folder of whoever runs it."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("SHARCS_EDGE_CACHE", str(folder))
    return folder


@pytest.fixture
def onnx(make_artifact: ArtifactBuilder) -> Path:
    return make_artifact(token_types=False)


@pytest.fixture
def tflite(make_artifact: ArtifactBuilder) -> Path:
    return as_tflite(make_artifact(token_types=False))


def test_it_answers_as_torch_did_padded_and_alone(tflite: Path) -> None:
    report = verify(tflite)
    assert report.passed, report.failures
    assert report.engine.startswith("litert ")
    lengths = Session.load(tflite).encode(TEXTS).attention_mask.sum(axis=1)
    assert len({smallest_bucket(BUCKETS, int(length)) for length in lengths}) == 3  # padded and alone differ


def test_int8_weights_with_a_scale_per_channel(make_artifact: ArtifactBuilder) -> None:
    report = verify(as_tflite(make_artifact(token_types=False), int8=True))
    assert report.passed, report.failures
    assert all(check.agreement == 1.0 for check in report.routes)


def test_both_backends_give_the_same_predictions(onnx: Path, tflite: Path) -> None:
    ours, theirs = Session.load(tflite), Session.load(onnx)
    for text in TEXTS:
        one, other = ours.predict(text), theirs.predict(text)
        assert (one.label, one.width, one.ran, one.tokens) == (other.label, other.width, other.ran, other.tokens)
        assert one.scores == pytest.approx(other.scores, abs=1e-5)


def test_a_batch_gives_what_each_text_gives_alone(tflite: Path) -> None:
    write_points(tflite, point([0.0, 0.0, 0.0], [2.0, 0.5]))  # the narrowest hands all on, the next one some
    session = Session.load(tflite)
    alone = [session.predict(text) for text in TEXTS]
    batch = session.predict_batch(TEXTS, batch_size=3)
    assert any(len(one.ran) > 1 for one in alone)
    for one, other in zip(alone, batch, strict=True):
        assert (one.label, one.ran) == (other.label, other.ran)
        assert one.scores == pytest.approx(other.scores, abs=1e-6)


def test_threads_that_share_a_session_do_not_read_each_others_hidden_states(tflite: Path) -> None:
    session = Session.load(tflite)
    expected = [session.predict(text).scores for text in TEXTS]
    answers: dict[int, list[object]] = {}

    def work(number: int) -> None:
        order = np.roll(np.arange(len(TEXTS)), number).tolist()
        found = {place: session.predict(TEXTS[place]).scores for _ in range(20) for place in order}
        answers[number] = [found[place] for place in range(len(TEXTS))]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(answers[number] == expected for number in range(4))


def test_hidden_states_stay_what_they_are_while_somebody_holds_them(tflite: Path) -> None:
    session = Session.load(tflite)
    first, second = session.encode(TEXTS[:1]), session.encode(TEXTS[1:2])
    hidden, _ = session.run_trunk(first)
    expected = session.run_tail(1.0, hidden, first.attention_mask)
    session.run_trunk(second)
    assert np.array_equal(session.run_tail(1.0, hidden, first.attention_mask), expected)


def test_more_threads_give_the_same_answers(tflite: Path) -> None:
    session = Session.load(tflite, threads=2)
    assert session.thread_pool == "own"
    assert [one.label for one in session.predict_batch(TEXTS)] == [
        one.label for one in Session.load(tflite).predict_batch(TEXTS)
    ]


def test_all_graphs_are_in_memory_from_the_trunk_on(tflite: Path) -> None:
    memory = GraphMemory.of(Artifact.open(tflite).manifest)
    assert memory.trunk > 0
    assert memory.tails == (0.0, 0.0, 0.0)


def test_a_file_without_a_signature_of_the_manifest_is_refused(make_artifact: ArtifactBuilder) -> None:
    folder = make_artifact(token_types=False)
    manifest = (as_tflite(folder, (8, 16)) / "manifest.json").read_text()
    (folder / "manifest.json").write_text(manifest.replace('"buckets": [\n    8,', '"buckets": [\n    4,\n    8,'))
    with pytest.raises(ArtifactError, match=r"model\.tflite has no signature trunk_4: export the artifact again"):
        Session.load(folder)


def test_tensors_that_are_not_the_manifests_are_refused(tflite: Path) -> None:
    manifest = (tflite / "manifest.json").read_text()
    (tflite / "manifest.json").write_text(manifest.replace("        8\n", "        9\n"))  # hidden_size
    with pytest.raises(ArtifactError, match=r"trunk_4 has the tensors hidden float32 \[1, 4, 8\], .* \[1, 4, 9\]"):
        Session.load(tflite)


def test_a_damaged_file_is_one_sentence(tflite: Path) -> None:
    file = tflite / "model.tflite"
    file.write_bytes(bytes(file.stat().st_size))
    with pytest.raises(ArtifactError, match=r"model\.tflite cannot be loaded \(LiteRT .* failed with status"):
        Session.load(tflite, verify_hashes=False)


def test_an_engine_for_another_format_is_refused(onnx: Path, tflite: Path) -> None:
    with pytest.raises(UsageError, match="'litert' does not run onnx graphs; this artifact runs with onnxruntime"):
        Session.load(onnx, engine="litert")
    with pytest.raises(UsageError, match="this artifact runs with litert or tflite_runtime"):
        Session.load(tflite, engine="onnxruntime")


def test_an_unknown_version_of_the_library_is_refused(tflite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_litert_api, "version", lambda package: "9.9.0")
    with pytest.raises(
        MissingDependencyError, match=r"ai-edge-litert 9\.9\.0 is installed.*sharcs-edge-runtime\[litert\]"
    ):
        Session.load(tflite)


def test_an_engine_that_gives_other_answers_is_refused(tflite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As tflite-runtime is; tests/integration/test_tflite_runtime.py shows it on the real one."""
    monkeypatch.setattr("sharcs_edge_runtime.session.UNPROVEN", frozenset({"litert"}))
    assert Session.load(tflite).engine == "litert"
    manifest = (tflite / "manifest.json").read_text()
    (tflite / "manifest.json").write_text(manifest.replace('"logits": 0.0001', '"logits": 1e-12'))
    with pytest.raises(
        ParityError, match=r"without an error and answers otherwise than torch .*max abs logit difference"
    ):
        Session.load(tflite)


def test_a_failing_run_names_graph_and_bucket(tflite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session.load(tflite)
    monkeypatch.setattr(_litert_api.CompiledModel, "run", _fail)
    with pytest.raises(SharcsEdgeError, match="trunk at 8 tokens: no memory"):
        session.predict("turn on the light")


def _fail(*_: object) -> None:
    raise SharcsEdgeError("no memory")


def test_a_session_prints_nothing_but_the_delegates_one_line(tflite: Path) -> None:
    code = f"from sharcs_edge_runtime import Session; Session.load({str(tflite)!r}).predict('light')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout == ""
    assert done.stderr.strip() in ("", "INFO: Created TensorFlow Lite XNNPACK delegate for CPU.")


@given(st.sets(st.integers(1, 512), min_size=1), st.integers(1, 600))
def test_a_bucket_is_the_smallest_that_holds_the_tokens(sizes: set[int], tokens: int) -> None:
    buckets = sorted(sizes)
    if tokens > buckets[-1]:
        with pytest.raises(InputError, match=f"take at most {buckets[-1]}"):
            smallest_bucket(buckets, tokens)
    else:
        chosen = smallest_bucket(buckets, tokens)
        assert tokens <= chosen
        assert not any(tokens <= size < chosen for size in buckets)
