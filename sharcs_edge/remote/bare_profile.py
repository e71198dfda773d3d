"""A profile that the C tools measure on a device without Python, and that is computed here as Python's own is."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sharcs_edge.remote.bare import BareDevice, Program
from sharcs_edge.remote.link import Talk
from sharcs_edge.remote.mirror import Mirror, RemoteGate
from sharcs_edge_runtime._cold_start import WARM_RUNS, start_record
from sharcs_edge_runtime._mix import mix_record
from sharcs_edge_runtime._profile_inputs import LengthInput
from sharcs_edge_runtime._stages import stage_rows
from sharcs_edge_runtime.artifact import Artifact
from sharcs_edge_runtime.backend import Engine
from sharcs_edge_runtime.budget import Budget
from sharcs_edge_runtime.fingerprint import UNAVAILABLE, read_device
from sharcs_edge_runtime.manifest import Manifest, find_width
from sharcs_edge_runtime.onnx_backend import PROVIDER
from sharcs_edge_runtime.profile import COLD_STARTS, Plan, active_threads, parity_of
from sharcs_edge_runtime.tasks import encode_labels
from sharcs_edge_runtime.tokenization import Text, TokenBatch
from sharcs_edge_runtime.verify import verify

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROUND: Final = ("routed", "full", "decision", "width", "tails", "point")
Start = Callable[[], AbstractContextManager[Program]]


def measure(device: BareDevice, start: Start, plan: Plan, budget: Budget, talk: Talk) -> dict[str, Any]:
    """The record of `plan` on the device; `start` starts the tool there. Raises what `Program.ask` does."""
    settings = plan.settings
    with tempfile.TemporaryDirectory() as folder:
        mirror = Mirror(Path(folder) / "device")
        gate = RemoteGate(mirror, settings.max_celsius, settings.max_wait_seconds, talk)
        cold = _cold_start(start, plan, mirror, gate, talk)
        with start() as program:
            mirror.program = program
            program.ask("import")
            loaded = program.ask("load", threads=settings.threads, budget=_plain(budget))
            talk("checking the answers to the golden texts")
            parity = parity_of(verify(RemoteArtifact(plan.artifact, program, loaded["onnxruntime"])))
            before, threads = mirror.state(), mirror.thread_seconds()
            wall, cpu = mirror.wall_seconds, mirror.cpu_seconds
            stages = []
            for tokens, inputs in plan.inputs:
                gate.wait(group := f"stages at {tokens} tokens")
                talk(group)
                stages += _stages(program, plan, tokens, inputs)
            mirror.refresh()
            active = active_threads(threads, mirror.thread_seconds())
            gate.wait("routed mix")
            talk(f"routed against full width on {len(plan.sample)} texts")
            mix = _mix(program, plan)
            after = mirror.state()
            spent = {
                "wall_seconds": round(mirror.wall_seconds - wall, 3),
                "own_cpu_seconds": round(mirror.cpu_seconds - cpu, 3),
            }
            runtime = _runtime(loaded, settings.threads, mirror.affinity(), active)
            described = mirror.device(device.facts, loaded["c_library"])
    state = {"before": before, "after": after, **spent}
    return plan.record(budget, described, runtime, state, gate.passages, parity, cold, stages, mix)


def read_features(start: Start) -> list[str] | str:
    """As `fingerprint.read_device` has the ``features`` of the processor."""
    with tempfile.TemporaryDirectory() as folder, start() as program:
        mirror = Mirror(Path(folder) / "device")
        mirror.program = program
        mirror.refresh()
        features: list[str] | str = read_device(mirror.root)["features"]
        return features


@dataclass
class RemoteArtifact:
    """The artifact as the tool on the device runs it; see `sharcs_edge_runtime.verify.Verifiable`."""

    artifact: Artifact
    _program: Program
    engine_version: str
    engine: Engine = "onnxruntime"

    @property
    def manifest(self) -> Manifest:
        """Of the artifact."""
        return self.artifact.manifest

    @property
    def widths(self) -> tuple[float, ...]:
        """Of the artifact, ascending."""
        return self.manifest.widths

    def encode(self, texts: Sequence[Text]) -> TokenBatch:
        """Token ids of one text."""
        (text,) = texts
        ids = np.array([self._program.ask("encode", texts=parts_of(text))["input_ids"]], dtype=np.int64)
        return TokenBatch(ids, np.ones_like(ids), None)

    def run_trunk(self, tokens: TokenBatch) -> tuple[Any, NDArray[np.float32]]:
        """Trunk and tails run at once; `hidden` are the logits of all widths."""
        answer = self._program.ask("run", **_rows(tokens))
        # What is not finite came as null, which becomes NaN here.
        logits, router_logits = (np.array(answer[name], dtype=np.float32) for name in ("logits", "router_logits"))
        return logits, router_logits

    def run_tail(self, width: float, hidden: Any, attention_mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits (batch, labels) of one width."""
        logits: NDArray[np.float32] = hidden[find_width(self.widths, width)]
        return logits


