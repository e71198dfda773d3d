"""What all methods share: data, settings, and trained models with their answers, kept in the work folder and reused.

A model is found again by everything that its result depends on: the data's fingerprint, the width plan and every option
enter the name of its folder.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from transformers import AutoConfig

from benchmarks.curves.points import Splits
from sharcs_edge.assets import DEMO, demo_model_path
from sharcs_edge.bundle import Bundle
from sharcs_edge.config import SharcsConfig
from sharcs_edge.data import TextDataset, load_data
from sharcs_edge.data.draws import draw_rows
from sharcs_edge.errors import DataError
from sharcs_edge.model.configuration import SharcsEncoderConfig
from sharcs_edge.model.conversion import configure
from sharcs_edge.train import processes
from sharcs_edge.train.dataset import EncodedSplit
from sharcs_edge.train.metrics import SplitOutputs, run_all_widths
from sharcs_edge.train.options import Precision, TrainOptions
from sharcs_edge.train.precision import check_precision
from sharcs_edge.train.processing import encode, load_processor
from sharcs_edge.train.progress import ProgressBar
from sharcs_edge.train.run import TrainRequest, train
from sharcs_edge.train.scaling import label_scale
from sharcs_edge.train.settings import changed
from sharcs_edge.train.tasks import Task, make_task
from sharcs_edge_runtime.artifact import write_file_atomically

# Plain fine-tuning is a nested model of one width, whose router nobody asks: one unit, so that it costs nothing.
PLAIN = SharcsConfig(widths=(1.0,), trunk_layers=0, narrow_head="shared", own_layers=0.0, router_hidden_size=1)
# What a benchmark without arguments does: something small and real.
SMALL = ("--max-train-samples", "96", "--max-eval-samples", "200", "--epochs", "1")
# What a training without a recipe reads.
PLAIN_OPTIONS = (
    "epochs",
    "batch_size",
    "gradient_accumulation",
    "learning_rate",
    "weight_decay",
    "warmup",
    "max_length",
    "seed",
    "precision",
    "importance",
)


@dataclass(frozen=True)
class Settings:
    """What a benchmark is told to do. ``common``: of every method; ``plan`` and ``ours``: of ours alone."""

    model: str
    data: str
    max_train_samples: int | None
    max_eval_samples: int | None
    plan: SharcsConfig
    ours: TrainOptions
    common: TrainOptions
    work: Path

    @property
    def data_name(self) -> str:
        """For people: a folder's last part."""
        return Path(self.data).name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that :func:`settings_of` reads, and ``--seeds``."""
    parser.add_argument("--data", default=DEMO, help="whatever `sharcs-edge train --data` takes")
    parser.add_argument("--model", default=DEMO, help="the encoder that every method starts from")
    parser.add_argument("--max-train-samples", type=int, metavar="N", help="drawn at random; all unless given")
    parser.add_argument("--max-eval-samples", type=int, metavar="N", help="of dev and of test, for trying things out")
    parser.add_argument("--epochs", type=int, default=TrainOptions.epochs)
    parser.add_argument("--learning-rate", type=float, default=TrainOptions.learning_rate)
    parser.add_argument("--batch-size", type=int, default=TrainOptions.batch_size)
    parser.add_argument("--max-length", type=int, default=TrainOptions.max_length, help="tokens")
    parser.add_argument("--precision", choices=["bf16", "fp32"], help="of all methods; default: bf16 where it is fast")
    parser.add_argument("--ours", default="", metavar="SETTINGS", help='changes our recipe: "widths=1/12,1 epochs=2"')
    parser.add_argument("--seeds", default="0", help="a list such as 0,1,2")
    parser.add_argument("--work", type=Path, default=Path("build/bench/curve"), help="keeps what was trained")
    parser.add_argument("--threads", type=int, help="of torch; one per core unless given")


def settings_of(args: argparse.Namespace) -> Settings:
    """Raises UsageError for values that cannot be."""
    options = TrainOptions(
        epochs=args.epochs,
        learning_rate=args.learning_rate,
        batch_size=args.batch_size,
        max_length=args.max_length,
        precision=args.precision or _fast_precision(),
    )
    plan, ours = changed(SharcsConfig(), options, args.ours.split())
    common = replace(options, importance="none")  # an order of heads matters to narrow widths alone
    return Settings(args.model, args.data, args.max_train_samples, args.max_eval_samples, plan, ours, common, args.work)


def _fast_precision() -> Precision:
    return "fp32" if check_precision("bf16", processes.join()) else "bf16"


class Bench:
    """One seed of a benchmark: its data, and the answers of trained models on ``splits`` of it.

    Raises:
        DataError: a split is missing.
    """

    def __init__(self, settings: Settings, seed: int, splits: tuple[str, ...] = ("dev", "test")) -> None:
        self.settings = settings
        self.seed = seed
        self.splits = splits
        self.plan = settings.plan
        self.common = replace(settings.common, seed=seed)
        self.ours = replace(settings.ours, seed=seed)
        self.data: TextDataset = load_data(settings.data, max_train_samples=settings.max_train_samples, seed=seed)
        missing = [split for split in splits if getattr(self.data, split) is None]
        if missing:
            raise DataError(
                f"{settings.data_name} has no {missing[0]} split; a benchmark reports on one; give such data"
            )
        if settings.max_eval_samples is not None:
            self.data = _fewer(self.data, settings.max_eval_samples, seed)
        self.device = processes.join()
        self._encoded: dict[str, EncodedSplit] = {}

    @property
    def source(self) -> str:
        """Folder or hub name of the encoder that every method starts from."""
        return str(demo_model_path()) if self.settings.model == DEMO else self.settings.model

    @cached_property
    def task(self) -> Task:
        """In the unit of the data's labels."""
        name, tolerance = self.data.task, self.common.regression_tolerance
        if name != "regression":
            return make_task(name)
        labels = make_task(name).encode_labels(self.data.train.labels, ())
        return make_task(name, tolerance, label_scale(labels).std)

    @cached_property
    def _source_config(self) -> Any:
        return AutoConfig.from_pretrained(self.source, num_labels=len(self.data.label_names))

    def config(self, plan: SharcsConfig) -> SharcsEncoderConfig:
        """Of the nested model that ``plan`` makes of the encoder, with as many outputs as the data has labels."""
        return configure(self._source_config, plan)

    def encoded(self, split: str) -> EncodedSplit:
        """The samples of ``split`` as the encoder reads them, labels in their own unit."""
        if split not in self._encoded:
            config = self.config(PLAIN)
            self._encoded[split] = encode(
                getattr(self.data, split),
                load_processor(self.source, self.settings.model, config),
                config,
                self.data.label_names,
                self.common.max_length,
                self.task,
            )
        return self._encoded[split]

    def nested(
        self,
        name: str,
        plan: SharcsConfig,
        options: TrainOptions,
        *,
        reads: Sequence[str] | None = None,
        model: str | None = None,
    ) -> Splits:
        """The answers of a model that `sharcs_edge.train` trained, or trains now; an interrupted training goes on.

        ``reads``: the options that its training reads; all unless given.
        """
        request = TrainRequest(
            model or self.settings.model,
            self.data,
            self.settings.data_name,
            plan,
            options,
            self.folder(name, plan, options, reads),
            resume=True,
        )

        def answers() -> Splits:
            if not request.output.exists():
                self.timed(name, lambda: _train(request))
            return self._answers(Bundle.open(request.output))

        return self.kept(request.output, answers)

    def folder(self, name: str, plan: SharcsConfig, options: TrainOptions, reads: Sequence[str] | None = None) -> Path:
        """Where a model is kept: named by the method, the seed and a hash of all that its result depends on."""
        values = {key: value for key, value in asdict(options).items() if reads is None or key in reads}
        facts = {"model": self.settings.model, "data": self.data.fingerprint, **asdict(plan), **values}
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:10]
        return self.settings.work / self.settings.data_name / f"{name}-s{self.seed}-{digest}"

    def kept(self, folder: Path, answers: Callable[[], Splits]) -> Splits:
        """The answers kept beside ``folder``; if a split's are missing, made by ``answers`` and kept."""
        files = {split: folder.with_name(f"{folder.name}.{split}.npz") for split in self.splits}
        if not all(file.is_file() for file in files.values()):
            made = answers()
            for split, file in files.items():
                _save(made[split], file)
        return {split: _load(file, self.task) for split, file in files.items()}

    def timed(self, name: str, training: Callable[[], object]) -> None:
        """Runs a training and says how long it took."""
        print(f"training {name}, {self.settings.data_name}, seed {self.seed}", file=sys.stderr)
        start, used = time.monotonic(), time.process_time()
        training()
        seconds, cpu = time.monotonic() - start, time.process_time() - used
        print(f"trained {name} in {seconds:.0f} s, {cpu:.0f} s of CPU", file=sys.stderr)

    def _answers(self, bundle: Bundle) -> Splits:
        model = bundle.load_model().to(self.device)  # type: ignore[arg-type]  # partly typed upstream
        return {split: run_all_widths(model, self.encoded(split)) for split in self.splits}


def _fewer(data: TextDataset, count: int, seed: int) -> TextDataset:
    """With at most ``count`` rows of dev and of test."""
    dev, test = (
        None if split is None else split.take(draw_rows(min(count, len(split)), len(split), seed))
        for split in (data.dev, data.test)
    )
    assert dev is not None  # held out where there was none
    return replace(data, dev=dev, test=test)


def _train(request: TrainRequest) -> None:
    bar = ProgressBar(Console(stderr=True))
    try:
        train(request, [bar])
    finally:
        bar.close()


_ARRAYS = ("logits", "router_logits", "labels", "trunk_macs", "tail_macs")


def _save(outputs: SplitOutputs, file: Path) -> None:
    buffer = BytesIO()
    np.savez(buffer, **{name: getattr(outputs, name) for name in _ARRAYS})
    write_file_atomically(file, buffer.getvalue())


def _load(file: Path, task: Task) -> SplitOutputs:
    with np.load(file) as arrays:
        return SplitOutputs(**{name: arrays[name] for name in _ARRAYS}, task=task)


def use_threads(count: int | None) -> None:
    """Of torch; one per core unless given."""
    if count is not None:
        torch.set_num_threads(count)
