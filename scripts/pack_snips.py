"""Pack a folder of `train.jsonl`, `dev.jsonl` and `test.jsonl` into the demo data of the package.

Usage: python scripts/pack_snips.py SOURCE_FOLDER [TARGET_FOLDER]

The same rows always give the same bytes: the gzip header carries neither a name nor a time.
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path

from sharcs_edge.assets import demo_data_folder
from sharcs_edge.data import Columns, read_examples

SPLITS = ("train", "dev", "test")


def pack(source: Path, target: Path) -> None:
    """Check every row of the three files in `source` and write them compactly to `target`."""
    target.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        lines = [
            json.dumps({"text": row.text, "label": row.label}, ensure_ascii=False, separators=(",", ":"))
            for row in read_examples(source / f"{split}.jsonl", Columns())
        ]
        data = "".join(f"{line}\n" for line in lines).encode("utf-8")
        (target / f"{split}.jsonl.gz").write_bytes(gzip.compress(data, compresslevel=9, mtime=0))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path, nargs="?", default=demo_data_folder())
    arguments = parser.parse_args()
    pack(arguments.source, arguments.target)
