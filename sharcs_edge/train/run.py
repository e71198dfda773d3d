"""From a model, a data set and options to a bundle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import TrainerCallback, set_seed

from sharcs_edge import __version__
from sharcs_edge.assets import DEMO, demo_model_path
from sharcs_edge.bundle import METRICS_FILE, Bundle, BundleExample, BundleInfo, LabelScale, Modality, write_bundle_files
from sharcs_edge.config import SharcsConfig
from sharcs_edge.data import ImageDataset, ImageSplit, Split, TextDataset
from sharcs_edge.data.streams import refuse_stream
from sharcs_edge.errors import TrainingError, UsageError
from sharcs_edge.model.conversion import first_line, fit_widths, load_pretrained
from sharcs_edge.model.encoder import SharcsForSequenceClassification
from sharcs_edge.train import processes
from sharcs_edge.train.dataset import EncodedSplit
from sharcs_edge.train.escalation import policies_of_record
from sharcs_edge.train.importance import order_by_importance
from sharcs_edge.train.metrics import choose_offsets, run_all_widths
from sharcs_edge.train.options import TrainOptions
from sharcs_edge.train.precision import check_precision
from sharcs_edge.train.processing import Processor, check_fits, encode, load_processor, longest_input
from sharcs_edge.train.recipes import Recipe, make_recipe
from sharcs_edge.train.scaling import answer_in_label_unit, label_scale, standardised
from sharcs_edge.train.tasks import PROBLEM_TYPES, make_task
from sharcs_edge.train.trainer import BEST_FOLDER, SharcsTrainer, last_checkpoint, read_best
from sharcs_edge_runtime.artifact import staged_folder, write_file_atomically

RUN_FILE = "run.json"
_EXAMPLES = 64
_LIBRARIES: Mapping[Modality, tuple[str, ...]] = {
    "text": ("torch", "transformers", "tokenizers", "numpy"),
    "image": ("torch", "transformers", "pillow", "numpy"),
}
"""Whose versions the record holds: what the result may depend on."""
_CHECKPOINTS = 3  # two are kept, until a third is complete
_FREE_BYTES_PER_PARAMETER = 4 * (_CHECKPOINTS * 3 + 3)  # weights and two moments each; the best epoch twice, the bundle


@dataclass(frozen=True)
class TrainRequest:
    """What to train on what.

    Attributes:
        model: a folder, a hub name or ``demo``.
        data_name: for the record.
        fit_widths: of the plan's widths, leave out those that an encoder with few heads cannot tell apart.
    """

    model: str
    data: TextDataset | ImageDataset
    data_name: str
    plan: SharcsConfig
    options: TrainOptions
    output: Path
    resume: bool = False
    overwrite: bool = False
    fit_widths: bool = False

    def __post_init__(self) -> None:
        """Raises UsageError for data that cannot be read again and again."""
        for data in (self.data, getattr(self.data, "train", None), getattr(self.data, "dev", None)):
            refuse_stream(data)

    @property
    def partial(self) -> Path:
        """Where an unfinished run keeps its checkpoints."""
        return self.output.with_name(f"{self.output.name}.partial")

    def identity(self) -> dict[str, Any]:
        """Everything the result depends on; a resumed run must have the same."""
        options = asdict(self.options)
        del options["checkpoint_seconds"]
        plan = asdict(self.plan) | {"widths": list(self.plan.widths)}
        run = {"model": self.model, "data_fingerprint": self.data.fingerprint, "processes": processes.count()}
        return {**run, **plan, **options}


def train(
    request: TrainRequest,
    callbacks: list[TrainerCallback] | None = None,
    say: Callable[[str], None] = lambda _message: None,
) -> Bundle:
    """Trains, keeps the best epoch by dev, sets the router's offsets on dev, and writes the bundle.

    An interrupted run (also by kill -9) leaves ``<output>.partial``, from which ``resume`` goes on and ends with the
    same weights as an uninterrupted run; the output folder appears only when everything succeeded.

    Started by `accelerate launch` or `torchrun`, the processes share every step out and give one bundle; only the main
    one writes and says something.

    Raises:
        UsageError: the output exists, an unfinished run is in the way, ``resume`` does not fit it, the precision needs
            another device, or the model does not read what the data holds.
        TrainingError: not enough disk space, or training diverged.
    """
    device = processes.join()
    main = processes.is_main()
    if not main:
        say = _say_nothing
    with processes.together():
        if main:
            _check_output(request)
        if request.options.batch_size < processes.count():
            raise UsageError(
                f"a batch of {request.options.batch_size} cannot be shared by {processes.count()} processes; give a "
                "larger --batch-size"
            )
        note = check_precision(request.options.precision, device)
        if note is not None:
            say(note)
        ready = _prepare(request)
        request = ready.request
        if main:
            _check_space(request, ready)
            _prepare_partial(request)
            _say_what_is_cut(ready, say)
    checkpoint = last_checkpoint(request.partial)
    # A checkpoint has the order that its run began with.
    if checkpoint is None and request.options.importance != "none" and len(request.plan.widths) > 1:
        say("ordering heads and neurons by importance")
        ready.model.to(device)  # type: ignore[arg-type]  # partly typed upstream
        order_by_importance(ready.model, ready.in_training_unit(ready.train), request.options)
    set_seed(request.options.seed)
    trainer = SharcsTrainer(
        ready.model,
        ready.recipe,
        request.options,
        ready.in_training_unit(ready.train),
        ready.in_training_unit(ready.dev),
        request.partial,
        request.partial / METRICS_FILE,
        callbacks or [],
    )
    if checkpoint is not None:
        say(f"resuming from {checkpoint.name}")
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        with processes.together():
            if main:
                _finish(request, ready.recipe, ready.processor, ready.dev, ready.scale, say)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise _explained(error, request) from error
    return Bundle.open(request.output)


def _say_nothing(_message: str) -> None: ...


@dataclass(frozen=True)
class _Ready:
    """What training works on; ``scale``: of a regression's labels."""

    request: TrainRequest
    model: SharcsForSequenceClassification
    processor: Processor
    train: EncodedSplit
    dev: EncodedSplit
    scale: LabelScale | None
    recipe: Recipe

    def in_training_unit(self, split: EncodedSplit) -> EncodedSplit:
        """A regression learns standardised labels."""
        return split if self.scale is None else standardised(split, self.scale)


