"""Multi-label and regression along the whole road: trained, resumed, exported, verified, evaluated, answered."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerFast, TrainerCallback

from sharcs_edge.bundle import BUNDLE_FILE, Bundle
from sharcs_edge.config import SharcsConfig
from sharcs_edge.data import load_data
from sharcs_edge.errors import BundleError
from sharcs_edge.evaluate import evaluate_bundle
from sharcs_edge.export import ExportOptions, ExportReport, export_bundle
from sharcs_edge.model.conversion import to_hugging_face
from sharcs_edge.train.options import TrainOptions
from sharcs_edge.train.run import TrainRequest, train
from sharcs_edge_runtime import Session
from sharcs_edge_runtime.evaluate import evaluate
from sharcs_edge_runtime.manifest import TaskName
from tests.integration.conftest import WORDS, tiny_tokenizer

MARKS = ("kaba", "lode", "mifi")
NOISE = WORDS[-8:]
NAMES: dict[TaskName, tuple[str, ...]] = {"multi_label": MARKS, "regression": ("label",)}


def row(rng: random.Random, task: TaskName) -> dict[str, Any]:
    """Some of three marks among noise. The labels are the marks, or the number 2000 and 10 for each of them."""
    marks = [mark for mark in MARKS if rng.random() < 0.5]
    words = [*rng.choices(NOISE, k=rng.randint(1, 6)), *marks]
    rng.shuffle(words)
    value = 2000 + 10 * len(marks) + (0.5 if NOISE[0] in words else 0)
    return {"text": " ".join(words), "label": sorted(marks) if task == "multi_label" else value}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tiny_tokenizer(0), **names).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    config = AutoConfig.for_model(
        "bert", vocab_size=60, max_position_embeddings=32, initializer_range=0.1, pad_token_id=0, **sizes
    )
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    return folder


class Road(NamedTuple):
    """One task's data, request and trained bundle."""

    task: TaskName
    data: Path
    request: Callable[..., TrainRequest]
    bundle: Bundle


