"""What this artifact costs on this machine, measured: each stage by length and width, the routed mix, start and memory.

    python -m sharcs_edge_runtime.profile ARTIFACT [--data texts.jsonl] [--lengths 16,32,64,128] [--threads 1] [--save]

One JSON record on stdout (and in --output), talk on stderr. Exit codes: 0 done, 1 error, 2 wrong use.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, Final

import numpy as np

from sharcs_edge_runtime._cold_start import start_afresh
from sharcs_edge_runtime._mix import measure_mix
from sharcs_edge_runtime._profile_inputs import LengthInput, golden_texts, inputs_of_length, read_texts, sample_texts
from sharcs_edge_runtime._profile_inputs import Texts as Texts
from sharcs_edge_runtime._stages import measure_stages
from sharcs_edge_runtime._thermal import MAX_CELSIUS, MAX_WAIT_SECONDS, ThermalGate
from sharcs_edge_runtime._timing import Pace
from sharcs_edge_runtime._verdict import judge
from sharcs_edge_runtime.artifact import Artifact, file_sha256, write_file_atomically
from sharcs_edge_runtime.budget import Budget
from sharcs_edge_runtime.errors import ArtifactError, SharcsEdgeError, UsageError
from sharcs_edge_runtime.fingerprint import UNAVAILABLE, read_device, read_runtime, read_state, read_thread_seconds
from sharcs_edge_runtime.latency import LatencyTable, Watts
from sharcs_edge_runtime.manifest import MANIFEST_NAME
from sharcs_edge_runtime.operating_points import OperatingPoints
from sharcs_edge_runtime.policy import require_count
from sharcs_edge_runtime.probe import probe_artifact
from sharcs_edge_runtime.session import Session
from sharcs_edge_runtime.tokenization import Text
from sharcs_edge_runtime.verify import VerifyReport, verify

SCHEMA_VERSION: Final = 1
WARM_UP: Final = 5
COLD_STARTS: Final = 3
DEFAULT_LENGTHS: Final = (16, 32, 64, 128)

Talk = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """How to measure. Every figure rests on `min_samples` samples AND `min_seconds` of measuring, whichever is more.

    `lengths`: tokens per input of the stages, special tokens included; None: those of `DEFAULT_LENGTHS` that the
    artifact can have. `max_celsius`: of the processor before each group of measurements; hotter, the profiler waits for
    it to cool down, for `max_wait_seconds` in all.
    """

    lengths: tuple[int, ...] | None = None
    threads: int = 1
    min_samples: int = 50
    min_seconds: float = 2.0
    max_celsius: float = MAX_CELSIUS
    max_wait_seconds: float = MAX_WAIT_SECONDS

    @property
    def pace(self) -> Pace:
        """Of every figure."""
        return Pace(WARM_UP, self.min_samples, self.min_seconds)

    def __post_init__(self) -> None:
        lengths = self.lengths
        if lengths is not None and (not lengths or sorted(set(lengths)) != list(lengths)):
            raise UsageError(f"lengths are {list(lengths)}; expected different numbers of tokens in ascending order")
        if self.min_samples < 2:
            raise UsageError(f"min_samples is {self.min_samples}; expected 2 or more")
        for name in ("min_seconds", "max_celsius", "max_wait_seconds"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UsageError(f"{name} is {getattr(self, name)}; expected 0 or more")


def profile(
    artifact: str | os.PathLike[str],
    texts: Texts | None = None,
    settings: Settings | None = None,
    talk: Talk = lambda message: None,
    budget: Budget | None = None,
) -> dict[str, Any]:
    """Measure an artifact on this machine; the record is plain JSON values, all times in ms.

    `texts`: of the user, for the routed mix and, cut and joined, for the length sweep; the artifact's golden texts if
    None. `talk` gets a line before each step. `budget`: of the routed mix. Raises what `Session.load` and
    `Session.predict` raise, and UsageError for lengths that the artifact cannot have.
    """
    plan = Plan.make(Artifact.open(artifact), texts, settings or Settings())
    opened, settings, sample = plan.artifact, plan.settings, plan.sample
    gate = ThermalGate(settings.max_celsius, settings.max_wait_seconds, talk)

    gate.wait("fresh processes")  # before this process maps the files that the first of them is to read from the disk
    talk(f"starting {COLD_STARTS} fresh processes")
    cold = start_afresh(opened.path, settings.threads, sample[0], COLD_STARTS)
    session = Session(opened, threads=settings.threads, budget=budget)
    talk("checking the answers to the golden texts")
    parity = parity_of(verify(session))
    before, wall, cpu, threads = read_state(), perf_counter(), process_time(), read_thread_seconds()
    stages: list[dict[str, Any]] = []
    for tokens, sources in plan.inputs:
        gate.wait(group := f"stages at {tokens} tokens")
        talk(group)
        stages += measure_stages(session, tokens, sources, settings.pace)
    active = active_threads(threads, read_thread_seconds())
    gate.wait("routed mix")
    talk(f"routed against full width on {len(sample)} texts")
    mix = measure_mix(session, sample, settings.pace)
    spent = {"wall_seconds": round(perf_counter() - wall, 3), "own_cpu_seconds": round(process_time() - cpu, 3)}
    runtime = {
        **read_runtime(settings.threads),
        "active_threads": active,
        "engine": f"{session.engine} {session.engine_version}",
        "requested_provider": session.requested_provider,
        "active_provider": session.provider,
        "thread_pool": session.thread_pool,
    }
    state = {"before": before, "after": read_state(), **spent}
    return plan.record(session.budget, read_device(), runtime, state, gate.passages, parity, cold, stages, mix)


@dataclass(frozen=True)
class Plan:
    """What to measure, whatever measures it: at most `MAX_TEXTS` texts with their tokens, and inputs of each length."""

    artifact: Artifact
    settings: Settings
    texts: Texts
    sample: list[Text]
    tokens: list[int]
    inputs: list[tuple[int, list[LengthInput]]]

    @classmethod
    def make(cls, artifact: Artifact, texts: Texts | None, settings: Settings) -> Plan:
        """See `profile` for the arguments and the errors."""
        require_count("threads", settings.threads)
        chosen = texts or golden_texts(artifact)
        sample, tokens = sample_texts(artifact, chosen.texts)
        lengths = settings.lengths or _possible_lengths(artifact.manifest.tokenizer.max_length)
        inputs = [(length, inputs_of_length(artifact, sample, length)) for length in lengths]
        return cls(artifact, settings, chosen, sample, tokens, inputs)

    def record(
        self,
        budget: Budget,
        device: Mapping[str, Any],
        runtime: Mapping[str, Any],
        state: Mapping[str, Any],
        thermal: Sequence[Mapping[str, Any]],
        parity: Mapping[str, Any],
        cold_start: Mapping[str, Any],
        stages: Sequence[Mapping[str, Any]],
        mix: Mapping[str, Any],
    ) -> dict[str, Any]:
        """The record of what was measured; each argument is a field of it."""
        points = OperatingPoints.load(self.artifact)
        before, after = state["before"], state["after"]
        return {
            "kind": "profile",
            "schema_version": SCHEMA_VERSION,
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "artifact": _describe(self.artifact),
            "settings": {
                **asdict(self.settings),
                "warm_up": WARM_UP,
                "lengths": [length for length, _ in self.inputs],
            },
            "budget": _given(budget),
            "device": device,
            "runtime": runtime,
            "state": state,
            "thermal": thermal,
            "texts": _describe_texts(self.texts, self.sample, self.tokens),
            "parity": parity,
            "cold_start": cold_start,
            "stages": stages,
            "mix": mix,
            "operating_points": None if points is None else _front(points),
            "verdict": judge(stages, before, after, state, thermal),
        }


def _possible_lengths(max_length: int) -> tuple[int, ...]:
    return tuple(tokens for tokens in DEFAULT_LENGTHS if tokens <= max_length) or (max_length,)


def parity_of(report: VerifyReport) -> dict[str, Any]:
    """Whether this machine answers the golden texts as torch did: labels per width, routes of texts run alone."""
    routes = next(check for check in report.routes if check.layout == "alone" and check.reference == "torch")
    return {
        "passed": report.passed,
        "rows": report.rows,
        "label_agreement": min(check.label_agreement for check in report.widths),
        "route_agreement": routes.agreement,
        "failures": list(report.failures),
    }


def active_threads(before: Mapping[int, float] | str, after: Mapping[int, float] | str) -> int | str:
    """Threads that computed: with a tenth of the busiest one's processor time or more."""
    if isinstance(before, str) or isinstance(after, str):
        return UNAVAILABLE
    spent = [seconds - before.get(thread, 0.0) for thread, seconds in after.items()]
    return sum(seconds >= 0.1 * max(spent) for seconds in spent)


