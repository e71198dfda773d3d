"""A tiny real artifact: ONNX graphs, a WordPiece tokenizer and golden rows, written through the runtime's own classes.

The golden answers come from a numpy implementation of the same arithmetic, so `verify` compares two programs.
"""

from __future__ import annotations

import dataclasses
import itertools
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import models, normalizers, pre_tokenizers, processors

from sharcs_edge_runtime.artifact import Artifact, file_reference, file_sha256, staged_folder, write_file_atomically
from sharcs_edge_runtime.golden import Golden
from sharcs_edge_runtime.latency import GraphLatency, LatencyTable
from sharcs_edge_runtime.manifest import (
    MANIFEST_NAME,
    SCHEMA_VERSION,
    Graph,
    Macs,
    Manifest,
    Quantization,
    TaskName,
    TensorSpec,
    Tokenizer,
    Tolerance,
    tail_name,
)
from sharcs_edge_runtime.operating_points import CERTAIN_BIAS, Method, OperatingPoint, OperatingPoints
from sharcs_edge_runtime.policy import choose_route
from sharcs_edge_runtime.tokenization import Text, TextEncoder, TokenBatch

HIDDEN = 8
WORDS = ["turn", "on", "off", "the", "light", "play", "some", "music", "what", "is", "weather", "today", "a", "table"]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, "##s", "##ing", ".", "?"]
TEXTS = [
    "turn on the light",
    "turn off the lights.",
    "play some music",
    "what is the weather today?",
    "a table",
    "is the music playing? turn the music off. turn on the light. play",
    "light",
    "unknownword the light",
]
Array = NDArray[Any]


@dataclass
class TinyModel:
    """Weights of a trunk and its tails, and their arithmetic in numpy."""

    widths: tuple[float, ...]
    labels: int
    weights: dict[str, Array]
    token_types: bool

    @classmethod
    def random(cls, widths: tuple[float, ...], labels: int, token_types: bool, seed: int) -> TinyModel:
        draw = np.random.default_rng(seed)
        shapes: dict[str, tuple[int, ...]] = {
            "embeddings": (len(VOCABULARY), HIDDEN),
            "types": (2, HIDDEN),
            "mix": (HIDDEN, HIDDEN),
            "router": (HIDDEN, len(widths)),
        }
        for width in widths:
            inner = max(1, round(width * HIDDEN))
            shapes[f"{tail_name(width)}.up"] = (HIDDEN, inner)
            shapes[f"{tail_name(width)}.down"] = (inner, labels)
        weights = {name: draw.normal(0, 1, shape).astype(np.float32) for name, shape in shapes.items()}
        # Words decide, not what all texts share: so the routes vary.
        weights["embeddings"][[VOCABULARY.index("[CLS]"), VOCABULARY.index("[SEP]")]] = 0
        weights["types"] *= 0.1
        return cls(widths, labels, weights, token_types)

    def trunk(self, tokens: TokenBatch) -> tuple[Array, Array]:
        hidden = self.weights["embeddings"][tokens.input_ids]  # (batch, tokens, hidden)
        if tokens.token_type_ids is not None:
            hidden = hidden + self.weights["types"][tokens.token_type_ids]
        hidden = np.tanh(hidden @ self.weights["mix"])
        return hidden, self._mean(hidden, tokens.attention_mask) @ self.weights["router"]

    def tail(self, width: float, hidden: Array, mask: Array) -> Array:
        inner = np.maximum(hidden @ self.weights[f"{tail_name(width)}.up"], 0)
        result: Array = self._mean(inner, mask) @ self.weights[f"{tail_name(width)}.down"]
        return result

    @staticmethod
    def _mean(values: Array, mask: Array) -> Array:
        weights = mask[..., None].astype(np.float32)
        result: Array = (values * weights).sum(axis=1) / weights.sum(axis=1)
        return result

    def trunk_onnx(self) -> onnx.ModelProto:
        nodes = [helper.make_node("Gather", ["embeddings", "input_ids"], ["words"])]
        inputs = ["input_ids", "attention_mask"]
        summed = "words"
        if self.token_types:
            inputs.append("token_type_ids")
            nodes += [
                helper.make_node("Gather", ["types", "token_type_ids"], ["kinds"]),
                helper.make_node("Add", ["words", "kinds"], ["summed"]),
            ]
            summed = "summed"
        nodes += [
            helper.make_node("MatMul", [summed, "mix"], ["mixed"]),
            helper.make_node("Tanh", ["mixed"], ["hidden"]),
            *_mean_nodes("hidden", "pooled"),
            helper.make_node("MatMul", ["pooled", "router"], ["router_logits"]),
        ]
        names = ["embeddings", *(["types"] if self.token_types else []), "mix", "router"]
        tensors = {name: self.weights[name] for name in names}
        return _model(
            nodes,
            [_int64(name) for name in inputs],
            [_float("hidden", "batch", "tokens", HIDDEN), _float("router_logits", "batch", len(self.widths))],
            tensors,
        )

    def tail_onnx(self, width: float) -> onnx.ModelProto:
        nodes = [
            helper.make_node("MatMul", ["hidden", "up"], ["wide"]),
            helper.make_node("Relu", ["wide"], ["inner"]),
            *_mean_nodes("inner", "pooled"),
            helper.make_node("MatMul", ["pooled", "down"], ["logits"]),
        ]
        tensors = {part: self.weights[f"{tail_name(width)}.{part}"] for part in ("up", "down")}
        return _model(
            nodes,
            [_float("hidden", "batch", "tokens", HIDDEN), _int64("attention_mask")],
            [_float("logits", "batch", self.labels)],
            tensors,
        )

    def golden(self, encoder: TextEncoder, texts: Sequence[Text]) -> Golden:
        tokens = encoder.batch([encoder.encode(text) for text in texts])
        hidden, router_logits = self.trunk(tokens)
        bias, last = (0.0,) * len(self.widths), len(self.widths) - 1
        return Golden(
            tokens=tokens,
            logits=np.stack([self.tail(width, hidden, tokens.attention_mask) for width in self.widths]),
            router_logits=router_logits,
            routes=np.array([choose_route(row, bias, 0, last)[0] for row in router_logits.tolist()], dtype=np.int64),
            texts=np.array([[text] if isinstance(text, str) else list(text) for text in texts]),
        )


