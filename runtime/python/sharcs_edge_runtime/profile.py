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
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, Final

import numpy as np

from sharcs_edge_runtime._cold_start import start_afresh
from sharcs_edge_runtime._profile_inputs import LengthInput, golden_texts, inputs_of_length, read_texts
from sharcs_edge_runtime._profile_inputs import Texts as Texts
from sharcs_edge_runtime._timing import milliseconds_of, run_rounds, summarise
from sharcs_edge_runtime._verdict import judge
from sharcs_edge_runtime.artifact import Artifact, file_sha256, write_file_atomically
from sharcs_edge_runtime.budget import Budget
from sharcs_edge_runtime.errors import ArtifactError, InputError, SharcsEdgeError, UsageError
from sharcs_edge_runtime.evaluate import Agreement, answers_of
from sharcs_edge_runtime.fingerprint import read_device, read_runtime, read_state
from sharcs_edge_runtime.latency import LatencyTable, Watts
from sharcs_edge_runtime.manifest import MANIFEST_NAME
from sharcs_edge_runtime.policy import choose_route
from sharcs_edge_runtime.session import Prediction, Session
from sharcs_edge_runtime.tokenization import Text

SCHEMA_VERSION: Final = 1
WARM_UP: Final = 5
MAX_TEXTS: Final = 512
COLD_STARTS: Final = 3
DEFAULT_LENGTHS: Final = (16, 32, 64, 128)

Talk = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """How to measure. Every figure rests on `min_samples` samples AND `min_seconds` of measuring, whichever is more.

    `lengths`: tokens per input of the stages, special tokens included; None: those of `DEFAULT_LENGTHS` that the
    artifact can have.
    """

    lengths: tuple[int, ...] | None = None
    threads: int = 1
    min_samples: int = 50
    min_seconds: float = 2.0

    def __post_init__(self) -> None:
        lengths = self.lengths
        if lengths is not None and (not lengths or sorted(set(lengths)) != list(lengths)):
            raise UsageError(f"lengths are {list(lengths)}; expected different numbers of tokens in ascending order")
        if self.min_samples < 2:
            raise UsageError(f"min_samples is {self.min_samples}; expected 2 or more")
        if not 0 <= self.min_seconds < float("inf"):
            raise UsageError(f"min_seconds is {self.min_seconds}; expected 0 or more")


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
    settings = settings or Settings()
    session = Session.load(artifact, threads=settings.threads, budget=budget)
    chosen = texts or golden_texts(session.artifact)
    sample = _sample(chosen.texts)
    sizes = [len(session.encoder.encode(text, f"text {index}")) for index, text in enumerate(sample)]
    lengths = settings.lengths or _possible_lengths(session.manifest.tokenizer.max_length)
    inputs = [(tokens, inputs_of_length(session.artifact, sample, tokens)) for tokens in lengths]
    talk(f"starting {COLD_STARTS} fresh processes")
    cold = start_afresh(session.artifact.path, settings.threads, sample[0], COLD_STARTS)
    before, wall, cpu = read_state(), perf_counter(), process_time()
    stages = [row for tokens, sources in inputs for row in _stages(session, tokens, sources, settings, talk)]
    talk(f"routed against full width on {len(sample)} texts")
    mix = _mix(session, sample, settings)
    spent = {"wall_seconds": round(perf_counter() - wall, 3), "own_cpu_seconds": round(process_time() - cpu, 3)}
    after = read_state()
    return {
        "kind": "profile",
        "schema_version": SCHEMA_VERSION,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "artifact": _describe(session),
        "settings": {**asdict(settings), "warm_up": WARM_UP, "lengths": list(lengths)},
        "budget": _given(session.budget),
        "device": read_device(),
        "runtime": {
            **read_runtime(settings.threads),
            "engine": f"{session.engine} {session.engine_version}",
            "thread_pool": session.thread_pool,
        },
        "state": {"before": before, "after": after, **spent},
        "texts": _describe_texts(chosen, sizes),
        "cold_start": cold,
        "stages": stages,
        "mix": mix,
        "verdict": judge(stages, before, after, spent),
    }