def _describe(artifact: Artifact) -> dict[str, Any]:
    manifest = artifact.manifest
    return {
        "name": artifact.path.name,
        "manifest_sha256": file_sha256(artifact.file(MANIFEST_NAME)),
        "family": manifest.family,
        "task": manifest.task,
        "backend": manifest.backend,
        "target": manifest.target,
        "widths": list(manifest.widths),
        "trunk_layers": manifest.trunk_layers,
        "num_layers": manifest.num_layers,
        "bytes": sum(file.bytes for file in manifest.all_files),
        "graphs": [
            {"name": graph.name, "bytes": graph.bytes, "quantization": graph.quantization.recipe}
            for graph in manifest.graphs
        ],
    }


def _describe_texts(texts: Texts, sample: Sequence[Text], tokens: Sequence[int]) -> dict[str, Any]:
    p50, p95 = np.percentile(tokens, (50, 95))
    return {
        "source": texts.source,
        "sha256": sha256(json.dumps(sample, ensure_ascii=False).encode("utf-8")).hexdigest(),
        "given": len(texts.texts),
        "used": len(tokens),
        "tokens_mean": round(float(np.mean(tokens)), 2),
        "tokens_p50": round(float(p50), 2),
        "tokens_p95": round(float(p95), 2),
    }


