"""The Swift package on Linux, with the toolchain of the machine or of the Debian tree that get_tools.sh makes."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.bindings.support import DATA, ROOT, Bindings, documented_output, run, snippets

IOS = ROOT / "runtime" / "ios"
EXAMPLE = IOS / "Example.swiftpm"


class Swift:
    """Swift's tools, which find the C runtime by pkg-config."""

    def __init__(self, bindings: Bindings) -> None:
        self.bindings = bindings
        self.inside: list[str | Path] = []
        if shutil.which("swift") is None:
            userland = bindings.tool("swift")
            self.inside = [Path(__file__).parent / "in_userland.sh", userland, ROOT]
        (package,) = bindings.prefix.glob("lib*/**/sharcs_edge.pc")
        self.libraries = package.parent.parent
        self.environment = {
            "PKG_CONFIG_PATH": str(package.parent),
            "LD_LIBRARY_PATH": str(self.libraries),
            "HOME": str(bindings.folder),
            "SHARCS_EDGE_TEST_DATA": str(DATA),
            "SHARCS_EDGE_ONNXRUNTIME": str(bindings.onnxruntime),
        }
        self.scratch = bindings.folder / "swift"

    def run(self, *command: str | Path) -> str:
        done = run([*self.inside, *command], environment=self.environment)
        return done.stdout + done.stderr

    def compile(self, *options: str | Path) -> str:
        """swiftc, with the package's module that `swift test` built."""
        built = self.scratch / "debug"
        headers: list[str | Path] = [
            "-Xcc",
            f"-I{self.bindings.prefix / 'include'}",
            "-I",
            IOS / "Sources" / "CSharcsEdge",
        ]
        return self.run("swiftc", "-I", built / "Modules", *headers, *options)


@pytest.fixture(scope="module")
def swift(bindings: Bindings) -> Swift:
    swift = Swift(bindings)
    swift.run("swift", "build", "--build-tests", "--package-path", IOS, "--scratch-path", swift.scratch)
    return swift


def test_package(swift: Swift) -> None:
    output = swift.run("swift", "test", "--skip-build", "--package-path", IOS, "--scratch-path", swift.scratch)
    assert re.search(r"Executed [1-9]\d* tests, with 0 failures", output), output


def test_documented_swift_program(swift: Swift, tmp_path: Path) -> None:
    (documented,) = snippets("swift")
    source = tmp_path / "main.swift"
    source.write_text(documented, encoding="utf-8")
    objects = sorted((swift.scratch / "debug" / "SharcsEdge.build").glob("*.o"))
    swift.compile(source, *objects, "-L", swift.libraries, "-o", tmp_path / "classify")
    given = DATA / "classification", swift.bindings.onnxruntime
    assert swift.run(tmp_path / "classify", *given) == documented_output()


def test_example_compiles_as_far_as_linux_can(swift: Swift) -> None:
    swift.compile("-typecheck", "-swift-version", "5", EXAMPLE / "Classifier.swift")
    swift.run("swiftc", "-parse", EXAMPLE / "ExampleApp.swift", EXAMPLE / "Package.swift")
