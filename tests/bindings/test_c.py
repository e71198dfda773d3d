"""The C interface from outside C++: by ctypes, and by the program of docs/embedding.md."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.bindings.support import (
    DATA,
    KINDS,
    TEXT,
    Answer,
    Bindings,
    assert_same,
    documented_output,
    program,
    run,
    vectors,
)
from tests.bindings.support import snippets as snippets_of

OK, ERROR_ARTIFACT, ERROR_INPUT, ERROR_USAGE = 0, 100, 200, 300


class Text(ctypes.Structure):
    _fields_: ClassVar = [("data", ctypes.c_char_p), ("size", ctypes.c_size_t)]


class SessionOptions(ctypes.Structure):
    _fields_: ClassVar = [
        ("struct_size", ctypes.c_size_t),
        ("onnxruntime", ctypes.c_char_p),
        ("ort_api_base", ctypes.c_void_p),
        ("budget", ctypes.c_void_p),
        *((name, ctypes.c_int32) for name in ("threads", "skip_hashes", "uncalibrated", "reserved")),
    ]


class Limits(ctypes.Structure):
    _fields_: ClassVar = [
        *(
            (name, ctypes.c_double)
            for name in (
                "width",
                "min_width",
                "max_width",
                "mean_ms",
                "deadline_ms",
                "memory_mb",
                "energy_mj",
                "max_drop",
            )
        ),
        ("has_max_drop", ctypes.c_int32),
        ("reserved", ctypes.c_int32),
    ]


class BudgetOptions(ctypes.Structure):
    _fields_: ClassVar = [
        ("struct_size", ctypes.c_size_t),
        ("limits", Limits),
        ("watts", ctypes.c_double),
        ("rules", ctypes.c_void_p),
        ("num_rules", ctypes.c_size_t),
    ]


class Prediction(ctypes.Structure):
    _fields_: ClassVar = [
        ("struct_size", ctypes.c_size_t),
        ("label", ctypes.c_char_p),
        ("label_index", ctypes.c_int32),
        ("reason", ctypes.c_int32),
        ("score", ctypes.c_double),
        ("value", ctypes.c_double),
        ("labels", ctypes.POINTER(ctypes.c_char_p)),
        ("num_labels", ctypes.c_size_t),
        ("scores", ctypes.POINTER(ctypes.c_double)),
        ("num_scores", ctypes.c_size_t),
        ("confidence", ctypes.c_double),
        ("width", ctypes.c_double),
        ("ran", ctypes.POINTER(ctypes.c_double)),
        ("num_ran", ctypes.c_size_t),
        ("point", ctypes.c_int32),
        ("budget_met", ctypes.c_int32),
        ("milliseconds", ctypes.c_double),
        ("tokens", ctypes.c_int64),
        ("truncated", ctypes.c_int32),
        ("reserved", ctypes.c_int32),
    ]


class Library:
    """libsharcs_edge.so, as a language without a C compiler sees it."""

    def __init__(self, path: Path) -> None:
        self.c = ctypes.CDLL(str(path))
        pointer, size = ctypes.c_void_p, ctypes.c_size_t
        out = ctypes.POINTER(pointer)
        texts, prediction = ctypes.POINTER(Text), ctypes.POINTER(Prediction)
        self.c.sharcs_session_create.argtypes = [ctypes.c_char_p, ctypes.POINTER(SessionOptions), out, out]
        self.c.sharcs_budget_create.argtypes = [ctypes.POINTER(BudgetOptions), out, out]
        self.c.sharcs_session_predict.argtypes = [
            *(pointer, texts, size, pointer),
            *(ctypes.POINTER(prediction), out),
        ]
        for name in ("session", "budget", "error"):
            getattr(self.c, f"sharcs_{name}_free").argtypes = [pointer]
        self.c.sharcs_prediction_free.argtypes = [prediction]
        self.c.sharcs_error_message.argtypes = [pointer]
        for name in ("sharcs_error_message", "sharcs_reason_name", "sharcs_version"):
            getattr(self.c, name).restype = ctypes.c_char_p

    def message(self, error: ctypes.c_void_p) -> str:
        text: bytes = self.c.sharcs_error_message(error)
        self.c.sharcs_error_free(error)
        return text.decode()

    def session(self, artifact: Path, onnxruntime: Path) -> tuple[int, ctypes.c_void_p, str]:
        session, error = ctypes.c_void_p(), ctypes.c_void_p()
        options = SessionOptions(ctypes.sizeof(SessionOptions), str(onnxruntime).encode())
        status = self.c.sharcs_session_create(
            str(artifact).encode(), ctypes.byref(options), ctypes.byref(session), ctypes.byref(error)
        )
        return status, session, self.message(error)

    def budget(self, limits: dict[str, float]) -> tuple[int, ctypes.c_void_p, str]:
        budget, error = ctypes.c_void_p(), ctypes.c_void_p()
        options = BudgetOptions(ctypes.sizeof(BudgetOptions))
        for name, value in limits.items():
            setattr(options.limits, name, value)
        options.limits.has_max_drop = int("max_drop" in limits)
        status = self.c.sharcs_budget_create(ctypes.byref(options), ctypes.byref(budget), ctypes.byref(error))
        return status, budget, self.message(error)

    def predict(
        self, session: ctypes.c_void_p, texts: list[bytes], budget: ctypes.c_void_p | None = None
    ) -> tuple[int, Answer | None, str]:
        error, found = ctypes.c_void_p(), ctypes.POINTER(Prediction)()
        given = (Text * len(texts))(*(Text(text, len(text)) for text in texts))
        status = self.c.sharcs_session_predict(
            session, given, len(texts), budget, ctypes.byref(found), ctypes.byref(error)
        )
        answer = self.read(found.contents) if status == OK else None
        self.c.sharcs_prediction_free(found)
        return status, answer, self.message(error)

    def read(self, found: Prediction) -> Answer:
        """The fields of Python's `Prediction.to_dict()`, without the time."""
        regression = not math.isnan(found.value)
        multi_label = not regression and found.label is None
        answer: dict[str, Any] = {
            "label": None if found.label is None else found.label.decode(),
            "score": None if math.isnan(found.score) else found.score,
            "value": found.value if regression else None,
            "labels": [label.decode() for label in found.labels[: found.num_labels]] if multi_label else None,
            "scores": None if regression else found.scores[: found.num_scores],
            "confidence": None if math.isnan(found.confidence) else found.confidence,
            "width": found.width,
            "reason": self.c.sharcs_reason_name(found.reason).decode(),
            "ran": found.ran[: found.num_ran],
            "point": None if found.point < 0 else found.point,
            "budget_met": None if found.budget_met < 0 else bool(found.budget_met),
            "tokens": found.tokens,
            "truncated": bool(found.truncated),
        }
        return {name: value for name, value in answer.items() if value is not None}


