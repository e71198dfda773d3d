"""Artifacts made here, run on emulated ARM processors; `make test-aarch64`. Where that cannot be, skips say why.

All that runs on the devices is started as soon as its artifact is there, as many at once as this machine has cores.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.emulated.artifacts import LENGTHS, write_artifact, write_bundle
from benchmarks.emulated.counting import Count, build_plugin, count
from benchmarks.emulated.userland import ROOT, NoUserland, Userland, open_userland
from benchmarks.instructions import Case, cases

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.aarch64)


@pytest.fixture(scope="session")
def userland() -> Userland:
    try:
        return open_userland(Path(os.environ.get("SHARCS_AARCH64", ROOT / "build" / "aarch64")).resolve())
    except NoUserland as reason:
        pytest.skip(f"NOTHING RAN ON ARM: {reason}")


@pytest.fixture(scope="session")
def plugin(userland: Userland) -> Path:
    try:
        return build_plugin(userland.folder)
    except NoUserland as reason:
        pytest.skip(f"NO INSTRUCTIONS WERE COUNTED: {reason}")


@pytest.fixture(scope="session")
def bundle(traced_once: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("aarch64") / "bundle")


class Bench:
    """Every case of benchmarks/instructions.py: its artifact, verified and counted on its processor."""

    def __init__(self, userland: Userland, plugin: Path, bundle: Path, workers: ThreadPoolExecutor) -> None:
        self.artifacts: dict[tuple[str, str], Path] = {}
        self._verified: dict[Case, Future[subprocess.CompletedProcess[str]]] = {}
        self._counted: dict[Case, Future[dict[str, Count]]] = {}
        for case in cases():
            kind = case.target, case.backend
            if kind not in self.artifacts:
                self.artifacts[kind] = write_artifact(bundle, bundle.with_name("-".join(kind)), *kind)
            artifact = self.artifacts[kind]
            verify = ("-m", "sharcs_edge_runtime.verify", artifact, "--json")
            self._verified[case] = workers.submit(userland.run, case.cpu, *verify)
            self._counted[case] = workers.submit(count, userland, plugin, case.cpu, artifact, LENGTHS)

    def verified(self, case: Case) -> subprocess.CompletedProcess[str]:
        """How `python -m sharcs_edge_runtime.verify --json` ended there."""
        return self._verified[case].result()

    def counted(self, case: Case) -> dict[str, Count]:
        """See `benchmarks.emulated.counting.count`."""
        return self._counted[case].result()


@pytest.fixture(scope="session")
def bench(userland: Userland, plugin: Path, bundle: Path) -> Iterator[Bench]:
    workers = ThreadPoolExecutor(os.cpu_count())
    yield Bench(userland, plugin, bundle, workers)
    workers.shutdown(cancel_futures=True)
