"""What does training several widths cost, compared with plain fine-tuning of the same samples?

Both train through `sharcs_edge.train`, with the recipe, loss, optimizer and batches of `sharcs-edge train`; plain
fine-tuning is the same code with the single width 1.0. Their steps take turns, so that both meet the same machine. An
epoch's cost is the time of all its steps; evaluation, checkpoints, logging and what happens once before training are
left out.

    python benchmarks/training_cost.py --data sst2 --max-train-samples 3200 --precision bf16
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple, get_args

import torch
from transformers.utils import logging

from sharcs_edge.assets import DEMO, demo_model_path
from sharcs_edge.config import SharcsConfig
from sharcs_edge.data import TextDataset, load_data
from sharcs_edge.model.conversion import load_pretrained
from sharcs_edge.train import processes
from sharcs_edge.train.options import Precision, TrainOptions
from sharcs_edge.train.precision import check_precision
from sharcs_edge.train.processing import encode, load_processor
from sharcs_edge.train.recipes import make_recipe
from sharcs_edge.train.settings import changed
from sharcs_edge.train.tasks import make_task
from sharcs_edge.train.trainer import SharcsTrainer
from sharcs_edge_runtime.manifest import format_widths

PLAIN = "plain fine-tuning"
PLAIN_PLAN = SharcsConfig(widths=(1.0,), trunk_layers=0, narrow_head="shared", router_hidden_size=1)


class Seconds(NamedTuple):
    """``processor``: without what other programs took of the machine meanwhile; no measure of work on a GPU."""

    wall: float
    processor: float


Times = dict[str, list[list[Seconds]]]  # row -> epoch -> step


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=DEMO, help="whatever `sharcs-edge train --data` takes")
    parser.add_argument("--model", default=DEMO)
    parser.add_argument("--max-train-samples", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=TrainOptions.batch_size)
    parser.add_argument("--precision", default="fp32", choices=get_args(Precision))
    parser.add_argument("--ours", default="", metavar="SETTINGS", help='changes our recipe: "widths=1/12,1"')
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch")
    parser.add_argument(
        "--output", type=Path, help="write the table (Markdown) and the times (JSON) here, without suffix"
    )
    return parser.parse_args()


def trainer_of(given: str, plan: SharcsConfig, options: TrainOptions, data: TextDataset, folder: Path) -> SharcsTrainer:
    """As `sharcs_edge.train.run.train` makes it; ``given``: the model's name."""
    source = str(demo_model_path()) if given == DEMO else given
    torch.manual_seed(options.seed)
    model = load_pretrained(source, list(data.label_names), plan)
    processor = load_processor(source, given, model.config)
    task = make_task(data.task, options.regression_tolerance)
    train, dev = (
        encode(split, processor, model.config, data.label_names, options.max_length, task)
        for split in (data.train, data.dev)
    )
    recipe = make_recipe(plan, options, train.lengths, task)
    return SharcsTrainer(model, recipe, options, train, dev, folder, folder / "metrics.jsonl", [])


def timed_steps(trainer: SharcsTrainer) -> Iterator[Iterator[Seconds]]:
    """Per epoch, an iterator that trains one step at a time and gives what it took."""
    optimizer = trainer.create_optimizer()
    module = trainer._wrap_model(trainer.nested)
    optimizer = trainer.accelerator.prepare(optimizer)

    def steps() -> Iterator[Seconds]:
        for inputs in trainer.get_train_dataloader():
            started = now()
            trainer.training_step(module, inputs)
            trainer.accelerator.clip_grad_norm_(module.parameters(), trainer.args.max_grad_norm)
            optimizer.step()
            module.zero_grad()
            ended = now()
            yield Seconds(ended.wall - started.wall, ended.processor - started.processor)

    trainer.current_gradient_accumulation_steps = 1
    trainer.sampler.begin_epoch(0)
    next(steps())  # memory and kernels are made ready in the first one
    for epoch in range(trainer.options.epochs):
        trainer.epoch_index, trainer.steps_done = epoch, 0
        trainer.sampler.begin_epoch(epoch)
        yield steps()


def now() -> Seconds:
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
    return Seconds(time.perf_counter(), time.process_time())


def measure(plain: SharcsTrainer, nested: SharcsTrainer) -> Times:
    times: Times = {PLAIN: [], nested.options.recipe: []}
    for epochs in zip(timed_steps(plain), timed_steps(nested), strict=True):
        for row in times.values():
            row.append([])
        for pair in zip_longest(*epochs):
            for row, seconds in zip(times.values(), pair, strict=True):
                if seconds is not None:
                    row[-1].append(seconds)
    return times


def table(times: Times) -> str:
    def totals(name: str, clock: str) -> list[float]:
        return [sum(getattr(step, clock) for step in epoch) for epoch in times[name]]

    def of_plain(name: str, clock: str) -> str:
        ratios = [ours / plain for ours, plain in zip(totals(name, clock), totals(PLAIN, clock), strict=True)]
        return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"

    lines = ["| row | steps per epoch | ms per step | s per epoch | of plain | of plain, processor time |"]
    lines.append("|---|---:|---:|---:|---:|---:|")
    for name, epochs in times.items():
        step = statistics.median(step.wall for epoch in epochs for step in epoch)
        ratios = ["1", "1"] if name == PLAIN else [of_plain(name, clock) for clock in Seconds._fields]
        epoch = statistics.median(totals(name, "wall"))
        lines.append(f"| {name} | {len(epochs[0])} | {step * 1000:.1f} | {epoch:.2f} | {ratios[0]} | {ratios[1]} |")
    return "\n".join([*lines, "", "Medians over steps and epochs; in brackets the range over epochs."])


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    device = processes.join()
    note = check_precision(args.precision, device)
    data = load_data(args.data, max_train_samples=args.max_train_samples)
    options = TrainOptions(epochs=args.epochs, batch_size=args.batch_size, precision=args.precision)
    plan, ours = changed(SharcsConfig(), options, args.ours.split())
    with tempfile.TemporaryDirectory() as folder:
        plain = trainer_of(args.model, PLAIN_PLAN, options, data, Path(folder))
        nested = trainer_of(args.model, plan, ours, data, Path(folder))
        times = measure(plain, nested)
    settings: dict[str, Any] = {name: value for name, value in vars(args).items() if name not in ("output", "ours")}
    settings |= {"widths": format_widths(plan.widths), "trunk_layers": plan.trunk_layers, "sandwich": ours.sandwich}
    settings |= {"device": device.type, "torch": version("torch"), "transformers": version("transformers")}
    text = f"{table(times)}\n\n{', '.join(f'{name} {value}' for name, value in settings.items())}\n"
    print(text if note is None else f"{text}\n{note}")
    if args.output:
        args.output.with_suffix(".md").write_text(text, encoding="utf-8")
        document = json.dumps({"settings": settings, "seconds": times}, indent=1)
        args.output.with_suffix(".json").write_text(f"{document}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
