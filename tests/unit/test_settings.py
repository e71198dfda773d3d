"""Settings by name."""

from __future__ import annotations

import pytest

from sharcs_edge.config import SharcsConfig
from sharcs_edge.errors import UsageError
from sharcs_edge.train.options import TrainOptions
from sharcs_edge.train.settings import changed


def test_settings_change_fields_of_plan_and_options() -> None:
    assignments = ["trunk_layers=1", "widths=1/4,1", "hardness_decay=0.5", "epochs=9", "hardness=none"]
    plan, options = changed(SharcsConfig(), TrainOptions(hardness="entropy"), assignments)
    assert (plan.trunk_layers, plan.widths) == (1, (0.25, 1.0))
    assert (options.hardness_decay, options.epochs, options.hardness) == (0.5, 9, None)


@pytest.mark.parametrize(
    "text", ["trunk_layers=many", "no_such_field=1", "trunk_layers", "width_dims=most", "epochs=1.5"]
)
def test_settings_that_cannot_be_are_named(text: str) -> None:
    with pytest.raises(UsageError, match=text.split("=")[0]):
        changed(SharcsConfig(), TrainOptions(), [text])
