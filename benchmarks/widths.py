"""Does carrying several widths cost the full width accuracy, and what are the narrow ones and the router worth?

For each seed: plain fine-tuning and a nested-width training on the same samples and epochs, both through
`sharcs_edge.train`; model selection on dev; every row is measured on test, once. Plain fine-tuning is the same code
with the single width 1.0: cross-entropy and nothing else. The nested widths are those of the first default: one head
for all, in the encoder's own order, trained in turn; docs/adr/0008-narrow-widths-that-earn-their-keep.md has what came
after.

    python benchmarks/widths.py --data sst2 --max-train-samples 20000 --epochs 2 --seeds 0,1,2

Finished runs are kept in the work folder and not repeated; an interrupted one is resumed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from transformers import PreTrainedTokenizerFast
from transformers.utils import logging

from sharcs_edge.bundle import Bundle
from sharcs_edge.config import SharcsConfig, parse_widths
from sharcs_edge.data import Split, TextDataset, load_data
from sharcs_edge.train.dataset import TokenizedSplit
from sharcs_edge.train.metrics import run_all_widths
from sharcs_edge.train.options import TrainOptions
from sharcs_edge.train.progress import ProgressBar
from sharcs_edge.train.run import TrainRequest, train

Rows = dict[str, dict[str, float]]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="demo")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--max-train-samples", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--recipe", default="distill", choices=["distill", "sharcs"])
    parser.add_argument("--label-window", type=int, default=1, help="for --recipe sharcs")
    parser.add_argument("--hidden-weight", type=float, default=0.0, help="for --recipe distill")
    parser.add_argument("--widths", default="0.25,0.5,1.0")
    parser.add_argument("--width-dims", default="inner", choices=["inner", "all"])
    parser.add_argument("--trunk-layers", type=int, default=1)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--split", default="test", choices=["dev", "test"], help="dev for trying things out")
    parser.add_argument("--work", type=Path, default=Path("build/bench/widths"))
    parser.add_argument(
        "--output", type=Path, help="write the table (Markdown) and the rows (JSON) here, without suffix"
    )
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def trained(args: argparse.Namespace, data: TextDataset, plan: SharcsConfig, seed: int) -> Bundle:
    kind = "plain" if plan.widths == (1.0,) else f"{args.recipe}-{args.width_dims}-k{plan.trunk_layers}"
    if kind != "plain" and args.hidden_weight:
        kind += f"-h{args.hidden_weight:g}"
    widths = "-".join(f"{width:g}" for width in plan.widths)
    name = (
        f"{Path(args.data).name}-{args.max_train_samples}-{args.epochs}-{args.learning_rate:g}-{kind}-{widths}-{seed}"
    )
    output = args.work / name
    if output.exists():
        return Bundle.open(output)
    print(f"training {name}", file=sys.stderr)
    options = TrainOptions(
        recipe="distill" if kind == "plain" else args.recipe,
        epochs=args.epochs,
        learning_rate=args.learning_rate,
        label_window=args.label_window,
        hidden_weight=0.0 if kind == "plain" else args.hidden_weight,
        importance="none",
        sandwich="turn",
        seed=seed,
    )
    bar = ProgressBar(Console(stderr=True))
    try:
        return train(TrainRequest(args.model, data, args.data, plan, options, output, resume=True), [bar])
    finally:
        bar.close()


def measured(bundle: Bundle, split: Split) -> dict[str, Any]:
    model = bundle.load_model()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(bundle.path)
    token_types = model.config.uses_token_types
    encoded = TokenizedSplit.encode(split, bundle.info.labels, tokenizer, bundle.info.max_length, token_types)
    outputs = run_all_widths(model, encoded)
    return outputs.summary(outputs.routes())


def rows_of(plain: dict[str, Any], nested: dict[str, Any], widths: tuple[float, ...]) -> Rows:
    full_macs = plain["mean_macs"][-1]
    rows = {"plain fine-tuning": {"accuracy": plain["accuracy"][-1], "macs": 1.0}}
    for width, accuracy, macs, share in zip(
        widths, nested["accuracy"], nested["mean_macs"], nested["shares"], strict=True
    ):
        rows[f"width {width:g} alone"] = {"accuracy": accuracy, "macs": macs / full_macs, "share": share}
    routed_macs = nested["routed_macs"] / full_macs
    rows["routed"] = {"accuracy": nested["routed_accuracy"], "macs": routed_macs}
    rows["random routing, same shares"] = {"accuracy": nested["random_accuracy"], "macs": routed_macs}
    return rows


def table(runs: list[Rows]) -> str:
    def mean(name: str, key: str) -> str:
        values = [run[name][key] for run in runs if key in run[name]]
        if not values:
            return "-"
        spread = f" ± {statistics.stdev(values) * 100:.2f}" if len(values) > 1 and key == "accuracy" else ""
        return f"{statistics.mean(values):.2f}" if key == "macs" else f"{statistics.mean(values) * 100:.2f}{spread}"

    lines = ["| row | accuracy % | routed share % | MACs, of plain |", "|---|---:|---:|---:|"]
    lines += [
        f"| {name} | {mean(name, 'accuracy')} | {mean(name, 'share')} | {mean(name, 'macs')} |" for name in runs[0]
    ]
    return "\n".join(lines)


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    args.work.mkdir(parents=True, exist_ok=True)
    seeds = [int(seed) for seed in args.seeds.split(",")]
    plan = SharcsConfig(
        widths=parse_widths(args.widths),
        trunk_layers=args.trunk_layers,
        width_dims=args.width_dims,
        narrow_head="shared",
        entry_norm="every" if args.recipe == "sharcs" and args.width_dims == "all" else "narrow",
    )
    runs = []
    for seed in seeds:
        data = load_data(args.data, max_train_samples=args.max_train_samples, seed=seed)
        split = data.dev if args.split == "dev" else data.test
        assert split is not None, f"{args.data} has no test split"
        plain = measured(trained(args, data, SharcsConfig((1.0,), plan.trunk_layers), seed), split)
        nested = measured(trained(args, data, plan, seed), split)
        runs.append(rows_of(plain, nested, plan.widths))
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
    settings = {name: str(value) for name, value in vars(args).items() if name not in ("work", "output", "threads")}
    text = f"{table(runs)}\n\n{', '.join(f'{k} {v}' for k, v in settings.items())}; {libraries}\n"
    print(text)
    if args.output:
        args.output.with_suffix(".md").write_text(text, encoding="utf-8")
        args.output.with_suffix(".json").write_text(json.dumps({"settings": settings, "runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