def _prepare(request: TrainRequest) -> _Ready:
    set_seed(request.options.seed)
    source = str(demo_model_path()) if request.model == DEMO else request.model
    if request.fit_widths:
        request = replace(request, plan=fit_widths(source, request.plan))
    data, options = request.data, request.options
    model = load_pretrained(source, list(data.label_names), request.plan)
    model.config.problem_type = PROBLEM_TYPES[data.task]
    check_fits(data, model.config, request.model)
    processor = load_processor(source, request.model, model.config)
    task = make_task(data.task, options.regression_tolerance)
    train, dev = (
        encode(split, processor, model.config, data.label_names, options.max_length, task)
        for split in (data.train, data.dev)
    )
    scale = label_scale(train.labels) if data.task == "regression" else None
    recipe = make_recipe(request.plan, options, train.lengths, task)
    return _Ready(request, model, processor, train, dev, scale, recipe)


def _say_what_is_cut(ready: _Ready, say: Callable[[str], None]) -> None:
    data = ready.request.data
    if isinstance(data, ImageDataset):
        return
    longest = longest_input(ready.model.config, ready.request.options.max_length)
    full = int((ready.train.lengths >= longest).sum())
    if full:
        say(
            f"{full:,} of {len(data.train):,} training texts have {longest} tokens or more; longer ones are cut there "
            "(--max-length)"
        )