def _possible_lengths(max_length: int) -> tuple[int, ...]:
    return tuple(tokens for tokens in DEFAULT_LENGTHS if tokens <= max_length) or (max_length,)


def _sample(texts: Sequence[Text]) -> list[Text]:
    """At most `MAX_TEXTS`, evenly spaced, so that one pass over them stays short."""
    if not texts:
        raise InputError("there are no texts to profile on; give at least one")
    places = np.linspace(0, len(texts) - 1, min(len(texts), MAX_TEXTS)).round().astype(int)
    return [texts[place] for place in places]


def _describe(session: Session) -> dict[str, Any]:
    manifest = session.manifest
    return {
        "name": session.artifact.path.name,
        "manifest_sha256": file_sha256(session.artifact.file(MANIFEST_NAME)),
        "family": manifest.family,
        "task": manifest.task,
        "backend": manifest.backend,
        "target": manifest.target,
        "widths": list(manifest.widths),
        "trunk_layers": manifest.trunk_layers,
        "num_layers": manifest.num_layers,
        "graphs": [
            {"name": graph.name, "bytes": graph.bytes, "quantization": graph.quantization.recipe}
            for graph in manifest.graphs
        ],
    }


def _describe_texts(texts: Texts, tokens: Sequence[int]) -> dict[str, Any]:
    p50, p95 = np.percentile(tokens, (50, 95))
    return {
        "source": texts.source,
        "given": len(texts.texts),
        "used": len(tokens),
        "tokens_mean": round(float(np.mean(tokens)), 2),
        "tokens_p50": round(float(p50), 2),
        "tokens_p95": round(float(p95), 2),
    }


def _stages(
    session: Session, tokens: int, inputs: Sequence[LengthInput], settings: Settings, talk: Talk
) -> list[dict[str, Any]]:
    """Tokenise, trunk with router, every tail, and their sum per width, all for one input of `tokens` tokens."""
    talk(f"stages at {tokens} tokens")
    widths = session.widths

    def run_round(number: int) -> dict[tuple[str, float | None], float]:
        source = inputs[number % len(inputs)]
        times: dict[tuple[str, float | None], float] = {}
        times["tokenise", None] = milliseconds_of(lambda: session.encoder.encode(source.text))
        start = perf_counter()
        hidden, _ = session.run_trunk(source.tokens)
        times["trunk", None] = (perf_counter() - start) * 1000
        for turn in range(len(widths)):  # another width first each time: A B C, B C A, ...
            width = widths[(number + turn) % len(widths)]
            start = perf_counter()
            session.run_tail(width, hidden, source.tokens.attention_mask)
            times["tail", width] = (perf_counter() - start) * 1000
        shared = times["tokenise", None] + times["trunk", None]
        return {**times, **{("total", width): shared + times["tail", width] for width in widths}}

    samples = _measure(run_round, settings, settings.min_samples)
    trunk = session.manifest.trunk.macs.count(tokens)
    tails = {width: session.manifest.tail(width).macs.count(tokens) for width in widths}
    macs: dict[tuple[str, float | None], int] = {("tokenise", None): 0, ("trunk", None): trunk}
    for width in widths:
        macs |= {("tail", width): tails[width], ("total", width): trunk + tails[width]}
    return [
        {
            "stage": stage,
            "width": width,
            "tokens": tokens,
            "macs": macs[stage, width],
            "ms": summarise(samples[stage, width]),
        }
        for stage, width in macs
    ]


def _measure(
    run_round: Callable[[int], Mapping[Any, float]], settings: Settings, min_samples: int
) -> dict[Any, list[float]]:
    return run_rounds(run_round, warm_up=WARM_UP, min_samples=min_samples, min_seconds=settings.min_seconds)


