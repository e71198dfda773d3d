"""Budgets: what they accept, what they refuse and where, and which limits are in force when."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharcs_edge_runtime.budget import Budget, Conditions, Limits, Rule, allowed_widths
from sharcs_edge_runtime.errors import UsageError, WidthError

DOCUMENT = """
mean_ms = 4
deadline_ms = 12.5
memory_mb = 64
max_drop = 0.01
energy_mj = 20
watts = 3.5
min_width = 0.1

[[when]]
battery_below = 0.2
background = true
max_width = 0.25

[[when]]
temperature_above = 70
throttled = true
mean_ms = 2
"""


def test_toml_reads_as_what_code_would_say() -> None:
    assert Budget.parse(DOCUMENT.encode()) == Budget(
        mean_ms=4.0,
        deadline_ms=12.5,
        memory_mb=64.0,
        max_drop=0.01,
        energy_mj=20.0,
        watts=3.5,
        min_width=0.1,
        when=(
            Rule(battery_below=0.2, background=True, max_width=0.25),
            Rule(temperature_above=70.0, throttled=True, mean_ms=2.0),
        ),
    )
    assert Budget.parse(b"") == Budget()


def test_every_problem_is_told_with_its_path() -> None:
    text = b"""
mean_mss = 4
deadline_ms = "12"
width = true
[[when]]
battery_bellow = 0.2
max_width = 2
[[when]]
battery_below = 0.2
[[when]]
mean_ms = 3
[[when]]
battery_below = 0.2
battery_above = 0.2
mean_ms = 3
"""
    with pytest.raises(UsageError) as caught:
        Budget.parse(text, "edge.toml")
    message = str(caught.value)
    assert message.startswith("edge.toml: 8 problems in the budget: unknown field mean_mss @ $; ")
    for problem in (
        "expected a fraction above 0 and up to 1, such as 0.5, got true @ $.width",
        'expected milliseconds above 0, such as 4.5, got "12" @ $.deadline_ms',
        "unknown field battery_bellow @ $.when[0]",
        "got 2 @ $.when[0].max_width",
        "a rule has no limit; give one of width, min_width",
        "@ $.when[1]",
        "a rule has no condition; give one of battery_below",
        "@ $.when[2]",
        "can never hold",
        "@ $.when[3]",
    ):
        assert problem in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"mean_ms = ", "is not TOML"),
        (b"\xff", "is not TOML in UTF-8"),
        (b"mean_ms = 1\nmean_ms = 2", "is not TOML"),
        (b"when = 3", r"expected \[\[when\]\] tables, got 3 @ \$\.when"),
        (b"when = [3]", r"expected an object, got 3 @ \$\.when\[0\]"),
        (b"mean_ms = nan", r"got NaN @ \$\.mean_ms"),
        (b"mean_ms = 2026-01-01", r"got a date @ \$\.mean_ms"),
        (b"width = 0.5\nmax_width = 1.0", "cannot be combined"),
    ],
)
def test_bad_documents(text: bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Budget.parse(text)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read the budget .*gone\.toml: No such file"):
        Budget.load(tmp_path / "gone.toml")


@pytest.mark.parametrize(
    "fields",
    [
        {"width": 0},
        {"width": 1.5},
        {"min_width": True},
        {"mean_ms": 0},
        {"deadline_ms": -1},
        {"deadline_ms": float("nan")},
        {"memory_mb": float("inf")},
        {"max_drop": 1.1},
        {"energy_mj": "3"},
        {"watts": 0},
    ],
)
def test_values_out_of_range(fields: dict[str, Any]) -> None:
    (name,) = fields
    with pytest.raises(UsageError, match=f"^{name} is .*; expected "):
        Budget(**fields)


@pytest.mark.parametrize(
    ("base", "rules", "message"),
    [
        ({"min_width": 0.5}, [{"max_width": 0.25, "throttled": True}], r"the budget and when\[0\] .* min_width 0.5 is"),
        ({"width": 0.5}, [{"max_width": 0.25, "throttled": True}], "width 0.5 is above max_width 0.25"),
        ({"width": 0.25}, [{"min_width": 0.5, "throttled": True}], "width 0.25 is below min_width 0.5"),
        ({"width": 0.5}, [{"width": 0.25, "throttled": True}], "one asks for width 0.5 and the other for width 0.25"),
        (
            {},
            [{"max_width": 0.25, "battery_below": 0.3}, {"min_width": 0.5, "battery_above": 0.2}],
            r"when\[0\] and when\[1\] can hold at the same time",
        ),
        (
            {},
            [{"max_width": 0.25, "throttled": True}, {"min_width": 0.5, "temperature_above": 60}],
            "min_width 0.5 is above max_width 0.25",
        ),
    ],
)
def test_contradictions_are_refused(base: dict[str, Any], rules: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(WidthError, match=message):
        Budget(**base, when=tuple(Rule(**rule) for rule in rules))


def test_rules_that_never_meet_may_contradict() -> None:
    low, high = Rule(battery_below=0.2, width=0.25), Rule(battery_above=0.2, width=1.0)
    hot, cool = Rule(throttled=True, max_width=0.25), Rule(throttled=False, min_width=0.5)
    assert Budget(when=(low, high)).limits(Conditions(battery=0.9)).width == 1.0
    assert Budget(when=(hot, cool)).limits(Conditions(throttled=True)).max_width == 0.25
    assert Budget(when=(low, high)).limits(Conditions(battery=0.2)) == Limits()  # both are exclusive


def test_the_tightest_of_all_active_limits_holds() -> None:
    budget = Budget(
        mean_ms=4,
        min_width=0.1,
        when=(
            Rule(battery_below=0.5, mean_ms=3, max_width=0.5),
            Rule(battery_below=0.2, mean_ms=5, max_width=0.25, min_width=0.2),
            Rule(background=True, deadline_ms=100),
        ),
    )
    assert budget.conditions == {"battery", "background"}
    assert budget.limits(Conditions()) == Limits(mean_ms=4, min_width=0.1)
    assert budget.limits(Conditions(battery=0.3)) == Limits(mean_ms=3, min_width=0.1, max_width=0.5)
    assert budget.limits(Conditions(battery=0.1, background=True)) == Limits(
        mean_ms=3, min_width=0.2, max_width=0.25, deadline_ms=100
    )


def test_an_unknown_condition_does_not_hold() -> None:
    rule = Rule(background=False, battery_below=0.5, mean_ms=1)
    assert not rule.holds(Conditions(background=False))
    assert not rule.holds(Conditions(battery=0.1))
    assert rule.holds(Conditions(battery=0.1, background=False))


BATTERIES = (0.1, 0.3, 0.5)
WIDTHS = (0.25, 0.5, 1.0)


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    """Rules over a few values, so that they often meet and often contradict."""
    choices: dict[str, Any] = {
        "battery_below": st.sampled_from(BATTERIES),
        "battery_above": st.sampled_from(BATTERIES),
        "throttled": st.booleans(),
        "width": st.sampled_from(WIDTHS),
        "min_width": st.sampled_from(WIDTHS),
        "max_width": st.sampled_from(WIDTHS),
    }
    return {name: draw(values) for name, values in choices.items() if draw(st.booleans())}


def _sound(fields: dict[str, Any]) -> bool:
    try:
        Rule(**fields)
    except UsageError:
        return False
    return True


@given(st.lists(rules().filter(_sound), max_size=4))
def test_a_budget_is_refused_exactly_if_some_condition_leaves_no_width(given_rules: list[dict[str, Any]]) -> None:
    """Brute force over all conditions, with a direct reading of what may be chosen."""
    when = tuple(Rule(**fields) for fields in given_rules)
    moments = [Conditions(battery=b, throttled=t) for b, t in itertools.product((0.05, 0.2, 0.4, 0.6), (True, False))]

    def satisfiable(now: Conditions) -> bool:
        active = [rule for rule in when if rule.holds(now)]
        return any(
            all(
                rule.width in (None, width)
                and (rule.min_width or 0) <= width
                and width <= (1 if rule.max_width is None else rule.max_width)
                for rule in active
            )
            for width in WIDTHS
        )

    if all(satisfiable(now) for now in moments):
        budget = Budget(when=when)
        for now in moments:
            first, last = allowed_widths(budget.limits(now), WIDTHS)
            assert first <= last
    else:
        with pytest.raises(WidthError):
            Budget(when=when)


def test_widths_of_the_artifact_within_limits() -> None:
    assert allowed_widths(Limits(), WIDTHS) == (0, 2)
    assert allowed_widths(Limits(width=0.5000001), WIDTHS) == (1, 1)
    assert allowed_widths(Limits(min_width=0.3, max_width=0.9), WIDTHS) == (1, 1)
    with pytest.raises(WidthError, match=r"no width lies within min_width 0\.6, max_width 0\.9: .* 0\.25, 0\.5, 1;"):
        allowed_widths(Limits(min_width=0.6, max_width=0.9), WIDTHS)
