"""The Kotlin library on the desktop JVM, against the host's build of the C runtime; the Android example's sources."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.bindings.support import (
    DATA,
    KINDS,
    ROOT,
    Bindings,
    assert_same,
    documented_output,
    program,
    run,
    snippets,
    vectors,
)

HERE = Path(__file__).parent
ANDROID = ROOT / "runtime" / "android"


class Kotlin:
    """Kotlin's compiler, and Java with the library and what the tests bring."""

    def __init__(self, bindings: Bindings, folder: Path) -> None:
        self.bindings = bindings
        self.folder = folder
        self.package = bindings.tool("node_modules/kotlin-compiler")
        self.java = program("java")
        self.classes = [self.package / "lib" / "kotlin-stdlib.jar", self.package / "lib" / "kotlin-test.jar"]

    def compile(self, name: str, sources: Sequence[Path], *, android: Path | None = None) -> None:
        """Add a jar of the sources to the class path; with Android's jar, its classes stand in for Java's."""
        jar = self.folder / f"{name}.jar"
        path = ":".join(str(one) for one in (*self.classes, *([android] if android else [])))
        compiler: list[str | Path] = [self.java, "-cp", self.package / "lib" / "kotlin-compiler.jar"]
        entry = "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler"
        options: list[str | Path] = [
            "-no-stdlib",
            "-no-reflect",
            "-jvm-target",
            "17",
            "-Werror",
            "-cp",
            path,
            "-d",
            jar,
        ]
        run([*compiler, entry, *options, *(["-no-jdk"] if android else []), *sources])
        self.classes.append(jar)

    def run(self, main: str, *arguments: str | Path, stdin: str = "") -> str:
        """What the program printed; `-Xcheck:jni` reports misuse of JNI, which fails."""
        where = f"-Djava.library.path={self.bindings.folder / 'c' / 'jni'}"
        path = ":".join(str(one) for one in self.classes)
        done = run([self.java, "-Xcheck:jni", where, "-cp", path, main, *arguments], stdin=stdin)
        assert "JNI" not in done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def kotlin(bindings: Bindings, tmp_path_factory: pytest.TempPathFactory) -> Kotlin:
    kotlin = Kotlin(bindings, tmp_path_factory.mktemp("kotlin"))
    kotlin.compile("sharcs-edge", [ANDROID / "sharcs-edge" / "src" / "main" / "kotlin"])
    (documented,) = snippets("kotlin")
    source = kotlin.folder / "Classify.kt"
    source.write_text(documented, encoding="utf-8")
    kotlin.compile("tests", [HERE / "kotlin", source])
    return kotlin


def test_behaviour(kotlin: Kotlin) -> None:
    given = DATA / "classification", DATA / "pairs", kotlin.bindings.onnxruntime
    assert kotlin.run("checks.ChecksKt", *given) == "ok\n"


@pytest.mark.parametrize("kind", KINDS)
def test_answers_as_python_does(kind: str, kotlin: Kotlin) -> None:
    rows = vectors(kind)
    requests = []
    for row in rows:
        limits = ",".join(f"{name}={value}" for name, value in row["budget"].items()) or "-"
        texts = [base64.b64encode(text.encode()).decode() for text in row["texts"]]
        requests.append(" ".join([limits, *texts]))
    printed = kotlin.run(
        "answers.AnswersKt", DATA / kind, kotlin.bindings.onnxruntime, stdin="\n".join(requests) + "\n"
    )
    answers = [json.loads(line) for line in printed.splitlines()]
    assert len(answers) == len(rows)
    for found, row in zip(answers, rows, strict=True):
        assert_same(found, row["answer"])


def test_documented_kotlin_program(kotlin: Kotlin) -> None:
    given = DATA / "classification", kotlin.bindings.onnxruntime
    assert kotlin.run("ClassifyKt", *given) == documented_output()


def test_documented_java_program(kotlin: Kotlin) -> None:
    (documented,) = snippets("java")
    source = kotlin.folder / "Classify.java"
    source.write_text(documented, encoding="utf-8")
    path = ":".join(str(one) for one in kotlin.classes)
    run([program("javac"), "-Xlint:all", "-Werror", "-cp", path, "-d", kotlin.folder / "java", source])
    kotlin.classes.append(kotlin.folder / "java")
    given = DATA / "classification", kotlin.bindings.onnxruntime
    assert kotlin.run("Classify", *given) == documented_output()


def test_android_example_compiles_against_android(kotlin: Kotlin) -> None:
    android = kotlin.bindings.tool("android.jar")
    kotlin.compile("example", [ANDROID / "example" / "src" / "main" / "kotlin"], android=android)