@pytest.fixture(scope="module", params=NAMES)
def road(request: pytest.FixtureRequest, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Road:
    task: TaskName = request.param
    folder = tmp_path_factory.mktemp(task)
    rng = random.Random(0)
    for split, rows in (("train", 160), ("dev", 40)):
        lines = [json.dumps(row(rng, task)) + "\n" for _ in range(rows)]
        (folder / f"{split}.jsonl").write_text("".join(lines))
    data = load_data(folder)
    plan = SharcsConfig(widths=(0.5, 1.0), trunk_layers=1, router_hidden_size=16)
    options = TrainOptions(epochs=4, batch_size=8, learning_rate=3e-3)

    def wanted(name: str, changes: dict[str, Any] | None = None, **more: Any) -> TrainRequest:
        changed = dataclasses.replace(options, **(changes or {}))
        return TrainRequest(str(source), data, "marks", plan, changed, folder / name, **more)

    return Road(task, folder, wanted, train(wanted("bundle")))


@pytest.fixture(scope="module")
def exported(traced_once: None, road: Road) -> ExportReport:
    """An int8 artifact."""
    return export_bundle(road.bundle.path, road.data / "int8", ExportOptions("rpi4"))


def test_every_width_learns_and_the_record_names_the_metric(road: Road) -> None:
    dev, info = road.bundle.record["dev"], road.bundle.info
    assert (info.task, info.labels) == (road.task, NAMES[road.task])
    assert dev["metric"] == ("micro_f1" if road.task == "multi_label" else "spearman")
    assert min(dev[dev["metric"]]) > 0.7, dev
    assert not [name for name in dev if "accuracy" in name]
    lines = (road.bundle.path / "metrics.jsonl").read_text().splitlines()
    assert sum(f"eval_mean_{dev['metric']}" in json.loads(line) for line in lines) == 4
    labels = [example.label for example in road.bundle.examples]
    assert labels == list(load_data(road.data).dev.labels)


def test_a_regression_answers_in_the_unit_of_its_labels(road: Road) -> None:
    scale = road.bundle.info.label_scale
    if road.task != "regression":
        assert scale is None
        assert "label_scale" not in json.loads((road.bundle.path / BUNDLE_FILE).read_text())
        return
    assert scale is not None and (scale.lowest, scale.highest) == (2000, 2030.5)
    dev = road.bundle.record["dev"]
    assert max(dev["mean_absolute_error"]) < scale.std  # what the mean of the labels alone would give is more than that
    # Losses are of standardised labels: in years squared the first would be around 4 million.
    entries = [json.loads(line) for line in (road.bundle.path / "metrics.jsonl").read_text().splitlines()]
    assert max(entry["loss"] for entry in entries if "loss" in entry) < 10


class _Stop(TrainerCallback):
    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        if args[1].global_step == 27:
            raise KeyboardInterrupt


def test_a_resumed_training_ends_with_the_same_weights(road: Road) -> None:
    again = {"checkpoint_seconds": 0.5}
    with pytest.raises(KeyboardInterrupt):
        train(road.request("resumed", again), [_Stop()])
    assert not (road.data / "resumed").exists()
    train(road.request("resumed", again, resume=True))
    whole, resumed = (load_file(road.data / name / "model.safetensors") for name in ("bundle", "resumed"))
    assert [name for name in whole if not torch.equal(whole[name], resumed[name])] == []


def test_the_published_recipe(road: Road) -> None:
    bundle = train(road.request("published", {"recipe": "sharcs", "label_window": 1, "epochs": 4}))
    dev = bundle.record["dev"]
    assert max(dev[dev["metric"]]) > 0.6, dev


def test_the_artifact_agrees_with_torch(road: Road, exported: ExportReport) -> None:
    before = exported.float_parity
    assert exported.parity.passed and before is not None and before.passed
    assert (exported.manifest.task, exported.manifest.labels) == (road.task, NAMES[road.task])
    assert {check.label_agreement for check in before.widths} == {1.0}
    limits = before.tolerance.logits, exported.parity.tolerance.logits
    scale = road.bundle.info.label_scale
    if scale is None:
        assert limits[0] == 1e-4
    else:  # rounding of a float32 near 2030, and a part of the spread of the labels
        assert 1e-4 * scale.std < limits[0] < 2e-4 * scale.std
        assert 0.2 * scale.std < limits[1] < scale.std


def test_predictions_are_torchs(road: Road, exported: ExportReport) -> None:
    session, model = Session.load(exported.artifact), road.bundle.load_model()
    for text in load_data(road.data).dev.texts[:10]:
        prediction = session.predict(text)
        tokens = [torch.from_numpy(part) for part in session.encode([text]) if part is not None]
        with torch.inference_mode():
            logits = model(*tokens, width=prediction.width).logits[0].numpy()
        limit = session.manifest.tolerance.logits
        if road.task == "regression":
            assert prediction.value == pytest.approx(logits[0], abs=limit)
        else:
            assert prediction.labels is not None
            sure = np.abs(logits) > limit
            holds = np.isin(MARKS, prediction.labels)
            assert (holds == (logits >= 0))[sure].all()
    card = (exported.artifact / "README.md").read_text(encoding="utf-8")
    says = {
        "multi_label": "Says which of 3 labels",
        "regression": "Gives a text a value (`label`; 2000 to 2030.5 in trai",
    }
    assert says[road.task] in card
    assert ("| micro F1 | exact match |" in card) == (road.task == "multi_label")


def test_evaluation_with_torch_and_on_the_artifact_agree(road: Road, exported: ExportReport) -> None:
    split = load_data(road.data).dev
    with_torch = evaluate_bundle(road.bundle, split)
    on_device = evaluate(Session.load(exported.artifact), split.texts, split.labels)
    assert with_torch.task == on_device.task == road.task
    for ours, theirs in zip(on_device.rows, with_torch.rows, strict=True):
        assert ours.name == theirs.name
        assert [*ours.scores] == [*theirs.scores]
        headline = next(iter(ours.scores))
        assert ours.scores[headline] == pytest.approx(theirs.scores[headline], abs=0.1)
    dev = road.bundle.record["dev"]
    assert [row.scores[dev["metric"]] for row in with_torch.rows[:2]] == pytest.approx(dev[dev["metric"]])
    assert ("mean_difference" in with_torch.to_dict()) == (road.task == "regression")


@pytest.mark.slow
def test_a_float32_artifact_scores_what_torch_scores(road: Road) -> None:
    split = load_data(road.data).dev
    report = export_bundle(road.bundle.path, road.data / "float32", ExportOptions("rpi4", quantization="none"))
    on_device = evaluate(Session.load(report.artifact), split.texts, split.labels)
    for ours, theirs in zip(on_device.rows, evaluate_bundle(road.bundle, split).rows, strict=True):
        assert ours.scores == pytest.approx(dict(theirs.scores), abs=1e-4)
        assert ours.mean_macs == pytest.approx(theirs.mean_macs)


def test_the_full_width_goes_back_to_transformers(road: Road, tmp_path: Path) -> None:
    to_hugging_face(road.bundle.load_model()).save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    kinds = {"multi_label": "multi_label_classification", "regression": "regression"}
    assert again.config.problem_type == kinds[road.task]
    ids = torch.tensor([[1, 5, 9, 2]])
    with torch.inference_mode():
        torch.testing.assert_close(again(ids).logits, road.bundle.load_model()(ids, width=1.0).logits)


def test_a_bundle_whose_task_cannot_be_is_damaged(road: Road, tmp_path: Path) -> None:
    for changes, complaint in (({"task": "tagging"}, "task is 'tagging'"), ({"task": "classification"}, "label_scale")):
        if road.task == "multi_label" and "label_scale" in complaint:
            continue
        folder = tmp_path / complaint.split()[0]
        folder.mkdir()
        for file in road.bundle.path.iterdir():
            (folder / file.name).symlink_to(file)
        info = json.loads((road.bundle.path / BUNDLE_FILE).read_text()) | changes
        (folder / BUNDLE_FILE).unlink()
        (folder / BUNDLE_FILE).write_text(json.dumps(info))
        with pytest.raises(BundleError, match=complaint):
            Bundle.open(folder)


SHARED_STSB = Path(__file__).resolve().parents[3] / "shared" / "data" / "stsb"


@pytest.mark.slow
@pytest.mark.skipif(not SHARED_STSB.is_dir(), reason=f"no {SHARED_STSB}")
def test_similarity_of_real_sentence_pairs(tmp_path: Path) -> None:
    """A slice of STS-B with the packaged MiniLM: pairs, labels from 0 to 5, both kinds of artifact."""
    data = load_data(SHARED_STSB, max_train_samples=400)
    data = dataclasses.replace(data, dev=data.dev.take(range(0, 1500, 15)))
    assert (data.task, data.text_inputs) == ("regression", 2)
    options = TrainOptions(epochs=2, batch_size=8, learning_rate=1e-4, max_length=32)
    plan = SharcsConfig(widths=(0.5, 1.0), trunk_layers=1)
    bundle = train(TrainRequest("demo", data, "stsb", plan, options, tmp_path / "bundle"))
    dev = bundle.record["dev"]
    assert dev["spearman"][-1] > 0.55, dev
    assert dev["mean_absolute_error"][-1] < 1.15, dev
    report = export_bundle(bundle.path, tmp_path / "artifact", ExportOptions("x86-64"))
    assert report.parity.passed
    session = Session.load(report.artifact)
    alike = session.predict(("A man is playing a guitar.", "A man plays the guitar.")).value
    apart = session.predict(("A man is playing a guitar.", "The stock market fell on Monday.")).value
    assert alike is not None and apart is not None and alike > apart + 0.5
