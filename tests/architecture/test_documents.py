"""What is written in two places says the same in both: the version, and the command reference."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

import sharcs_edge
import sharcs_edge_runtime.version

ROOT = Path(__file__).resolve().parents[2]


def test_one_version_everywhere() -> None:
    version = sharcs_edge_runtime.version.__version__
    assert sharcs_edge.__version__ == version
    assert importlib.metadata.version("sharcs-edge") == version
    assert importlib.metadata.version("sharcs-edge-runtime") == version
    assert f"sharcs-edge-runtime=={version}" in (importlib.metadata.requires("sharcs-edge") or [])
    headings = re.findall(r"^## \[(\d[^\]]*)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[:1] in ([], [version]), "the newest release in CHANGELOG.md is not the version of the package"


def test_the_version_is_written_in_one_source_file() -> None:
    sources = [*ROOT.glob("*.toml"), *ROOT.glob("runtime/python/*.toml")]
    sources += [
        path for top in ("sharcs_edge", "exporters", "devices", "runtime/python") for path in (ROOT / top).rglob("*.py")
    ]
    assigned = [
        path
        for path in sources
        if re.search(r"^(__version__|version) *= *[\"']", path.read_text(encoding="utf-8"), re.M)
    ]
    assert [path.relative_to(ROOT).as_posix() for path in assigned] == ["runtime/python/sharcs_edge_runtime/version.py"]


def test_the_command_reference_is_what_help_says() -> None:
    script = ROOT / "scripts" / "generate_cli_docs.py"
    run = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize(
    "document", sorted(path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
)
def test_links_inside_the_repository_lead_somewhere(document: str) -> None:
    path = ROOT / document
    links = re.findall(r"\]\((?!https?://|mailto:|#)([^)\s#]+)", path.read_text(encoding="utf-8"))
    missing = [link for link in links if not (path.parent / link).exists()]
    assert not missing