def _mean_nodes(values: str, output: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["weights"]),
        helper.make_node("Mul", [values, "weights"], ["masked"]),
        helper.make_node("ReduceSum", ["masked", "tokens_axis"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["weights", "tokens_axis"], ["count"], keepdims=0),
        helper.make_node("Div", ["sum", "count"], [output]),
    ]


def _int64(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])


def _float(name: str, *shape: str | int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    tensors: dict[str, Array],
) -> onnx.ModelProto:
    tensors = {**tensors, "last": np.array([-1]), "tokens_axis": np.array([1])}
    initializers = [numpy_helper.from_array(value, name) for name, value in tensors.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def build_tokenizer() -> FastTokenizer:
    """A BERT-like WordPiece tokenizer over the tiny vocabulary."""
    ids = {word: index for index, word in enumerate(VOCABULARY)}
    tokenizer = FastTokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    return tokenizer


def _graph(name: str, role: Any, width: float | None, folder: Path, model: onnx.ModelProto, macs: Macs) -> Graph:
    file = folder / f"{name}.onnx"
    onnx.save(model, file)
    reference = file_reference(file)
    return Graph(
        name=name,
        role=role,
        width=width,
        file=reference.file,
        sha256=reference.sha256,
        bytes=reference.bytes,
        inputs=tuple(map(_tensor_spec, model.graph.input)),
        outputs=tuple(map(_tensor_spec, model.graph.output)),
        quantization=Quantization("none", 0.0),
        macs=macs,
    )


def _tensor_spec(value: onnx.ValueInfoProto) -> TensorSpec:
    kind = value.type.tensor_type
    shape = tuple(size.dim_param or size.dim_value for size in kind.shape.dim)
    return TensorSpec(value.name, "int64" if kind.elem_type == TensorProto.INT64 else "float32", shape)


def build_artifact(
    target: Path,
    *,
    widths: tuple[float, ...] = (0.25, 0.5, 1.0),
    task: TaskName = "classification",
    labels: tuple[str, ...] = ("home", "music", "weather"),
    text_inputs: int = 1,
    token_types: bool = True,
    max_length: int = 16,
    seed: int = 28,
) -> Path:
    """Write a tiny artifact to `target`."""
    model = TinyModel.random(widths, len(labels), token_types, seed)
    with staged_folder(target) as folder:
        trunk_macs = Macs(HIDDEN * len(widths), HIDDEN * HIDDEN, 0)
        graphs = [_graph("trunk", "trunk", None, folder, model.trunk_onnx(), trunk_macs)]
        for width in widths:
            inner = max(1, round(width * HIDDEN))
            macs = Macs(inner * len(labels), HIDDEN * inner, 0)
            graphs.append(_graph(tail_name(width), "tail", width, folder, model.tail_onnx(width), macs))
        build_tokenizer().save(str(folder / "tokenizer.json"))
        reference = file_reference(folder / "tokenizer.json")
        tokenizer = Tokenizer(
            reference.file, reference.sha256, reference.bytes, max_length, 0, "[PAD]", token_types, None
        )
        encoder = TextEncoder(folder / "tokenizer.json", tokenizer, text_inputs)
        texts: list[Text] = [*TEXTS] if text_inputs == 1 else list(itertools.pairwise(TEXTS))
        write_file_atomically(folder / "golden.npz", model.golden(encoder, texts).to_bytes())
        write_file_atomically(folder / "README.md", b"# A tiny artifact for tests\n")
        manifest = Manifest(
            schema_version=SCHEMA_VERSION,
            family=f"tiny-{seed}",
            task=task,
            labels=labels,
            text_inputs=text_inputs,
            backend="onnx",
            buckets=None,
            widths=widths,
            trunk_layers=1,
            num_layers=2,
            graphs=tuple(graphs),
            tokenizer=tokenizer,
            golden=file_reference(folder / "golden.npz"),
            files=(file_reference(folder / "README.md"),),
            target="x86-64",
            tolerance=Tolerance(1e-4, 1.0, 1.0),
            tools={"sharcs-edge": "0.1.0"},
        )
        write_file_atomically(folder / MANIFEST_NAME, manifest.to_json())
    return target


ArtifactBuilder = Callable[..., Path]


@pytest.fixture(scope="session")
def _built_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_artifact(tmp_path_factory.mktemp("built") / "artifact")


@pytest.fixture
def tiny_artifact(_built_artifact: Path, tmp_path: Path) -> Path:
    """A tiny artifact of one text, three labels and widths .25, .5, 1; a copy that the test may change."""
    return Path(shutil.copytree(_built_artifact, tmp_path / "artifact"))


@pytest.fixture
def make_artifact(tmp_path: Path) -> ArtifactBuilder:
    """`build_artifact` into a fresh folder of this test, for other shapes than `tiny_artifact`'s."""
    counter = itertools.count()
    return lambda **options: build_artifact(tmp_path / f"made{next(counter)}", **options)


def point(bias: Sequence[float], thresholds: Sequence[float], macs: float = 100.0, **given: Any) -> OperatingPoint:
    """An operating point with plain figures, for as many widths as `bias` has numbers."""
    shares = (0.0,) * (len(bias) - 1) + (1.0,)
    figures: dict[str, Any] = {"mean_ms": None, "score": 0.9, "drop": 0.0, "drop_bound": 0.01, "p_value": 0.01}
    figures |= {"shares": shares, "starts": shares, "certified": True}
    return OperatingPoint(tuple(bias), tuple(thresholds), macs=macs, **(figures | given))


def full_point(widths: int, macs: float = 200.0) -> OperatingPoint:
    """The widest width alone, as the last point of every front."""
    return point([0.0] * (widths - 1) + [CERTAIN_BIAS], [0.0] * (widths - 1), macs, drop_bound=0.0, p_value=0.0)


def write_points(folder: Path, *points: OperatingPoint, **changes: Any) -> OperatingPoints:
    """Calibrate an artifact by hand: these points and, behind them, the widest width alone."""
    artifact = Artifact.open(folder)
    given: dict[str, Any] = {
        "schema_version": 1,
        "manifest_sha256": file_sha256(folder / MANIFEST_NAME),
        "created": "2026-11-22T12:00:00+00:00",
        "tools": {"sharcs-edge": "0.1.0"},
        "against": "labels",
        "samples": 1000,
        "tested": 500,
        "metric": "accuracy",
        "max_drop": 0.01,
        "confidence": 0.95,
        "method": Method("fixed_sequence", "binomial"),
        "value_scale": 1.0 if artifact.manifest.task == "regression" else None,
        "points": (*points, full_point(len(artifact.manifest.widths))),
    }
    written = OperatingPoints(**(given | changes))
    written.write(artifact)
    return written


@pytest.fixture
def resign() -> Callable[[Path], None]:
    """Write a manifest whose sizes and hashes are those of the files as they are now."""

    def apply(artifact: Path) -> None:
        manifest = Manifest.parse((artifact / MANIFEST_NAME).read_bytes())

        def current(entry: Any) -> Any:
            reference = file_reference(artifact / entry.file)
            return dataclasses.replace(entry, sha256=reference.sha256, bytes=reference.bytes)

        updated = dataclasses.replace(
            manifest,
            graphs=tuple(map(current, manifest.graphs)),
            tokenizer=current(manifest.tokenizer),
            golden=current(manifest.golden),
            files=tuple(map(current, manifest.files)),
        )
        write_file_atomically(artifact / MANIFEST_NAME, updated.to_json())

    return apply


RPI4 = {"model": "Raspberry Pi 4 Model B Rev 1.4", "cpu": [{"part": "Cortex-A72", "count": 4}], "features": ["neon"]}


def save_latency(folder: Path, ms_per_token: float = 0.1, **changes: Any) -> LatencyTable:
    """A table in which every graph takes so much per token."""
    manifest = Artifact.open(folder).manifest
    times = tuple(ms_per_token * tokens for tokens in (4, 16))
    names = ["trunk", *(manifest.tail(width).name for width in manifest.widths)]
    table = LatencyTable(
        schema_version=1,
        manifest_sha256=file_sha256(folder / MANIFEST_NAME),
        created="2026-11-22T12:00:00+00:00",
        device=RPI4,
        runtime={},
        threads=1,
        verdict="stable",
        lengths=(4, 16),
        tokenise_ms=(0.01, 0.02),
        graphs=tuple(GraphLatency(name, times, times) for name in names),
        watts=None,
    )
    table = dataclasses.replace(table, **changes)
    table.write(Artifact.open(folder))
    return table