def _finish(
    request: TrainRequest,
    recipe: Recipe,
    processor: Processor,
    dev: EncodedSplit,
    scale: LabelScale | None,
    say: Callable[[str], None],
) -> None:
    """Best epoch -> router offsets -> bundle."""
    best = read_best(request.partial)
    assert best is not None  # every epoch ends with an evaluation
    model: SharcsForSequenceClassification = SharcsForSequenceClassification.from_pretrained(
        request.partial / BEST_FOLDER
    )
    if scale is not None:
        answer_in_label_unit(model, scale)
        dev = copy(dev)
        dev.task = make_task("regression", request.options.regression_tolerance, scale.std)
    outputs = run_all_widths(model, dev)
    offsets = np.zeros(len(request.plan.widths), dtype=np.float32)
    if recipe.calibrates_router:
        offsets = choose_offsets(outputs, request.options.max_drop)
        with torch.no_grad():
            model.router.output.bias.add_(torch.from_numpy(offsets))
    outputs = replace(outputs, router_logits=outputs.router_logits + offsets)
    summary = outputs.summary(outputs.routes())
    say(f"best epoch by dev: {best['eval_epoch']:.0f}")
    info = BundleInfo(
        request.data.label_names,
        request.data.text_inputs,
        longest_input(model.config, request.options.max_length),
        request.model,
        request.data.task,
        scale,
        "image" if model.config.reads_images else "text",
    )
    record = {
        "sharcs_edge": __version__,
        **request.identity(),
        "data": request.data_name,
        "data_notes": list(request.data.notes),
        "samples": {"train": len(request.data.train), "dev": len(request.data.dev)},
        "best_epoch": int(best["eval_epoch"]),
        "router_offsets": offsets.tolist(),
        "dev": summary,
        "policies": policies_of_record(outputs),
        "versions": {name: version(name) for name in _LIBRARIES[info.modality]},
    }
    with staged_folder(request.output, overwrite=request.overwrite) as staging:
        model.save_pretrained(staging)
        processor.save_pretrained(staging)
        write_bundle_files(staging, info, record, _examples(request.data.dev))
        shutil.copyfile(request.partial / METRICS_FILE, staging / METRICS_FILE)
    shutil.rmtree(request.partial, ignore_errors=True)


def _examples(dev: Split | ImageSplit) -> list[BundleExample]:
    """Dev rows spread evenly over the split: an export's golden inputs, which a model of images cannot have yet."""
    if isinstance(dev, ImageSplit):
        return []
    chosen = np.unique(np.linspace(0, len(dev) - 1, min(_EXAMPLES, len(dev))).round().astype(int))
    rows = dev.take(chosen.tolist())
    return [BundleExample(row.text, row.text_pair, label) for row, label in zip(rows, rows.labels, strict=True)]


def _check_output(request: TrainRequest) -> None:
    if request.output.exists() and not request.overwrite:
        raise UsageError(f"{request.output} exists; choose another --output or pass --overwrite")
    if request.partial.exists() and not (request.resume or request.overwrite):
        raise UsageError(
            f"an unfinished training is in {request.partial}; pass --resume to go on with it or --overwrite to drop it"
        )


def _check_space(request: TrainRequest, ready: _Ready) -> None:
    history = sum(array.nbytes for array in ready.recipe.state().values())
    needed = ready.model.num_parameters() * _FREE_BYTES_PER_PARAMETER + _CHECKPOINTS * history
    folder = next(parent for parent in request.output.absolute().parents if parent.exists())
    free = shutil.disk_usage(folder).free
    if free < needed and not request.partial.exists():
        raise TrainingError(
            f"{folder} has {free / 1e6:,.0f} MB free; training with checkpoints needs about {needed / 1e6:,.0f} MB"
        )


def _prepare_partial(request: TrainRequest) -> None:
    """Leaves the folder of the run to resume, or an empty one."""
    identity = request.identity()
    file = request.partial / RUN_FILE
    if request.resume and file.is_file():
        earlier = json.loads(file.read_text(encoding="utf-8"))
        changed = sorted(key for key in identity if identity[key] != earlier.get(key))
        if changed:
            differences = "; ".join(f"{key}: {earlier.get(key)!r} then, {identity[key]!r} now" for key in changed)
            raise UsageError(f"cannot resume {request.partial}: {differences}; give the same options or --overwrite")
        return
    shutil.rmtree(request.partial, ignore_errors=True)
    request.partial.mkdir(parents=True)
    write_file_atomically(file, json.dumps(identity, indent=2).encode())


def _explained(error: Exception, request: TrainRequest) -> Exception:
    """A sentence for a full disk, which torch reports as a RuntimeError, and for a process that others wait for in
    vain; anything else as it is."""
    if processes.is_lost(error):
        return TrainingError("another process of this training ended; go on with --resume from what is saved")
    folder = request.output.absolute().parent
    free = shutil.disk_usage(folder).free
    if free < 50_000_000:
        return TrainingError(
            f"the disk of {folder} is full ({free / 1e6:.0f} MB free): {first_line(error)}; "
            "free some space and go on with --resume"
        )
    return error
