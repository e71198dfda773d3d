"""`make test-bindings` builds the C runtime, gets the tools and names the folder in SHARCS_EDGE_BINDINGS."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from tests.bindings.support import Bindings


@pytest.fixture(scope="session")
def bindings() -> Bindings:
    folder = os.environ.get("SHARCS_EDGE_BINDINGS")
    if folder is None:
        pytest.skip("the bindings are built and tested by: make test-bindings")
    spec = importlib.util.find_spec("onnxruntime")
    assert spec is not None and spec.origin is not None
    (library,) = (Path(spec.origin).parent / "capi").glob("libonnxruntime.so.*")
    return Bindings(Path(folder).resolve(), library)