@pytest.fixture
def library(bindings: Bindings) -> Library:
    (path,) = bindings.prefix.glob("lib*/**/libsharcs_edge.so")
    return Library(path)


@pytest.fixture
def session(library: Library, bindings: Bindings) -> Iterator[ctypes.c_void_p]:
    status, session, message = library.session(DATA / "classification", bindings.onnxruntime)
    assert (status, message) == (OK, "")
    yield session
    library.c.sharcs_session_free(session)


@pytest.mark.parametrize("kind", KINDS)
def test_ctypes_answers_as_python_does(kind: str, library: Library, bindings: Bindings) -> None:
    _, session, _ = library.session(DATA / kind, bindings.onnxruntime)
    for row in vectors(kind):
        status, budget, message = library.budget(row["budget"])
        assert status == OK, message
        _, found, message = library.predict(session, [text.encode() for text in row["texts"]], budget)
        library.c.sharcs_budget_free(budget)
        assert found is not None, message
        assert_same(found, row["answer"])
    library.c.sharcs_session_free(session)


def test_ctypes_gets_statuses_and_sentences(library: Library, session: ctypes.c_void_p, bindings: Bindings) -> None:
    status, nothing, message = library.session(DATA / "nowhere", bindings.onnxruntime)
    assert (status, nothing.value) == (ERROR_ARTIFACT, None)
    assert "nowhere" in message
    status, nothing, message = library.budget({"width": 2.0})
    assert (status, nothing.value) == (ERROR_USAGE, None)
    assert "width" in message
    status, answer, message = library.predict(session, [b"\xff"])
    assert (status, answer) == (ERROR_INPUT, None)
    assert "UTF-8" in message
    assert library.predict(session, [TEXT.encode()])[0] == OK  # and none of it harmed the session


def test_documented_c_program(bindings: Bindings, tmp_path: Path) -> None:
    (source,) = snippets_of("c")
    assert len(source.splitlines()) <= 40
    (tmp_path / "classify.c").write_text(source, encoding="utf-8")
    (package,) = bindings.prefix.glob("lib*/**/sharcs_edge.pc")
    environment = {"PKG_CONFIG_PATH": str(package.parent)}
    flags = run([program("pkg-config"), "--cflags", "--libs", "sharcs_edge"], environment=environment).stdout.split()
    built = tmp_path / "classify"
    strict = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    run([program("cc"), *strict, tmp_path / "classify.c", "-o", built, *flags])
    libraries = tmp_path / "libraries"
    libraries.mkdir()
    (libraries / "libonnxruntime.so.1").symlink_to(bindings.onnxruntime)
    where = {"LD_LIBRARY_PATH": f"{package.parent.parent}:{libraries}"}
    assert run([built, DATA / "classification", TEXT], environment=where).stdout == documented_output()
