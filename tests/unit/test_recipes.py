"""The loss of a training step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import BertConfig, BertForSequenceClassification

from sharcs_edge.config import SharcsConfig
from sharcs_edge.errors import UsageError
from sharcs_edge.model.conversion import from_hugging_face
from sharcs_edge.train.options import TrainOptions
from sharcs_edge.train.recipes import make_recipe

IDS = torch.tensor([[2, 5, 6, 7, 8, 3], [2, 9, 3, 4, 4, 3]])
LABELS = torch.tensor([0, 2])


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_a_narrow_width_learns_from_the_labels_and_from_the_full_widths_answer(share: float) -> None:
    torch.manual_seed(0)
    config = BertConfig(vocab_size=20, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64)
    config.num_labels = 3
    plan = SharcsConfig((0.5, 1.0), trunk_layers=1, router_hidden_size=16)
    model = from_hugging_face(BertForSequenceClassification(config), plan).eval()
    part = {"inputs": {"input_ids": IDS}, "labels": LABELS, "width": 0, "samples": torch.arange(2)}
    by_labels, mixed = (
        make_recipe(plan, TrainOptions(imitation=imitation), np.array([6, 6])).loss(model, [part], 0)
        for imitation in (0.0, share)
    )
    narrow, full = (tail.logits for tail in model(IDS, width=(0.5, 1.0)).tails)
    distance = F.kl_div(narrow.log_softmax(-1), full.softmax(-1), reduction="batchmean")
    expected = share * (distance - F.cross_entropy(narrow, LABELS))
    torch.testing.assert_close(mixed - by_labels, expected, atol=1e-5, rtol=1e-5)


def test_a_share_is_a_share() -> None:
    with pytest.raises(UsageError, match=r"imitation is 1\.5; expected from 0 to 1"):
        TrainOptions(imitation=1.5)