def _front(points: OperatingPoints) -> dict[str, Any]:
    """What calibration found, without what only the runtime needs; `mean_ms` is of the machine that calibrated."""
    kept = ("score", "drop", "macs", "mean_ms", "shares", "starts", "certified")
    return {
        **{name: getattr(points, name) for name in ("metric", "against", "max_drop", "confidence", "samples")},
        "points": [{name: _plain(getattr(point, name)) for name in kept} for point in points.points],
    }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def save(artifact: str | os.PathLike[str], record: Mapping[str, Any], watts: float | None = None) -> Path:
    """Write `latency.json` into the artifact that a record of `profile` is about; the path of the file.

    `watts`: what the device draws while it computes; without, those of the file that is replaced are kept. Raises
    ArtifactError if the artifact is another one.
    """
    opened = Artifact.open(artifact, verify_hashes=False)
    source = Watts(watts, "given to profile --save") if watts is not None else _known_watts(opened, record)
    return LatencyTable.of_profile(record, source).write(opened)


def _known_watts(artifact: Artifact, record: Mapping[str, Any]) -> Watts | None:
    try:
        old = LatencyTable.load(artifact)
    except ArtifactError:  # it is about to be replaced
        return None
    return old.watts if old is not None and old.measured_on(record["device"]) else None


def _given(budget: Budget) -> dict[str, Any]:
    """What a budget limits, as plain JSON values; its rules by their number."""
    limits = {name: value for name, value in asdict(budget).items() if value is not None and name != "when"}
    return {**limits, "rules": len(budget.when)}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime reports its start, too, when it is imported
    options = _parser().parse_args(arguments)
    try:
        settings = Settings(
            options.lengths,
            options.threads,
            options.min_samples,
            options.min_seconds,
            options.max_celsius,
            options.max_wait,
        )
        texts = None
        if options.data is not None:
            texts = read_texts(options.data, Artifact.open(options.artifact, verify_hashes=False).manifest.text_inputs)
        budget = Budget() if options.budget is None else Budget.load(options.budget)
        probe_artifact(options.artifact)
        record = profile(options.artifact, texts, settings, _tell, budget)
        if options.save:
            _tell(f"saved {save(options.artifact, record, options.watts or budget.watts)}")
        line = json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
        if options.output is not None:
            write_file_atomically(options.output, line.encode("utf-8"))
        sys.stdout.write(line)
    except SharcsEdgeError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    return 0


def _tell(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sharcs_edge_runtime.profile",
        description="Measure an artifact on this machine; one JSON record on stdout, talk on stderr.",
        epilog="example: python -m sharcs_edge_runtime.profile artifact --data texts.jsonl > rpi4.json",
    )
    default = Settings()
    parser.add_argument("artifact", type=Path, help="folder that `sharcs-edge export` wrote")
    parser.add_argument("--data", type=Path, help="JSONL with your texts (default: the artifact's golden texts)")
    shown = ",".join(map(str, DEFAULT_LENGTHS))
    parser.add_argument("--lengths", type=_lengths, help=f"tokens of the stages' inputs (default {shown})")
    parser.add_argument("--threads", type=int, default=default.threads, help="per prediction (default %(default)s)")
    parser.add_argument("--min-samples", type=int, default=default.min_samples, help="default %(default)s")
    parser.add_argument("--min-seconds", type=float, default=default.min_seconds, help="default %(default)s")
    parser.add_argument(
        "--max-celsius", type=float, default=default.max_celsius, help="cool down to that before (default %(default)s)"
    )
    parser.add_argument(
        "--max-wait", type=float, default=default.max_wait_seconds, help="seconds, for that (default %(default)s)"
    )
    parser.add_argument("--budget", type=Path, help="TOML file with limits for the routed mix")
    parser.add_argument("--save", action="store_true", help="also put latency.json into the artifact")
    parser.add_argument("--watts", type=float, help="with --save: what the device draws while it computes")
    parser.add_argument("--output", type=Path, help="file that gets the record too")
    return parser


def _lengths(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers such as 16,32,64") from None


if __name__ == "__main__":
    sys.exit(main())
