"""Write docs/cli.md from the commands' own --help texts.

Usage: python scripts/generate_cli_docs.py [--check]

With --check nothing is written; the exit code is 1 if docs/cli.md differs from what the commands say.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import typer
import typer.cli

from sharcs_edge.cli import app

TARGET = Path(__file__).resolve().parent.parent / "docs" / "cli.md"
HEADER = "<!-- Written by scripts/generate_cli_docs.py (make docs); do not edit. -->\n\n"


def render(application: typer.Typer) -> str:
    """All commands of `application` as one Markdown page."""
    command = typer.main.get_command(application)
    context = typer.Context(command, info_name="sharcs-edge")
    page = typer.cli.get_docs_for_click(obj=command, ctx=context, name="sharcs-edge")
    return HEADER + "\n".join(line.rstrip() for line in page.strip().splitlines()) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="only compare")
    page = render(app)
    if not parser.parse_args().check:
        TARGET.write_text(page, encoding="utf-8")
        return 0
    if TARGET.is_file() and TARGET.read_text(encoding="utf-8") == page:
        return 0
    print(f"{TARGET.name} is not what --help says; run: make docs", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
