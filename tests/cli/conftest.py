"""The command line as a user has it, in this process or in one of its own, and what its commands really make."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast
from typer.testing import CliRunner

from sharcs_edge.cli import app, main

COLOURS = ("blue", "green", "red")
NOISE = ("a", "the", "very", "big", "small", "car", "house", "tree", "is", "and")
RATES = ("--epochs", "3", "--batch-size", "8", "--learning-rate", "2e-3", "--threads", "1")


# A background job inherits an ignored SIGINT, which Python would leave ignored.
_SCRIPT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from sharcs_edge.cli import app, main
sys.exit(main())
"""


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def record(self) -> Any:
        """Standard output as one JSON document."""
        assert self.code == 0, self.err
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """Standard output as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]

    def failed(self, code: int, *parts: str) -> None:
        """The exit code, and one sentence on stderr that holds all of `parts`."""
        assert self.code == code, (self.code, self.err)
        assert "Traceback" not in self.err
        sentence = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(sentence) == 1, self.err
        for part in parts:
            assert part in sentence[0]


Cli = Callable[..., Outcome]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """`cli("verify", folder, stdin=b"...")` in this process."""

    def call(*arguments: str | Path, stdin: bytes = b"") -> Outcome:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Outcome(code, out, err)

    return call


def command(*arguments: str | Path) -> list[str]:
    """The same as a process of its own: what the installed script does."""
    return [sys.executable, "-c", _SCRIPT, *map(str, arguments)]


def environment(**more: str) -> dict[str, str]:
    """For a process that imports from where this one does."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"} | more


def run_process(*arguments: str | Path, stdin: bytes = b"", **more: Any) -> Outcome:
    done = subprocess.run(
        command(*arguments), input=stdin, capture_output=True, env=environment(), check=False, timeout=300, **more
    )
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())


def make(*arguments: str | Path) -> Any:
    """The record of a command that a fixture needs."""
    result = CliRunner().invoke(app, [*map(str, arguments), "--format", "json"])
    assert result.exit_code == 0, (result.exception, result.stderr)
    return json.loads(result.stdout)


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT with a WordPiece tokenizer, saved as Hugging Face would."""
    folder = tmp_path_factory.mktemp("source")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *COLOURS, *NOISE]
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=40,
        initializer_range=0.1,  # with 0.02 so small an encoder learns nothing in a few steps
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def colour_rows(count: int, seed: int, pairs: bool = False) -> list[dict[str, str]]:
    """One colour word among noise, which is the label; in a pair it stands in the second text."""
    rng = random.Random(seed)
    rows = []
    for _ in range(count):
        label = rng.choice(COLOURS)
        words = rng.choices(NOISE, k=rng.randint(1, 9))
        words.insert(rng.randint(0, len(words)), label)
        row = {"text": "a car", "text_pair": " ".join(words)} if pairs else {"text": " ".join(words)}
        rows.append(row | {"label": label})
    return rows


def write_rows(path: Path, rows: Sequence[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train, dev and test files."""
    folder = tmp_path_factory.mktemp("data")
    for seed, (split, rows) in enumerate((("train", 240), ("dev", 60), ("test", 40))):
        write_rows(folder / f"{split}.jsonl", colour_rows(rows, seed))
    return folder


@pytest.fixture(scope="session")
def trained(source: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What `train` says of `bundle`."""
    folder = tmp_path_factory.mktemp("made") / "bundle"
    return make("train", "--model", source, "--data", data, "--output", folder, "--widths", "0.25,0.5,1", *RATES)


@pytest.fixture(scope="session")
def bundle(trained: Any) -> Path:
    return Path(trained["bundle"])


@pytest.fixture(scope="session")
def exported(traced_once: None, bundle: Path) -> Any:
    """What `export` says of `artifact`."""
    return make("export", bundle, "--target", "rpi4", "--output", bundle.with_name("artifact"))


@pytest.fixture(scope="session")
def artifact(exported: Any) -> Path:
    """int8, for a Raspberry Pi 4."""
    return Path(exported["artifact"])


@pytest.fixture(scope="session")
def pair_artifact(traced_once: None, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Takes two texts; float32."""
    folder = tmp_path_factory.mktemp("pairs")
    file = write_rows(folder / "pairs.jsonl", colour_rows(80, 0, pairs=True))
    make("train", "--model", source, "--data", file, "--output", folder / "bundle", "--epochs", "1", "--threads", "1")
    options = ("--target", "x86-64", "--quantization", "none", "--widths", "1")
    make("export", folder / "bundle", *options, "--output", folder / "artifact")
    return folder / "artifact"