def parts_of(text: Text) -> list[str]:
    """The one or two texts of an input."""
    return [text] if isinstance(text, str) else list(text)


def _rows(tokens: TokenBatch) -> dict[str, Any]:
    return {name: array.tolist() for name, array in tokens._asdict().items() if array is not None}


def _plain(budget: Budget) -> dict[str, Any]:
    """What is set, as JSON."""

    def given(values: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if value is not None}

    values = asdict(budget)
    return {**given(values), "when": [given(rule) for rule in values["when"]]}


def _cold_start(start: Start, plan: Plan, mirror: Mirror, gate: RemoteGate, talk: Talk) -> dict[str, Any]:
    """As `_cold_start.start_afresh`: one process whose load finds no file in memory, then others."""
    with start() as program:
        mirror.program = program
        gate.wait("fresh processes")
        gone = program.ask("evict")["gone"]
    talk(f"starting {COLD_STARTS} fresh processes")
    disk_load = _start_once(start, plan, mirror)["load_ms"] if gone else UNAVAILABLE
    return start_record([_start_once(start, plan, mirror) for _ in range(COLD_STARTS)], disk_load)


def _start_once(start: Start, plan: Plan, mirror: Mirror) -> dict[str, Any]:
    """As `_cold_start.measure`; what is imported is the library of ONNX Runtime."""
    texts = parts_of(plan.sample[0])
    widths = range(len(plan.artifact.manifest.widths))
    with start() as program:
        mirror.program = program
        memory = {"interpreter": mirror.memory()}
        imported = program.ask("import")["ms"]
        memory["imported"] = mirror.memory()
        loaded = program.ask("load", threads=plan.settings.threads, budget={})["ms"]
        memory["loaded"] = mirror.memory()
        runs = [program.ask("predict", texts=texts, width=widths[-1])["ms"] for _ in range(1 + WARM_RUNS)]
        for width in widths:
            program.ask("predict", texts=texts, width=width)
        memory["after_runs"] = mirror.memory()
    times = {"import_ms": imported, "load_ms": loaded, "first_run_ms": runs[0], "warm_run_ms": min(runs[1:])}
    return {**times, "memory": memory}


def _stages(program: Program, plan: Plan, tokens: int, inputs: Sequence[LengthInput]) -> list[dict[str, Any]]:
    manifest = plan.artifact.manifest
    given = [{"texts": parts_of(each.text), **_rows(each.tokens)} for each in inputs]
    answer = program.ask("stages", inputs=given, **asdict(plan.settings.pace))
    samples: dict[tuple[str, float | None], list[float]] = {
        ("tokenise", None): answer["tokenise"],
        ("trunk", None): answer["trunk"],
    }
    for width, tail in zip(manifest.widths, answer["tails"], strict=True):
        samples["tail", width] = tail
        samples["total", width] = [sum(parts) for parts in zip(answer["tokenise"], answer["trunk"], tail, strict=True)]
    return stage_rows(manifest, tokens, samples)


def _mix(program: Program, plan: Plan) -> dict[str, Any]:
    manifest, texts = plan.artifact.manifest, [parts_of(text) for text in plan.sample]
    answer = program.ask("mix", texts=texts, **asdict(plan.settings.pace.at_least(len(texts))))
    columns: list[list[float]] = [list(column) for column in zip(*answer["rounds"], strict=True)]
    rounds = dict(zip(_ROUND, columns, strict=True))
    rounds["width"] = [manifest.widths[int(index)] for index in rounds["width"]]
    routed, full = ([_labelled(manifest, each) for each in answer[name]] for name in ("routed", "full"))
    answers = (encode_labels(manifest.task, way, manifest.labels) for way in (routed, full))
    return mix_record(manifest, len(texts), rounds, *answers)


def _labelled(manifest: Manifest, answer: Any) -> Any:
    """An answer of the tool as a `Prediction` has it."""
    if manifest.task == "regression":
        return answer
    if manifest.task == "classification":
        return manifest.labels[answer]
    return tuple(manifest.labels[index] for index in answer)


def _runtime(loaded: dict[str, Any], threads: int, affinity: list[int] | str, active: int | str) -> dict[str, Any]:
    """As a profile of the Python runtime says it."""
    return {
        "sharcs_edge_runtime": f"{loaded['version']} (C)",
        "onnxruntime": loaded["onnxruntime"],
        **dict.fromkeys(("ai-edge-litert", "tokenizers", "numpy"), UNAVAILABLE),
        "requested_threads": threads,
        "affinity": affinity,
        "active_threads": active,
        "engine": f"onnxruntime {loaded['onnxruntime']}",
        "requested_provider": PROVIDER,
        "active_provider": PROVIDER,
        "thread_pool": "own" if threads > 1 else "none",
    }
