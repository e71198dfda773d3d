"""The attack keeps its rules, and `benchmarks/slowdown.py` from its arguments to its table, on a tiny artifact."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import pytest

from benchmarks import slowdown
from benchmarks.attack.search import Attack, Effort, Vocabulary, words_of
from benchmarks.attack.streams import Row, as_markdown
from sharcs_edge.errors import UsageError
from sharcs_edge_runtime.budget import Budget
from sharcs_edge_runtime.session import Session
from sharcs_edge_runtime.tokenization import Text
from tests.runtime.conftest import build_artifact, point, write_points

TEXTS = [
    "turn on the light",
    "turn off the light and play some music",
    "what is the weather today",
    "play some music on the table",
    "is the light on today",
    "turn the music off",
]
BY_CONFIDENCE = ((1e6, 0.0, 0.0), (0.6, 0.6))  # starts narrow; a tail that is not sure hands on
BY_ROUTER = ((0.0, 0.0, 0.0), (0.0, 0.0))  # nothing is handed on


def attacked_session(
    folder: Path, setting: tuple[tuple[float, ...], tuple[float, ...]], text_inputs: int = 1
) -> Session:
    artifact = build_artifact(folder / "artifact", text_inputs=text_inputs)
    write_points(artifact, point(*setting))
    return Session.load(artifact)


@pytest.mark.parametrize("setting", [BY_CONFIDENCE, BY_ROUTER], ids=["confidence", "router"])
def test_an_attack_keeps_its_rules_and_slows_down(
    tmp_path: Path, setting: tuple[tuple[float, ...], tuple[float, ...]]
) -> None:
    session = attacked_session(tmp_path, setting)
    assert session.points is not None
    effort = Effort(most_changed=0.5, candidates=8)
    vocabulary = Vocabulary(session, TEXTS)
    attack = Attack(session, session.points.points[0], vocabulary, effort)
    widest = Budget(width=1.0)
    before = after = 0.0
    for number, text in enumerate(TEXTS):
        found = attack.run(text, number)
        old, new = words_of(text), words_of(found.text)
        changed = [i for i, (a, b) in enumerate(zip(old, new, strict=True)) if a != b]
        assert len(changed) <= found.changed <= max(1, round(0.5 * len(old)))
        assert {new[i] for i in changed} <= set(vocabulary.words)
        assert len(session.encoder.encode(found.text)) <= len(session.encoder.encode(text))
        assert session.predict(found.text, budget=widest).label == session.predict(text, budget=widest).label
        assert found.reached == (session.predict(found.text).width == 1.0)
        before += session.predict(text).width
        after += session.predict(found.text).width
    assert after > before


def test_an_attack_is_repeatable_and_counts_its_queries(tmp_path: Path) -> None:
    session = attacked_session(tmp_path, BY_CONFIDENCE)
    assert session.points is not None
    runs = []
    for _ in range(2):
        attack = Attack(session, session.points.points[0], Vocabulary(session, TEXTS), Effort(candidates=6))
        runs.append([attack.run(text, number) for number, text in enumerate(TEXTS)])
    assert runs[0] == runs[1]
    assert all(found.queries >= 2 for found in runs[0])


def test_pairs_stay_pairs(tmp_path: Path) -> None:
    session = attacked_session(tmp_path, BY_CONFIDENCE, text_inputs=2)
    assert session.points is not None
    pairs: list[Text] = [("turn on the light", "music"), ("play", "what is the weather"), ("the light", "the music")]
    attack = Attack(session, session.points.points[0], Vocabulary(session, pairs), Effort(most_changed=1.0))
    for number, pair in enumerate(pairs):
        for text in (attack.run(pair, number).text, attack.scramble(pair, 2, number)):
            assert isinstance(text, tuple)
            assert [len(part.split()) for part in text] == [len(part.split()) for part in pair]


def test_words_that_would_make_an_input_longer_are_left_out(tmp_path: Path) -> None:
    session = attacked_session(tmp_path, BY_CONFIDENCE)
    texts = ["the lights play", "lights play music", "the playing playing music"]  # light + ##s, play + ##ing
    assert set(Vocabulary(session, texts).words) == {"the", "play", "music"}
    with pytest.raises(UsageError, match="no word occurs twice"):
        Vocabulary(session, ["a table"])


def test_a_lost_saving_is_measured_against_the_clean_stream() -> None:
    clean = Row("clean", None, 10, 0.4, 4.0, 10.0, 0.0, 1.0, 1.0, 1.0)
    half = dataclasses.replace(clean, stream="attacked", compute=0.7, mean_ms=7.0, at_full=0.5)
    late = dataclasses.replace(half, target_ms=5.0, held=0.25)
    lines = as_markdown([clean, half, late], clean).splitlines()
    assert lines[2] == "| clean | none | 4.00 |  | 40% | 40.0% | 0% | 0% | 100.0% | 100.0% |"
    assert lines[3].split(" | ")[6] == "50%"
    assert lines[4].split(" | ")[1:4] == ["mean 5 ms", "7.00", "+40.0% (out of reach for 75%)"]


def test_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    session = attacked_session(tmp_path, BY_CONFIDENCE)
    data = tmp_path / "texts.jsonl"
    rows = [{"text": text, "label": label} for text, label in zip(TEXTS, ("home", "music", "weather") * 2, strict=True)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    words = ["--artifact", session.artifact.path, "--data", data, "--texts", "4", "--inputs", "12", "--candidates", "4"]
    monkeypatch.setattr(sys, "argv", ["slowdown", *map(str, words), "--output", str(tmp_path / "out" / "slow")])
    slowdown.main()
    printed = capsys.readouterr().out
    assert printed.startswith((tmp_path / "out" / "slow.md").read_text(encoding="utf-8"))
    assert str(tmp_path) not in printed
    record = json.loads((tmp_path / "out" / "slow.json").read_text())
    streams = ["clean", "scrambled", "one in ten attacked", "attacked"]
    assert [row["stream"] for row in record["rows"]] == streams * 2
    assert [row["target_ms"] is None for row in record["rows"]] == [True] * 4 + [False] * 4
    assert len(record["attacked"]) == 4


def test_an_artifact_that_was_never_calibrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = build_artifact(tmp_path / "artifact")
    monkeypatch.setattr(sys, "argv", ["slowdown", "--artifact", str(artifact), "--data", "demo"])
    with pytest.raises(SystemExit, match="no operating points to attack; run `sharcs-edge calibrate`"):
        slowdown.main()
