"""Real weights: the packaged MiniLM-L6 as each architecture that can hold them, against transformers' own output."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from transformers import AutoTokenizer, BertForSequenceClassification, PreTrainedModel

from sharcs_edge.assets import demo_model_path
from sharcs_edge.config import SharcsConfig
from sharcs_edge.data import read_examples
from sharcs_edge.model.architectures import ARCHITECTURES
from sharcs_edge.model.conversion import from_hugging_face, weight_links

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def minilm() -> BertForSequenceClassification:
    torch.manual_seed(0)
    model: BertForSequenceClassification = BertForSequenceClassification.from_pretrained(
        demo_model_path(), num_labels=7
    )
    model.train(False)
    return model


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [example.text for example in islice(read_examples("demo"), 32)]


def as_architecture(minilm: BertForSequenceClassification, model_type: str) -> PreTrainedModel:
    """MiniLM's weights in another architecture's class; RoBERTa's positions start behind the padding row."""
    source, row = minilm.config, ARCHITECTURES[model_type]
    config = transformers.AutoConfig.for_model(model_type)
    ours = {name: getattr(source, theirs) for name, theirs in ARCHITECTURES["bert"].sizes.items()}
    for name, theirs in row.sizes.items():
        if name != "head_dropout":
            setattr(config, theirs, ours.get(name, ours["hidden_size"]))
    config.num_labels = 7
    if row.counts_padding:
        config.max_position_embeddings += 1
    target: PreTrainedModel = getattr(transformers, row.classifier)(config)
    nested = from_hugging_face(minilm, SharcsConfig((1.0,), 0))
    weights = nested.state_dict()
    state: dict[str, Tensor] = target.state_dict()
    for link in weight_links(nested.config, row, weights):
        value = weights[link.ours]
        if row.counts_padding and link.ours == "embeddings.positions.weight":
            value = torch.cat([torch.zeros_like(value[:1]), value])
        state[link.theirs].copy_(value)
    target.train(False)
    return target


@pytest.mark.parametrize("model_type", ["bert", "distilbert", "electra", "roberta"])
def test_packaged_minilm_equals_transformers(
    minilm: BertForSequenceClassification, texts: list[str], model_type: str
) -> None:
    source = as_architecture(minilm, model_type)
    nested = from_hugging_face(source, SharcsConfig((0.25, 0.5, 1.0), 1))
    nested.train(False)
    tokenizer = AutoTokenizer.from_pretrained(demo_model_path())
    batch: dict[str, Any] = tokenizer(texts, padding=True, return_tensors="pt", return_token_type_ids=False)
    with torch.no_grad():
        expected = source(**batch).logits
        actual = nested(**batch).logits
    assert expected.std() > 0.01
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)