def _mix(session: Session, texts: Sequence[Text], settings: Settings) -> dict[str, Any]:
    """The user's texts, each routed and at full width in turn; every text counts equally often."""
    full = Budget(width=session.widths[-1])
    bias, last = (0.0,) * len(session.widths), len(session.widths) - 1
    router_logits = [session.run_trunk(session.encode([text]))[1].tolist()[0] for text in texts]
    routed_answers: dict[int, Prediction] = {}
    full_answers: dict[int, Prediction] = {}

    def run_round(number: int) -> dict[str, float]:
        place = number % len(texts)
        routed_first = (number // len(texts) + place) % 2 == 0
        for routed in (routed_first, not routed_first):
            answers = routed_answers if routed else full_answers
            answers[place] = session.predict(texts[place], budget=session.budget if routed else full)
        decision = milliseconds_of(lambda: choose_route(router_logits[place], bias, 0, last))
        return {
            "place": float(place),
            "routed": routed_answers[place].milliseconds,
            "full": full_answers[place].milliseconds,
            "decision": decision,
        }

    samples = _measure(run_round, settings, -(-settings.min_samples // len(texts)) * len(texts))
    whole = len(samples["place"]) // len(texts) * len(texts)
    samples = {name: values[:whole] for name, values in samples.items()}
    places = np.asarray(samples.pop("place"), dtype=int)
    width_of = np.array([routed_answers[place].width for place in range(len(texts))])
    return {
        "shares": _shares(session, width_of, places, samples),
        **{name: summarise(values) for name, values in samples.items()},
        "speedup": round(float(np.mean(samples["full"]) / np.mean(samples["routed"])), 4),
        **_agreement(session, routed_answers, full_answers),
        "break_even_share": _break_even(width_of[places] < session.widths[-1], samples),
    }


def _agreement(session: Session, routed: Mapping[int, Prediction], full: Mapping[int, Prediction]) -> dict[str, float]:
    """`agreement` or `mean_difference` of the routed answers with the full width's."""
    ways = ([way[place] for place in range(len(routed))] for way in (routed, full))
    return Agreement.of(session.manifest.task, *(answers_of(session, way) for way in ways)).to_dict()


def _shares(
    session: Session,
    width_of: np.ndarray[Any, Any],
    places: np.ndarray[Any, Any],
    samples: Mapping[str, Sequence[float]],
) -> list[dict[str, Any]]:
    """Per width: its share of the texts, and the mean ms of those texts routed and at full width (None if no text)."""
    rows = []
    for width in session.widths:
        chosen = width_of[places] == width
        means = {f"{way}_ms": _mean(np.asarray(samples[way])[chosen]) for way in ("routed", "full")}
        rows.append({"width": width, "share": float(np.mean(width_of == width)), **means})
    return rows


def _mean(values: np.ndarray[Any, Any]) -> float | None:
    return round(float(values.mean()), 6) if values.size else None


def _break_even(narrow: np.ndarray[Any, Any], samples: Mapping[str, Sequence[float]]) -> float | None:
    """The share of texts on narrow widths above which routing is faster than full width for all.

    Routing costs one decision per text and gains full - routed on a narrow one: decision / (decision + gain). None if
    no text went narrow or narrow was not faster. The router's own layers are in the trunk, which both ways run.
    """
    if not narrow.any():
        return None
    decision = float(np.mean(samples["decision"]))
    gain = float(np.mean((np.asarray(samples["full"]) - np.asarray(samples["routed"]))[narrow]))
    return round(decision / (decision + gain), 6) if gain > 0 else None


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
    options = _parser().parse_args(arguments)
    try:
        settings = Settings(options.lengths, options.threads, options.min_samples, options.min_seconds)
        texts = None
        if options.data is not None:
            texts = read_texts(options.data, Artifact.open(options.artifact, verify_hashes=False).manifest.text_inputs)
        budget = Budget() if options.budget is None else Budget.load(options.budget)
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
