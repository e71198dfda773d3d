"""Exports whose activations have fixed scales, from the texts to the artifact."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from sharcs_edge.errors import DataError, ParityError, UsageError
from sharcs_edge.export import ExportOptions, ExportReport, export_bundle, plan_export
from sharcs_edge.export.plan import CALIBRATION_ROWS
from sharcs_edge_exporters.static_scales import Range, activation_ranges
from sharcs_edge_runtime import Session
from tests.integration.conftest import sentences

TinyBundle = Callable[..., Path]
STATIC = "int8_static"


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("texts") / "train.jsonl"
    lines = [json.dumps({"text": text}) + "\n" for text in sentences(CALIBRATION_ROWS + 20, seed=5)]
    file.write_text("".join(lines), encoding="utf-8")
    return str(file)


def options(texts: str | None, **others: object) -> ExportOptions:
    return ExportOptions("rpi4", quantization=STATIC, calibration_data=texts, **others)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def static(tiny_bundle: TinyBundle, texts: str, tmp_path_factory: pytest.TempPathFactory) -> ExportReport:
    return export_bundle(tiny_bundle(), tmp_path_factory.mktemp("artifacts") / "static", options(texts))


def test_an_artifact_says_that_its_scales_are_fixed(static: ExportReport) -> None:
    assert static.float_parity is not None and static.float_parity.passed and static.parity.passed
    assert {graph.quantization.recipe for graph in static.manifest.graphs} == {STATIC}
    assert [graph.quantization.matmul_coverage for graph in static.manifest.graphs] == [0.75, 1.0, 1.0, 1.0]
    assert "int8_static, 100% of the linears" in (static.artifact / "README.md").read_text(encoding="utf-8")
    for graph in static.manifest.graphs:
        file = static.artifact / graph.file
        onnx.checker.check_model(str(file), full_check=True)
        operators = [node.op_type for node in onnx.load(file, load_external_data=False).graph.node]
        assert "QuantizeLinear" in operators and "DynamicQuantizeLinear" not in operators


def test_no_answer_depends_on_its_company(static: ExportReport) -> None:
    session = Session.load(static.artifact)
    together = session.encode(sentences(6, seed=8))
    hidden, router_logits = session.run_trunk(together)
    for row, text in enumerate(sentences(6, seed=8)):
        alone = session.encode([text])
        states, scores = session.run_trunk(alone)
        np.testing.assert_allclose(scores[0], router_logits[row], atol=1e-4)
        for width in session.widths:
            np.testing.assert_allclose(
                session.run_tail(width, states, alone.attention_mask)[0],
                session.run_tail(width, hidden, together.attention_mask)[row],
                atol=1e-4,
            )


def test_weights_are_those_of_dynamic_scales_and_shared(
    static: ExportReport, tiny_bundle: TinyBundle, texts: str, tmp_path: Path
) -> None:
    dynamic = export_bundle(tiny_bundle(), tmp_path / "dynamic", ExportOptions("rpi4"))
    assert (static.artifact / "weights.bin").read_bytes() == (dynamic.artifact / "weights.bin").read_bytes()
    again = export_bundle(tiny_bundle(), tmp_path / "again", options(texts))
    assert again.manifest == static.manifest  # with the hashes of all files
    packed = Session.load(static.artifact, weight_cache=tmp_path / "cache")
    usual, tokens = Session.load(static.artifact), packed.encode(["kaba lofi"])
    for width in packed.widths:
        one, other = (s.run_tail(width, s.run_trunk(tokens)[0], tokens.attention_mask) for s in (packed, usual))
        np.testing.assert_array_equal(one, other)


def test_the_texts_are_a_part_of_the_file_the_same_every_time(tiny_bundle: TinyBundle, texts: str) -> None:
    plan = plan_export(tiny_bundle(), options(texts))
    assert len(plan.calibration) == CALIBRATION_ROWS
    assert plan.calibration == plan_export(tiny_bundle(), options(texts)).calibration
    assert plan.to_dict()["calibration_rows"] == CALIBRATION_ROWS


def test_what_cannot_be_calibrated(tiny_bundle: TinyBundle, texts: str, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"there are none: name the training texts with --calibration-data, or use --q"
    ):
        plan_export(tiny_bundle(), options(None))
    with pytest.raises(UsageError, match=r"is for --quantization int8_static; int8_dynamic fixes no scales"):
        plan_export(tiny_bundle(), ExportOptions("rpi4", calibration_data=texts))
    with pytest.raises(DataError, match="nowhere"):
        plan_export(tiny_bundle(), options(str(tmp_path / "nowhere.jsonl")))
    pairs = tiny_bundle(text_inputs=2, widths=(1.0,))
    with pytest.raises(DataError, match=r"of those drawn, text 1 is of type str; this artifact takes pairs"):
        export_bundle(pairs, tmp_path / "artifact", options(texts))
    assert not (tmp_path / "artifact").exists()


def test_a_width_that_fails_is_named_with_the_cure(
    tiny_bundle: TinyBundle, texts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def narrow(*arguments: object) -> dict[str, dict[str, Range]]:
        """Of one tail, a twentieth of what was seen, as if the texts were of another kind."""
        ranges = activation_ranges(*arguments)  # type: ignore[arg-type]
        seen = ranges["tail_w050"]
        return ranges | {"tail_w050": {name: Range(low / 20, high / 20) for name, (low, high) in seen.items()}}

    monkeypatch.setattr("sharcs_edge_exporters.onnx.activation_ranges", narrow)
    message = r"tail_w050: max abs logit difference \S+ > .*; use --quantization int8_dynamic, which scales"
    with pytest.raises(ParityError, match=message):
        export_bundle(tiny_bundle(), tmp_path / "artifact", options(texts))
    assert not list(tmp_path.iterdir())
