"""From a model, a data set and options to a bundle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import AutoTokenizer, PreTrainedTokenizerFast, TrainerCallback, set_seed

from sharcs_edge import __version__
from sharcs_edge.assets import DEMO, demo_model_path
from sharcs_edge.bundle import METRICS_FILE, Bundle, BundleExample, BundleInfo, write_bundle_files
from sharcs_edge.config import SharcsConfig
from sharcs_edge.data import Split, TextDataset
from sharcs_edge.errors import TrainingError, UsageError
from sharcs_edge.model.conversion import first_line, load_pretrained
from sharcs_edge.model.encoder import SharcsForSequenceClassification
from sharcs_edge.train.dataset import TokenizedSplit
from sharcs_edge.train.metrics import choose_offsets, run_all_widths
from sharcs_edge.train.options import TrainOptions
from sharcs_edge.train.recipes import Recipe, make_recipe
from sharcs_edge.train.trainer import BEST_FOLDER, SharcsTrainer, last_checkpoint, read_best
from sharcs_edge_runtime.artifact import staged_folder, write_file_atomically

RUN_FILE = "run.json"
_EXAMPLES = 64
_FREE_BYTES_PER_PARAMETER = 4 * 9  # two checkpoints (weights + two moments each), the best epoch, the bundle, one spare


@dataclass(frozen=True)
class TrainRequest:
    """What to train on what. ``model``: a folder, a hub name or ``demo``; ``data_name`` is for the record."""

    model: str
    data: TextDataset
    data_name: str
    plan: SharcsConfig
    options: TrainOptions
    output: Path
    resume: bool = False
    overwrite: bool = False

    @property
    def partial(self) -> Path:
        """Where an unfinished run keeps its checkpoints."""
        return self.output.with_name(f"{self.output.name}.partial")

    def identity(self) -> dict[str, Any]:
        """Everything the result depends on; a resumed run must have the same."""
        options = asdict(self.options)
        del options["checkpoint_seconds"]
        plan = asdict(self.plan) | {"widths": list(self.plan.widths)}
        return {"model": self.model, "data_fingerprint": self.data.fingerprint, **plan, **options}


def train(
    request: TrainRequest,
    callbacks: list[TrainerCallback] | None = None,
    say: Callable[[str], None] = lambda _message: None,
) -> Bundle:
    """Trains, keeps the best epoch by dev, sets the router's offsets on dev, and writes the bundle.

    An interrupted run (also by kill -9) leaves ``<output>.partial``, from which ``resume`` goes on and ends with the
    same weights as an uninterrupted run; the output folder appears only when everything succeeded.

    Raises:
        UsageError: the output exists, an unfinished run is in the way, or ``resume`` does not fit it.
        TrainingError: not enough disk space, or training diverged.
    """
    _check_output(request)
    set_seed(request.options.seed)
    source = str(demo_model_path()) if request.model == DEMO else request.model
    model = load_pretrained(source, list(request.data.label_names), request.plan)
    tokenizer = _load_tokenizer(source, request.model)
    max_length = min(request.options.max_length, model.config.max_tokens)
    _check_space(request, model)
    checkpoint = _prepare_partial(request)

    def encode(split: Split) -> TokenizedSplit:
        names = request.data.label_names
        return TokenizedSplit.encode(split, names, tokenizer, max_length, model.config.uses_token_types)

    train_split, dev_split = encode(request.data.train), encode(request.data.dev)
    recipe = make_recipe(request.plan, request.options, train_split.lengths)
    pad_id = model.config.pad_token_id or 0
    set_seed(request.options.seed)
    trainer = SharcsTrainer(
        model,
        recipe,
        request.options,
        train_split,
        dev_split,
        pad_id,
        request.partial,
        request.partial / METRICS_FILE,
        callbacks or [],
    )
    if checkpoint is not None:
        say(f"resuming from {checkpoint.name}")
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        return _finish(request, recipe, tokenizer, max_length, dev_split, pad_id, say)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise _storage_error(error, request) from error


def _finish(
    request: TrainRequest,
    recipe: Recipe,
    tokenizer: PreTrainedTokenizerFast,
    max_length: int,
    dev: TokenizedSplit,
    pad_id: int,
    say: Callable[[str], None],
) -> Bundle:
    """Best epoch -> router offsets -> bundle."""
    best = read_best(request.partial)
    assert best is not None  # every epoch ends with an evaluation
    model: SharcsForSequenceClassification = SharcsForSequenceClassification.from_pretrained(
        request.partial / BEST_FOLDER
    )
    outputs = run_all_widths(model, dev, pad_id)
    offsets = np.zeros(len(request.plan.widths), dtype=np.float32)
    if recipe.calibrates_router:
        offsets = choose_offsets(outputs, request.options.max_drop)
        with torch.no_grad():
            model.router.output.bias.add_(torch.from_numpy(offsets))
    summary = outputs.summary(outputs.routes(offsets))
    say(f"best epoch by dev: {best['eval_epoch']:.0f}")
    record = {
        "sharcs_edge": __version__,
        **request.identity(),
        "data": request.data_name,
        "data_notes": list(request.data.notes),
        "samples": {"train": len(request.data.train), "dev": len(request.data.dev)},
        "best_epoch": int(best["eval_epoch"]),
        "router_offsets": offsets.tolist(),
        "dev": summary,
        "versions": {name: version(name) for name in ("torch", "transformers", "tokenizers", "numpy")},
    }
    info = BundleInfo(request.data.label_names, request.data.text_inputs, max_length, request.model)
    with staged_folder(request.output, overwrite=request.overwrite) as staging:
        model.save_pretrained(staging)
        tokenizer.save_pretrained(staging)
        write_bundle_files(staging, info, record, _examples(request.data.dev))
        shutil.copyfile(request.partial / METRICS_FILE, staging / METRICS_FILE)
    shutil.rmtree(request.partial, ignore_errors=True)
    return Bundle.open(request.output)


def _examples(dev: Split) -> list[BundleExample]:
    """Dev rows spread evenly over the split: an export's golden inputs."""
    chosen = np.unique(np.linspace(0, len(dev) - 1, min(_EXAMPLES, len(dev))).round().astype(int))
    return [BundleExample(row.text, row.text_pair, row.label or "") for row in dev.take(chosen.tolist())]


