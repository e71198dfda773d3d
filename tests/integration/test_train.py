"""Training end to end on a tiny random encoder: both recipes, resumption after kill -9, refusals."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast, TrainerCallback

from sharcs_edge.bundle import Bundle
from sharcs_edge.config import SharcsConfig
from sharcs_edge.data import load_data
from sharcs_edge.errors import BundleError, TrainingError, UsageError, WidthError
from sharcs_edge.train.metrics import run_all_widths
from sharcs_edge.train.options import TrainOptions
from sharcs_edge.train.run import TrainRequest, train
from sharcs_edge.train.sampler import WidthBatchSampler
from sharcs_edge.train.trainer import last_checkpoint

COLOURS = ("red", "green", "blue")
NOISE = ("a", "the", "very", "big", "small", "car", "house", "tree", "is", "and")


@pytest.fixture(scope="module")
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
    BertForSequenceClassification(
        BertConfig(
            vocab_size=len(words),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=40,
            initializer_range=0.1,  # with 0.02 so small an encoder learns nothing in a few steps
        )
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Find the one colour word among noise: learnable, not trivial at once."""
    folder = tmp_path_factory.mktemp("data")
    rng = random.Random(0)
    for split, rows in (("train", 240), ("dev", 60)):
        with (folder / f"{split}.jsonl").open("w") as file:
            for _ in range(rows):
                label = rng.choice(COLOURS)
                words = rng.choices(NOISE, k=rng.randint(1, 9))
                words.insert(rng.randint(0, len(words)), label)
                file.write(json.dumps({"text": " ".join(words), "label": label}) + "\n")
    return folder


def request(source: Path, data: Path, output: Path, **changes: Any) -> TrainRequest:
    options: dict[str, Any] = {"epochs": 3, "batch_size": 8, "learning_rate": 2e-3}
    plan: dict[str, Any] = {"widths": (0.25, 0.5, 1.0), "trunk_layers": 1, "router_hidden_size": 16}
    for key in list(changes):
        if key in TrainOptions.__dataclass_fields__:
            options[key] = changes.pop(key)
        elif key in SharcsConfig.__dataclass_fields__:
            plan[key] = changes.pop(key)
    return TrainRequest(
        model=str(source),
        data=load_data(data),
        data_name="colours",
        plan=SharcsConfig(**plan),
        options=TrainOptions(**options),
        output=output,
        **changes,
    )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"trunk_layers": 0, "width_dims": "all", "widths": (0.5, 1.0)},
        {
            "recipe": "sharcs",
            "label_window": 2,
            "epochs": 4,
            "width_dims": "all",
            "entry_norm": "every",
            "narrow_head": "shared",
        },
        {"widths": (1.0,)},
    ],
    ids=["distill", "distill-all", "sharcs", "plain"],
)
def test_training_learns_at_every_width(source: Path, data: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    bundle = train(request(source, data, tmp_path / "bundle", **({"epochs": 4} | changes)))
    dev = bundle.record["dev"]
    assert dev["accuracy"][-1] > 0.9, dev
    assert min(dev["accuracy"]) > 0.6, dev
    assert sum(dev["shares"]) == pytest.approx(1.0)
    assert bundle.info.labels == tuple(sorted(COLOURS))
    assert not (tmp_path / "bundle.partial").exists()
    epochs = [json.loads(line) for line in (tmp_path / "bundle" / "metrics.jsonl").read_text().splitlines()]
    assert sum("eval_mean_accuracy" in entry for entry in epochs) == 4
    model = bundle.load_model()
    ids = torch.tensor([[2, 4, 7, 3]])
    with torch.no_grad():
        assert model(ids, width=1.0).logits.argmax().item() == bundle.info.labels.index("red")


def test_default_widths_fit_an_encoder_of_few_heads(source: Path, data: Path, tmp_path: Path) -> None:
    """Of 1/12 and 1/4 of four heads, which are one head both, 1/4 stays; widths that were asked for are an error."""
    widths = {"widths": (1 / 12, 0.25, 1.0), "epochs": 1}
    bundle = train(request(source, data, tmp_path / "bundle", fit_widths=True, **widths))
    assert bundle.record["widths"] == [0.25, 1.0]
    with pytest.raises(WidthError, match="both round to 1 of 4 attention heads"):
        train(request(source, data, tmp_path / "other", **widths))


def test_the_sharcs_recipe_trains_narrow_widths_only_after_the_window(source: Path, data: Path, tmp_path: Path) -> None:
    """In the first W epochs every sample goes through the full width; later the easy ones move to narrow ones."""
    planned: list[set[int]] = []
    begin = WidthBatchSampler.begin_epoch

    def spy(self: Any, epoch: int) -> None:
        begin(self, epoch)
        planned.append({width for step in self.steps for width, _ in step})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WidthBatchSampler, "begin_epoch", spy)
        train(request(source, data, tmp_path / "bundle", recipe="sharcs", label_window=2, epochs=5))
    assert planned[:2] == [{2}, {2}]
    assert 0 in planned[-1]


