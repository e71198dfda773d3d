"""Session: predictions, limits, batches, bad input, threads, artifacts that load but lie."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from sharcs_edge_runtime import Budget, Prediction, Session
from sharcs_edge_runtime.errors import ArtifactError, InputError, UsageError, WidthError
from sharcs_edge_runtime.golden import Golden
from sharcs_edge_runtime.tokenization import TokenBatch

TEXTS = ["turn on the light", "play", "what is the weather today? is the music on? a table", "music off.", "light"]

LONG = "turn on the light. " * 6000


@pytest.fixture
def session(tiny_artifact: Path) -> Session:
    return Session.load(tiny_artifact)


@pytest.fixture
def golden(session: Session) -> Golden:
    return Golden.load(session.artifact.golden_file, session.manifest)


def answers(predictions: list[Prediction]) -> list[tuple[str | None, float, str, int, bool]]:
    return [(p.label, p.width, p.reason, p.tokens, p.truncated) for p in predictions]


def test_predictions_are_those_of_the_golden_rows(session: Session, golden: Golden) -> None:
    assert set(golden.routes.tolist()) == {0, 1, 2}  # or this file tests less than it says
    for row, (text,) in enumerate(golden.texts.tolist()):
        prediction = session.predict(text)
        logits = golden.logits[golden.routes[row], row].astype(np.float64)
        expected = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        assert prediction.width == session.widths[golden.routes[row]]
        assert prediction.reason == "router"
        assert prediction.label == session.labels[int(logits.argmax())]
        assert prediction.scores == pytest.approx(expected.tolist(), abs=1e-5)
        assert prediction.scores is not None and prediction.score == max(prediction.scores)
        assert prediction.tokens == golden.tokens.attention_mask[row].sum()
        assert prediction.milliseconds > 0


def test_to_dict_is_plain_json(session: Session) -> None:
    prediction = session.predict(TEXTS[0])
    again = json.loads(json.dumps(prediction.to_dict()))
    lists = {name: tuple(value) for name, value in again.items() if isinstance(value, list)}
    assert Prediction(**(dict.fromkeys(Prediction._fields) | again | lists)) == prediction


@pytest.mark.parametrize("width", [0.25, 0.5, 1.0])
def test_an_explicit_width_runs_that_tail(width: float, session: Session, golden: Golden) -> None:
    for row, (text,) in enumerate(golden.texts.tolist()):
        prediction = session.predict(text, budget=Budget(width=width))
        assert (prediction.width, prediction.reason) == (width, "explicit")
        logits = golden.logits[session.widths.index(width), row]
        assert prediction.label == session.labels[int(logits.argmax())]


def test_limits_hold_and_are_named_where_they_decided(session: Session, golden: Golden) -> None:
    for row, (text,) in enumerate(golden.texts.tolist()):
        prediction = session.predict(text, budget=Budget(max_width=0.5))
        assert prediction.width <= 0.5
        assert prediction.reason == ("max_width" if golden.routes[row] == 2 else "router")
        prediction = session.predict(text, budget=Budget(min_width=0.5))
        assert prediction.width >= 0.5
        assert prediction.reason == ("min_width" if golden.routes[row] == 0 else "router")


def test_the_budget_of_load_is_the_default(tiny_artifact: Path) -> None:
    session = Session.load(tiny_artifact, budget=Budget(width=0.25))
    assert session.predict(TEXTS[0]).width == 0.25
    assert session.predict_batch(TEXTS)[0].width == 0.25
    assert session.predict(TEXTS[0], budget=Budget(width=1.0)).width == 1.0


def test_a_budget_that_no_width_meets_is_refused_at_load(tiny_artifact: Path) -> None:
    with pytest.raises(WidthError, match=r"no width 0\.3: there are 0\.25, 0\.5, 1"):
        Session.load(tiny_artifact, budget=Budget(width=0.3))
    with pytest.raises(WidthError, match=r"max_width 0\.1"):
        Session.load(tiny_artifact, budget=Budget(max_width=0.1))


@pytest.mark.parametrize("threads", [0, -1, True, 1.5, "2"])
def test_threads_must_be_a_count(threads: Any, tiny_artifact: Path) -> None:
    with pytest.raises(UsageError, match=r"threads is .*expected an integer of at least 1"):
        Session.load(tiny_artifact, threads=threads)


def test_more_threads_give_the_same_answers(tiny_artifact: Path, session: Session) -> None:
    parallel = Session.load(tiny_artifact, threads=2)
    assert (parallel.threads, parallel.thread_pool) == (2, "own")
    assert (session.threads, session.thread_pool) == (1, "none")
    assert answers(parallel.predict_batch(TEXTS)) == answers(session.predict_batch(TEXTS))


def test_one_width_is_a_plain_model(make_artifact: Callable[..., Path]) -> None:
    session = Session.load(make_artifact(widths=(0.5,)))
    prediction = session.predict(TEXTS[0])
    assert (prediction.width, prediction.reason) == (0.5, "only_width")


def test_without_token_types(make_artifact: Callable[..., Path]) -> None:
    session = Session.load(make_artifact(token_types=False))
    assert session.encode(TEXTS).token_type_ids is None
    assert answers(session.predict_batch(TEXTS)) == answers([session.predict(text) for text in TEXTS])


def test_pairs(make_artifact: Callable[..., Path]) -> None:
    session = Session.load(make_artifact(text_inputs=2))
    golden = Golden.load(session.artifact.golden_file, session.manifest)
    pairs = [(first, second) for first, second in golden.texts.tolist()]
    assert [session.widths.index(p.width) for p in session.predict_batch(pairs)] == golden.routes.tolist()
    assert session.predict(pairs[0]).label == session.predict(list(pairs[0])).label  # type: ignore[arg-type]
    types = session.encode([("play music", "a table")]).token_type_ids
    assert types is not None
    assert types.tolist() == [[0, 0, 0, 0, 1, 1, 1]]


def test_pairs_are_cut_longest_first(make_artifact: Callable[..., Path]) -> None:
    session = Session.load(make_artifact(text_inputs=2, max_length=10))
    prediction = session.predict(("play music", "light " * 50))
    assert (prediction.tokens, prediction.truncated) == (10, True)
    types = session.encode([("play music", "light " * 50)]).token_type_ids
    assert types is not None
    assert types.sum() == 6  # the short text stays whole


@pytest.mark.parametrize("batch_size", [1, 2, 3, 32])
def test_batches_answer_in_order_as_single_texts_do(batch_size: int, session: Session) -> None:
    texts = TEXTS * 3
    single = [session.predict(text) for text in texts]
    batch = session.predict_batch(iter(texts), batch_size=batch_size)
    assert answers(batch) == answers(single)
    for one, other in zip(single, batch, strict=True):
        assert one.scores == pytest.approx(other.scores, abs=1e-5)
        assert other.milliseconds > 0


def test_batches_run_texts_of_like_length_together(tiny_artifact: Path) -> None:
    shapes: list[tuple[int, ...]] = []

    class Watched(Session):
        def run_trunk(self, tokens: TokenBatch) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            shapes.append(tokens.input_ids.shape)
            return super().run_trunk(tokens)

    Watched.load(tiny_artifact).predict_batch(["light", "turn on the light . play", "play", LONG], batch_size=2)
    assert shapes == [(2, 3), (2, 16)]


def test_an_empty_batch_is_empty(session: Session) -> None:
    assert session.predict_batch([]) == []


def test_batch_usage(session: Session) -> None:
    with pytest.raises(InputError, match="takes a list of texts, got one str"):
        session.predict_batch("turn on the light")
    with pytest.raises(UsageError, match="batch_size is 0"):
        session.predict_batch(TEXTS, batch_size=0)
    with pytest.raises(WidthError, match=r"no width 0\.7"):
        session.predict_batch(TEXTS, budget=Budget(width=0.7))


ODD_TEXTS = {
    "short": "a",
    "nul": "\0",
    "nul inside": "light\0off",
    "emoji": "😀 👩‍👩‍👧‍👦",
    "rtl": "\u202eمرحبا",
    "cjk": "日本語のテキスト",
    "combining": "e\u0301\u0302" * 50,
    "bom": "\ufeff x",
    "one long word": "x" * 120_000,
    "long": LONG,
}


@pytest.mark.parametrize("text", ODD_TEXTS.values(), ids=ODD_TEXTS.keys())
def test_any_text_is_answered(text: str, session: Session) -> None:
    prediction = session.predict(text)
    assert prediction.label in session.labels
    assert prediction.tokens <= 16
    assert prediction.truncated == (text is LONG or (prediction.tokens == 16 and len(text) > 16))
    assert session.predict_batch([text])[0].label == prediction.label


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; give a text or leave the input out"),
        (" \t\n\u00a0", "is only white space; give a text"),
        (None, "is None; this artifact takes one text per input, as a str"),
        (b"light", "is of type bytes; this artifact takes one text"),
        (3, "is of type int; this artifact takes one text"),
        (("a", "b"), "is a tuple of 2; this artifact takes one text"),
        ("light \ud800 off", r"holds a lone surrogate \(U\+D800, character 6\).*errors='replace'"),
        ("\udcff", r"holds a lone surrogate \(U\+DCFF, character 0\)"),
    ],
)
def test_bad_texts_are_named(text: Any, message: str, session: Session) -> None:
    with pytest.raises(InputError, match=f"^the text {message}"):
        session.predict(text)
    with pytest.raises(InputError, match=f"^text 2 of the batch {message}"):
        session.predict_batch(["light", "play", text, ""])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("one text", r"the text is of type str; this artifact takes pairs: give \(text, other_text\)"),
        (("a",), "the text is a tuple of 1; this artifact takes pairs"),
        (("a", "b", "c"), "the text is a tuple of 3; this artifact takes pairs"),
        (("a", None), "part 1 of the text is None; expected a str"),
        (("", "b"), "part 0 of the text is empty"),
        (("a", "\ud800"), "part 1 of the text holds a lone surrogate"),
    ],
)
def test_bad_pairs_are_named(text: Any, message: str, make_artifact: Callable[..., Path]) -> None:
    session = Session.load(make_artifact(text_inputs=2))
    with pytest.raises(InputError, match=f"^{message}"):
        session.predict(text)


def test_many_threads_share_one_session(session: Session) -> None:
    texts = TEXTS * 40
    expected = answers([session.predict(text) for text in texts])
    with ThreadPoolExecutor(8) as pool:
        assert answers(list(pool.map(session.predict, texts))) == expected
        batches = list(pool.map(lambda _: session.predict_batch(texts, batch_size=7), range(8)))
    assert all(answers(batch) == expected for batch in batches)


def poison(file: Path, name: str, value: float) -> None:
    """Overwrite one initializer of a graph; the file keeps its size."""
    model = onnx.load(file)
    for tensor in model.graph.initializer:
        if tensor.name == name:
            array = np.full_like(numpy_helper.to_array(tensor), value)
            tensor.CopyFrom(numpy_helper.from_array(array, name))
    onnx.save(model, file)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_results_that_are_not_finite_are_never_answers(value: float, tiny_artifact: Path) -> None:
    poison(tiny_artifact / "tail_w050.onnx", "down", value)
    session = Session.load(tiny_artifact, verify_hashes=False)
    assert session.predict(TEXTS[0], budget=Budget(width=1.0)).label
    with pytest.raises(ArtifactError, match="tail_w050 gave logits that are not finite"):
        session.predict(TEXTS[0], budget=Budget(width=0.5))
    poison(tiny_artifact / "trunk.onnx", "router", value)
    session = Session.load(tiny_artifact, verify_hashes=False)
    with pytest.raises(ArtifactError, match="router's scores are not finite"):
        session.predict_batch(TEXTS)


def test_a_graph_that_onnxruntime_cannot_read_is_one_sentence(
    tiny_artifact: Path, resign: Callable[[Path], None], capfd: pytest.CaptureFixture[str]
) -> None:
    (tiny_artifact / "tail_w025.onnx").write_bytes(b"no graph at all")
    resign(tiny_artifact)
    with pytest.raises(ArtifactError, match=r"tail_w025\.onnx \(tail_w025\) cannot be loaded by onnxruntime") as caught:
        Session.load(tiny_artifact)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_graph_from_the_future_is_named(tiny_artifact: Path, resign: Callable[[Path], None]) -> None:
    model = onnx.load(tiny_artifact / "trunk.onnx")
    model.opset_import[0].version = 99
    onnx.save(model, tiny_artifact / "trunk.onnx")
    resign(tiny_artifact)
    with pytest.raises(ArtifactError, match="update onnxruntime or export the artifact again"):
        Session.load(tiny_artifact)


def test_a_graph_with_other_tensors_than_the_manifest_is_refused(
    make_artifact: Callable[..., Path], resign: Callable[[Path], None]
) -> None:
    artifact = make_artifact()
    (artifact / "tail_w025.onnx").write_bytes((artifact / "trunk.onnx").read_bytes())
    resign(artifact)
    with pytest.raises(ArtifactError, match=r"tail_w025\.onnx has the tensors .*the manifest says"):
        Session.load(artifact)
    artifact, other = make_artifact(), make_artifact(labels=("yes", "no"))
    (artifact / "tail_w025.onnx").write_bytes((other / "tail_w025.onnx").read_bytes())
    resign(artifact)
    with pytest.raises(ArtifactError, match=r"logits is tensor\(float\) \['batch', 2\], the manifest says float32"):
        Session.load(artifact)


def test_a_tokenizer_that_contradicts_the_manifest_is_refused(
    tiny_artifact: Path, resign: Callable[[Path], None], make_artifact: Callable[..., Path]
) -> None:
    file = tiny_artifact / "tokenizer.json"
    file.write_text(file.read_text().replace("[PAD]", "[PAX]"))
    resign(tiny_artifact)
    with pytest.raises(ArtifactError, match=r"padding token '\[PAD\]' the id None, the manifest says 0"):
        Session.load(tiny_artifact)
    file.write_text("{}")
    resign(tiny_artifact)
    with pytest.raises(ArtifactError, match=r"tokenizer\.json cannot be read by tokenizers"):
        Session.load(tiny_artifact)
    with pytest.raises(ArtifactError, match="adds 2 special tokens, which leaves no room for text within max_length 2"):
        make_artifact(max_length=2)


def test_a_text_without_any_token_is_refused(tiny_artifact: Path, resign: Callable[[Path], None]) -> None:
    file = tiny_artifact / "tokenizer.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "post_processor": None}))
    resign(tiny_artifact)
    session = Session.load(tiny_artifact)
    assert session.predict("light").tokens == 1
    with pytest.raises(InputError, match="the text holds nothing that the tokenizer knows"):
        session.predict("\0")
    with pytest.raises(InputError, match="there are no texts to encode"):
        session.encode([])


def test_the_beginning_of_a_long_text_is_kept(session: Session) -> None:
    long, short = session.encode(["light " * 14 + "music music"]).input_ids, session.encode(["light " * 14]).input_ids
    assert long.tolist() == short.tolist()


def test_padding_and_truncation_saved_in_the_tokenizer_file_are_not_used(
    tiny_artifact: Path, resign: Callable[[Path], None], session: Session
) -> None:
    file = tiny_artifact / "tokenizer.json"
    saved = json.loads(file.read_text())
    saved["truncation"] = {"direction": "Left", "max_length": 4, "strategy": "OnlyFirst", "stride": 0}
    saved["padding"] = {
        "strategy": {"Fixed": 12},
        "direction": "Left",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "[PAD]",
    }
    file.write_text(json.dumps(saved))
    resign(tiny_artifact)
    assert np.array_equal(Session.load(tiny_artifact).encode(TEXTS).input_ids, session.encode(TEXTS).input_ids)
