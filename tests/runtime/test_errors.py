"""Exit codes and pickling of errors (worker processes send them to their parent)."""

from __future__ import annotations

import pickle

import pytest

from sharcs_edge_runtime import errors


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.SharcsEdgeError("x"), 1),
        (errors.InputError("x"), 1),
        (errors.ArtifactError("x"), 1),
        (errors.DocumentError("p.json", ("a @ $", "b @ $"), "calibrate again"), 1),
        (errors.ManifestError("m.json", ("a @ $",)), 1),
        (errors.MissingDependencyError("x"), 1),
        (errors.UsageError("x"), 2),
        (errors.WidthError("x"), 2),
        (errors.CheckFailed("x"), 3),
        (errors.ParityError("x"), 3),
    ],
)
def test_exit_codes_survive_pickling(error: errors.SharcsEdgeError, code: int) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.exit_code == code