RUN = """
import sys
sys.path.insert(0, {folder!r})
from pathlib import Path
from test_train import request
from sharcs_edge.train.run import train
from transformers import TrainerCallback
class Slow(TrainerCallback):
    def on_step_end(self, *args, **kwargs):
        import time; time.sleep({pause})
train(request(Path({source!r}), Path({data!r}), Path({output!r}), resume={resume}, **{changes!r}), [Slow()])
"""


@pytest.mark.parametrize("recipe", ["distill", "sharcs"])
def test_resuming_after_kill_9_reproduces_the_uninterrupted_run(
    recipe: str, source: Path, data: Path, tmp_path: Path
) -> None:
    changes: dict[str, Any] = {"recipe": recipe, "label_window": 1, "epochs": 3}
    train(request(source, data, tmp_path / "whole", **changes))

    def command(resume: bool, pause: float) -> list[str]:
        folder = str(Path(__file__).parent)
        often = {**changes, "checkpoint_seconds": 0.0}
        values = {"source": str(source), "data": str(data), "output": str(tmp_path / "killed"), "changes": often}
        return [sys.executable, "-c", RUN.format(folder=folder, resume=resume, pause=pause, **values)]

    process = subprocess.Popen(command(False, 0.05), env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    partial = tmp_path / "killed.partial"
    deadline = time.monotonic() + 120
    steps_per_epoch = 240 // 8
    while time.monotonic() < deadline and process.poll() is None:  # kill inside the second epoch
        newest = last_checkpoint(partial)
        if newest is not None and int(newest.name.rpartition("-")[2]) > steps_per_epoch + 2:
            break
        time.sleep(0.02)
    assert process.poll() is None, "the run ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed").exists()

    with pytest.raises(UsageError, match=r"unfinished training.*--resume"):
        train(request(source, data, tmp_path / "killed", **changes))
    with pytest.raises(UsageError, match=r"learning_rate: 0\.002 then, 0\.001 now"):
        train(request(source, data, tmp_path / "killed", resume=True, **(changes | {"learning_rate": 1e-3})))
    train(request(source, data, tmp_path / "killed", resume=True, **changes))

    whole, killed = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "killed"))
    assert whole.keys() == killed.keys()
    different = [name for name in whole if not torch.equal(whole[name], killed[name])]
    assert different == []
    assert logged(tmp_path / "killed") == logged(tmp_path / "whole")


def logged(bundle: Path) -> list[dict[str, float]]:
    """The metrics without the closing summary of the process's own time."""
    entries = [json.loads(line) for line in (bundle / "metrics.jsonl").read_text().splitlines()]
    return [entry for entry in entries if "train_runtime" not in entry]


def test_same_seed_same_weights_other_seed_other_weights(source: Path, data: Path, tmp_path: Path) -> None:
    weights = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(request(source, data, tmp_path / name, epochs=1, seed=seed))
        weights.append(load_file(tmp_path / name / "model.safetensors")["layers.1.up.weight"])
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_recorded_dev_quality_is_that_of_the_saved_model(source: Path, data: Path, tmp_path: Path) -> None:
    """The record describes the bundle as it is, offsets included, not the state of the last step."""
    from sharcs_edge.train.dataset import TokenizedSplit

    bundle = train(request(source, data, tmp_path / "bundle", epochs=2))
    dataset = load_data(data)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(bundle.path)
    dev = TokenizedSplit.encode(dataset.dev, bundle.info.labels, tokenizer, bundle.info.max_length, True)
    outputs = run_all_widths(bundle.load_model(), dev)
    summary = outputs.summary(outputs.routes())
    assert summary["accuracy"] == bundle.record["dev"]["accuracy"]
    assert summary["shares"] == bundle.record["dev"]["shares"]


def test_a_training_that_diverges_says_so_and_writes_no_bundle(source: Path, data: Path, tmp_path: Path) -> None:
    class Diverge(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            with torch.no_grad():
                next(iter(kwargs["model"].parameters())).fill_(float("nan"))

    with pytest.raises(TrainingError, match=r"diverged.*--learning-rate below 0\.002"):
        train(request(source, data, tmp_path / "bundle", epochs=1), [Diverge()])
    assert not (tmp_path / "bundle").exists()


def test_an_existing_output_is_left_alone(source: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match=r"exists.*--overwrite"):
        train(request(source, data, tmp_path / "bundle"))
    assert (tmp_path / "bundle" / "mine.txt").read_text() == "keep"


def test_bundle_refusals(source: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"not a complete bundle: .*model\.safetensors"):
        Bundle.open(source.parent)
    bundle = train(request(source, data, tmp_path / "bundle", epochs=1))
    weights = bundle.path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(BundleError, match="cannot read the weights"):
        bundle.load_model()
    file = bundle.path / "bundle.json"
    file.write_text(file.read_text().replace('"schema_version": 1', '"schema_version": 9'))
    with pytest.raises(BundleError, match="schema_version 9"):
        Bundle.open(bundle.path)


def test_a_model_that_is_not_there(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot load a model from .*nowhere"):
        train(request(tmp_path / "nowhere", data, tmp_path / "bundle"))
    assert not (tmp_path / "bundle.partial").exists()
