"""verify: agreement is shown with numbers, and each kind of disagreement is found and named."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from sharcs_edge_runtime import Artifact, Session
from sharcs_edge_runtime.errors import ArtifactError, ParityError
from sharcs_edge_runtime.golden import Golden
from sharcs_edge_runtime.verify import main, render, verify

Resign = Callable[[Path], None]


def change_golden(artifact: Path, resign: Resign, **changes: Callable[[Any], Any]) -> None:
    """Apply functions to arrays of golden.npz and make the manifest fit again."""
    file = artifact / "golden.npz"
    with np.load(file) as archive:
        arrays = {name: archive[name] for name in archive.files}
    for name, change in changes.items():
        arrays[name] = change(arrays[name])
    kept: dict[str, Any] = {name: array for name, array in arrays.items() if array is not None}
    np.savez(file, **kept)
    resign(artifact)


def added(index: tuple[int, ...], value: float) -> Callable[[Any], Any]:
    def change(array: Any) -> Any:
        array[index] += value
        return array

    return change


def change_weight(artifact: Path, resign: Resign, graph: str, name: str, change: Callable[[Any], Any]) -> None:
    model = onnx.load(artifact / f"{graph}.onnx")
    for tensor in model.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor).copy()), name))
    onnx.save(model, artifact / f"{graph}.onnx")
    resign(artifact)


def failures(artifact: Path) -> tuple[str, ...]:
    report = verify(artifact)
    assert report.passed == (not report.failures)
    return report.failures


@pytest.mark.parametrize("options", [{}, {"text_inputs": 2}, {"token_types": False}, {"widths": (0.5,)}], ids=str)
def test_a_good_artifact_passes_with_numbers(options: dict[str, Any], make_artifact: Callable[..., Path]) -> None:
    report = verify(make_artifact(**options))
    assert report.passed
    report.raise_if_failed()
    assert [(check.graph, check.layout) for check in report.widths if check.width == 0.5] == [
        ("tail_w050", "padded"),
        ("tail_w050", "alone"),
    ]
    assert all(0 < check.max_abs_diff < 1e-5 for check in report.widths)
    assert all(check.mean_abs_diff <= check.max_abs_diff for check in report.widths)
    assert all(check.label_agreement == 1 and check.label_differs is None for check in report.widths)
    assert [(check.layout, check.reference) for check in report.routes] == [
        ("padded", "torch"),
        ("alone", "torch"),
        ("alone", "padded"),
    ]
    assert all(check.agreement == 1 and check.route_differs is None for check in report.routes)
    assert report.tokenization_agreement == 1


def test_a_loaded_session_can_be_verified(tiny_artifact: Path) -> None:
    session = Session.load(tiny_artifact)
    assert verify(session) == verify(tiny_artifact)


def test_logit_differences_name_graph_number_limit_and_row(tiny_artifact: Path, resign: Resign) -> None:
    change_golden(tiny_artifact, resign, logits=added((0, 7, 1), 0.031))
    assert failures(tiny_artifact) == (
        "tail_w025: max abs logit difference 3.1e-02 > 1e-04 (golden row 7), rows within it 0.875 < 1",
        "tail_w025: max abs logit difference 3.1e-02 > 1e-04 (golden row 7 run alone), rows within it 0.875 < 1",
    )
    with pytest.raises(
        ParityError, match=r"^tail_w025: max abs logit difference 3\.1e-02 > 1e-04 \(golden row 7\), .*; "
    ):
        verify(tiny_artifact).raise_if_failed()


def test_a_flipped_label_is_found(tiny_artifact: Path, resign: Resign) -> None:
    golden = Golden.load(tiny_artifact / "golden.npz", Artifact.open(tiny_artifact).manifest)
    other = (int(golden.logits[2, 3].argmax()) + 1) % 3
    change_golden(tiny_artifact, resign, logits=added((2, 3, other), 100.0))
    assert "tail_w100: label agreement 0.875 < 1 (golden row 3)" in failures(tiny_artifact)


def test_a_flipped_route_is_found_even_where_logits_agree(tiny_artifact: Path, resign: Resign) -> None:
    def flip(routes: Any) -> Any:
        routes[4] = (routes[4] + 1) % 3
        return routes

    change_golden(tiny_artifact, resign, routes=flip)
    assert failures(tiny_artifact) == (
        "trunk: route agreement with torch 0.875 < 1 (golden row 4)",
        "trunk: route agreement with torch 0.875 < 1 (golden row 4 run alone)",
    )


def test_another_weight_is_found(tiny_artifact: Path, resign: Resign) -> None:
    change_weight(tiny_artifact, resign, "trunk", "router", lambda weights: weights[:, ::-1].copy())
    assert any(failure.startswith("trunk: route agreement with torch") for failure in failures(tiny_artifact))


def test_nan_is_a_failure_not_a_pass(tiny_artifact: Path, resign: Resign) -> None:
    change_weight(tiny_artifact, resign, "tail_w050", "down", lambda weights: weights * np.nan)
    assert "tail_w050: max abs logit difference nan > 1e-04 (golden row 0), rows within it 0 < 1" in failures(
        tiny_artifact
    )
    change_weight(tiny_artifact, resign, "trunk", "router", lambda weights: weights * np.nan)
    assert "trunk: route agreement with torch 0 < 1 (golden row 0)" in failures(tiny_artifact)


def test_padding_that_changes_a_route_is_found(tiny_artifact: Path, resign: Resign) -> None:
    """A router that pools padding too: the classic fault of mean pooling."""
    model = onnx.load(tiny_artifact / "trunk.onnx")
    for node in model.graph.node:
        if node.op_type == "ReduceSum":
            node.input[0] = {"masked": "hidden"}.get(node.input[0], node.input[0])
    onnx.save(model, tiny_artifact / "trunk.onnx")
    resign(tiny_artifact)
    # [PAD] has a random embedding, so pooling it moves the short rows.
    found = failures(tiny_artifact)
    assert any("route agreement with torch" in failure and "run alone" not in failure for failure in found)
    assert any("route agreement with the padded batch" in failure for failure in found)
    assert not any("with torch" in failure and "run alone" in failure for failure in found)


def test_a_tokenizer_that_gives_other_tokens_is_found(tiny_artifact: Path, resign: Resign) -> None:
    file = tiny_artifact / "tokenizer.json"
    saved = json.loads(file.read_text())
    saved["normalizer"] = None
    vocabulary = saved["model"]["vocab"]
    vocabulary["light"], vocabulary["music"] = vocabulary["music"], vocabulary["light"]
    file.write_text(json.dumps(saved))
    resign(tiny_artifact)
    assert failures(tiny_artifact) == ("tokenizer: 6 of 8 texts give other tokens than at export (golden row 0)",)


def test_tolerances_come_from_the_manifest(tiny_artifact: Path, resign: Resign) -> None:
    change_golden(tiny_artifact, resign, logits=added((0, 7, 1), 0.031))
    artifact = Artifact.open(tiny_artifact)
    tolerance = dataclasses.replace(artifact.manifest.tolerance, logits=0.05)
    manifest = dataclasses.replace(artifact.manifest, tolerance=tolerance)
    (tiny_artifact / "manifest.json").write_bytes(manifest.to_json())
    assert failures(tiny_artifact) == ()


def test_quantized_graphs_may_decide_a_close_row_otherwise(tiny_artifact: Path, resign: Resign) -> None:
    """Within the share of rows that the manifest allows, but never with something that is no number."""
    change_golden(tiny_artifact, resign, logits=added((0, 7, 1), 5.0))
    artifact = Artifact.open(tiny_artifact)
    for share, missed in ((0.875, 0), (0.9, 2)):
        tolerance = dataclasses.replace(artifact.manifest.tolerance, label_agreement=share)
        manifest = dataclasses.replace(artifact.manifest, tolerance=tolerance)
        (tiny_artifact / "manifest.json").write_bytes(manifest.to_json())
        found = [failure for failure in failures(tiny_artifact) if "logit difference 5.0e+00" in failure]
        assert len(found) == missed
    change_golden(tiny_artifact, resign, logits=added((0, 7, 1), math.inf))
    manifest = dataclasses.replace(
        Artifact.open(tiny_artifact).manifest, tolerance=dataclasses.replace(tolerance, label_agreement=0.5)
    )
    (tiny_artifact / "manifest.json").write_bytes(manifest.to_json())
    assert any("logit difference inf" in failure for failure in failures(tiny_artifact))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("routes", lambda _: None, "has no array routes"),
        ("input_ids", lambda _: None, "has no array input_ids"),
        ("token_type_ids", lambda _: None, "has no array token_type_ids"),
        ("routes", lambda array: array + 3, "routes leave the 3 widths"),
        ("routes", lambda array: array.astype(np.int32), "routes holds int32, expected int64"),
        ("logits", lambda array: array[:2], r"logits has the shape \(2, 8, 3\), expected \(3, 8, 3\)"),
        ("logits", lambda array: array.astype(np.float64), "logits holds float64, expected float32"),
        ("texts", lambda array: array[:, 0], r"texts has the shape \(8,\), expected \(8, 1\)"),
        ("texts", lambda array: np.zeros(array.shape), "texts holds float64, expected text"),
        ("attention_mask", lambda array: array[:, ::-1], "attention_mask is not right padded"),
        ("attention_mask", lambda array: array * 0, "attention_mask is not right padded"),
        ("input_ids", lambda array: array[0], r"input_ids has the shape \(16,\), expected \(0, 0\)"),
    ],
)
def test_a_golden_file_of_another_form_is_refused(
    name: str, change: Callable[[Any], Any], message: str, tiny_artifact: Path, resign: Resign
) -> None:
    change_golden(tiny_artifact, resign, **{name: change})
    with pytest.raises(ArtifactError, match=message):
        verify(tiny_artifact)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 cut", b"no archive"])
def test_a_golden_file_that_is_no_archive_is_refused(data: bytes, tiny_artifact: Path, resign: Resign) -> None:
    (tiny_artifact / "golden.npz").write_bytes(data)
    resign(tiny_artifact)
    with pytest.raises(ArtifactError, match=r"golden\.npz is not a readable \.npz file"):
        verify(tiny_artifact)


def test_objects_in_a_golden_file_are_never_unpickled(tiny_artifact: Path, resign: Resign) -> None:
    change_golden(tiny_artifact, resign, texts=lambda array: array.astype(object))
    with pytest.raises(ArtifactError, match=r"not a readable \.npz file"):
        verify(tiny_artifact)


def test_golden_bytes_are_stable_and_round_trip(tiny_artifact: Path) -> None:
    artifact = Artifact.open(tiny_artifact)
    golden = Golden.load(artifact.golden_file, artifact.manifest)
    assert golden.to_bytes() == artifact.golden_file.read_bytes()


def test_exit_codes_and_output(
    tiny_artifact: Path, resign: Resign, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tiny_artifact)]) == 0
    output = capsys.readouterr()
    assert output.out == render(verify(tiny_artifact)) + "\n"
    assert output.out.endswith("passed\n")
    assert output.err == ""

    change_golden(tiny_artifact, resign, logits=added((0, 7, 1), 0.031))
    assert main([str(tiny_artifact), "--json"]) == 3
    output = capsys.readouterr()
    assert json.loads(output.out)["passed"] is False
    assert output.err.startswith("ParityError: tail_w025: max abs logit difference 3.1e-02 > 1e-04 (golden row 7)")

    (tiny_artifact / "trunk.onnx").write_bytes(b"short")
    assert main([str(tiny_artifact)]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert "trunk.onnx has 5 bytes" in output.err
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == 2


def test_as_a_module(tiny_artifact: Path) -> None:
    command = [sys.executable, "-m", "sharcs_edge_runtime.verify", str(tiny_artifact), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == json.loads(json.dumps(verify(tiny_artifact).to_dict()))