def _load_tokenizer(source: str, given: str) -> PreTrainedTokenizerFast:
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, use_fast=True)
    except (OSError, ValueError, ImportError) as error:
        raise UsageError(f"cannot load the tokenizer of {given!r}: {first_line(error)}") from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise UsageError(
            f"{given!r} has no fast tokenizer (tokenizer.json), which the device runtime needs; "
            "convert it with transformers first"
        )
    return tokenizer


def _check_output(request: TrainRequest) -> None:
    if request.output.exists() and not request.overwrite:
        raise UsageError(f"{request.output} exists; choose another --output or pass --overwrite")
    if request.partial.exists() and not (request.resume or request.overwrite):
        raise UsageError(
            f"an unfinished training is in {request.partial}; pass --resume to go on with it or --overwrite to drop it"
        )


def _check_space(request: TrainRequest, model: SharcsForSequenceClassification) -> None:
    needed = model.num_parameters() * _FREE_BYTES_PER_PARAMETER
    folder = next(parent for parent in request.output.absolute().parents if parent.exists())
    free = shutil.disk_usage(folder).free
    if free < needed and not request.partial.exists():
        raise TrainingError(
            f"{folder} has {free / 1e6:,.0f} MB free; training with checkpoints needs about {needed / 1e6:,.0f} MB"
        )


def _prepare_partial(request: TrainRequest) -> Path | None:
    """The checkpoint to resume from, or None after preparing an empty folder."""
    identity = request.identity()
    file = request.partial / RUN_FILE
    if request.resume and file.is_file():
        earlier = json.loads(file.read_text(encoding="utf-8"))
        changed = sorted(key for key in identity if identity[key] != earlier.get(key))
        if changed:
            differences = "; ".join(f"{key}: {earlier.get(key)!r} then, {identity[key]!r} now" for key in changed)
            raise UsageError(f"cannot resume {request.partial}: {differences}; give the same options or --overwrite")
        return last_checkpoint(request.partial)
    shutil.rmtree(request.partial, ignore_errors=True)
    request.partial.mkdir(parents=True)
    write_file_atomically(file, json.dumps(identity, indent=2).encode())
    return None


def _storage_error(error: Exception, request: TrainRequest) -> Exception:
    """A sentence for a full disk, which torch reports as a RuntimeError; anything else as it is."""
    folder = request.output.absolute().parent
    free = shutil.disk_usage(folder).free
    if free < 50_000_000:
        return TrainingError(
            f"the disk of {folder} is full ({free / 1e6:.0f} MB free): {first_line(error)}; "
            "free some space and go on with --resume"
        )
    return error
