"""The methods that are compared, each as the operating points it offers on one seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import permutations
from typing import Literal

from benchmarks.curves import early_exit
from benchmarks.curves.bench import PLAIN, PLAIN_OPTIONS, Bench
from benchmarks.curves.points import (
    BUDGETS,
    Point,
    Scale,
    Splits,
    at_policy,
    at_random,
    at_width,
    mixture,
    routed,
    without_router,
)
from benchmarks.curves.separate import narrow_models, stacked
from benchmarks.curves.small_encoder import write_small_encoder
from sharcs_edge.assets import DEMO
from sharcs_edge.config import SharcsConfig
from sharcs_edge.errors import MissingDependencyError
from sharcs_edge.model.macs import router_macs
from sharcs_edge.routing.policy import Policy
from sharcs_edge.train.escalation import best_policies, decide
from sharcs_edge.train.metrics import SplitOutputs

PUBLISHED_PLAN = SharcsConfig(
    widths=(0.25, 1.0),
    trunk_layers=1,
    width_dims="all",
    entry_norm="every",
    narrow_head="shared",
    own_layers=0.0,
    narrow_dropout=True,
)
_HARDNESS_OPTIONS = ("hardness", "hardness_decay", "regression_tolerance")
_SMALL_ENCODER = "minilm-l3"


class Comparison:
    """One seed: the models that several methods share, trained when a method first asks for them."""

    def __init__(self, bench: Bench, easy_thresholds: tuple[float, ...], label_window: int) -> None:
        self.bench = bench
        self.easy_thresholds = easy_thresholds
        self.label_window = label_window

    @cached_property
    def plain(self) -> Splits:
        """Plain fine-tuning of the full encoder."""
        return self.bench.nested("plain", PLAIN, self.bench.common, reads=PLAIN_OPTIONS)

    @cached_property
    def ours(self) -> Splits:
        """The default recipe."""
        return self.bench.nested("ours", self.bench.plan, self.bench.ours)

    @cached_property
    def without_router(self) -> Splits:
        """Ours where no router runs."""
        router = router_macs(self.bench.config(self.bench.plan))
        return {split: without_router(outputs, router) for split, outputs in self.ours.items()}

    @cached_property
    def separate(self) -> Splits:
        """Every narrow width trained on its own, then the plain encoder, as a stack."""
        return stacked([*narrow_models(self.bench), self.plain])

    @cached_property
    def exits(self) -> Splits:
        """An encoder with a head behind every layer."""
        return early_exit.early_exits(self.bench)

    @cached_property
    def scale(self) -> Scale:
        """Plain fine-tuning's costs."""
        dev, test = (float(self.plain[split].macs[:, -1].mean()) for split in ("dev", "test"))
        return Scale(dev, test)

    @cached_property
    def our_policies(self) -> list[Policy]:
        """Router and escalation, one for every budget."""
        return self.policies(self.ours)

    def policies(self, outputs: Splits, *, use_router: bool = True, use_confidence: bool = True) -> list[Policy]:
        """Different ones that are best on dev within some budget."""
        budgets = [budget * self.scale.dev for budget in BUDGETS]
        found = best_policies(outputs["dev"], budgets, use_router=use_router, use_confidence=use_confidence)
        return [policy for policy in dict.fromkeys(found) if policy is not None]

    def point(self, setting: str, outputs: Splits, measure: Callable[[SplitOutputs], tuple[float, float]]) -> Point:
        """``measure``: outputs -> (score, mean multiply-accumulates)."""
        return self.scale.point(setting, measure(outputs["dev"]), measure(outputs["test"]))


def plain(comparison: Comparison) -> list[Point]:
    return _alone(comparison, comparison.plain, ["full encoder"])


def ours(comparison: Comparison) -> list[Point]:
    return _policy_points(comparison, comparison.ours, comparison.our_policies)


def escalation(comparison: Comparison) -> list[Point]:
    outputs = comparison.without_router
    return _policy_points(comparison, outputs, comparison.policies(outputs, use_router=False))


def router(comparison: Comparison) -> list[Point]:
    outputs = comparison.ours
    return _policy_points(comparison, outputs, comparison.policies(outputs, use_confidence=False))


def random_our_shares(comparison: Comparison) -> list[Point]:
    """Each input gets a width at random, as often as ours ends there; nothing runs twice, so it costs less."""
    points = []
    for policy in comparison.our_policies:
        widths = {split: decide(outputs, policy).widths for split, outputs in comparison.ours.items()}
        shares = [float((widths["dev"] == width).mean()) for width in range(len(policy.offsets))]
        points.append(comparison.point(_shown(shares), comparison.without_router, partial(at_random, shares=shares)))
    return points


def random_best_shares(comparison: Comparison) -> list[Point]:
    """Each input gets one of two widths at random; which two, and how often, is chosen on dev."""
    outputs = comparison.without_router
    costs = [macs / comparison.scale.dev for macs in outputs["dev"].macs.mean(axis=0)]
    shares = {
        mixture(costs, cheap, dear, budget) for cheap, dear in permutations(range(len(costs)), 2) for budget in BUDGETS
    }
    return [
        comparison.point(_shown(share), outputs, partial(at_random, shares=share))
        for share in shares
        if share is not None
    ]


def static(comparison: Comparison) -> list[Point]:
    names = [f"width {width:.3g}" for width in comparison.bench.plan.widths]
    return _alone(comparison, comparison.without_router, names)


def separate(comparison: Comparison) -> list[Point]:
    names = [f"width {width:.3g} trained alone" for width in comparison.bench.plan.widths[:-1]]
    return _alone(comparison, comparison.separate, names)


def cascade(comparison: Comparison) -> list[Point]:
    """Any chain of the separately trained models, by confidence."""
    return _policy_points(comparison, comparison.separate, comparison.policies(comparison.separate, use_router=False))


def exit_confidence(comparison: Comparison) -> list[Point]:
    return early_exit.by_confidence(comparison.exits, comparison.scale)


def exit_patience(comparison: Comparison) -> list[Point]:
    return early_exit.by_patience(comparison.exits, comparison.scale)


def exit_strengthened(comparison: Comparison) -> list[Point]:
    """With what ours has: heads that read the mean, too, a threshold for each, and the first token computed first."""
    outputs = early_exit.early_exits(comparison.bench, strengthened=True)
    shared = early_exit.by_confidence(outputs, comparison.scale)
    return shared + early_exit.by_own_thresholds(outputs, comparison.scale, BUDGETS)


def published(comparison: Comparison) -> list[Point]:
    """The published recipe, trained once per threshold; its first epochs at full width come on top of the others'."""
    bench, points = comparison.bench, []
    for threshold in comparison.easy_thresholds:
        options = replace(
            bench.common,
            recipe="sharcs",
            easy_threshold=threshold,
            label_window=comparison.label_window,
            importance="units",
            epochs=bench.common.epochs + comparison.label_window,
        )
        reads = (*PLAIN_OPTIONS, "recipe", "easy_threshold", "label_window", *_HARDNESS_OPTIONS)
        outputs = bench.nested(f"sharcs-{threshold:g}", PUBLISHED_PLAN, options, reads=reads)
        points.append(comparison.point(f"threshold {threshold:g}", outputs, _by_router))
    return points


def small_encoder(comparison: Comparison) -> list[Point]:
    """Raises MissingDependencyError where its package is not installed, or the others start from another encoder."""
    bench = comparison.bench
    if bench.settings.model != DEMO:
        raise MissingDependencyError(f"3-layer MiniLM is compared with --model {DEMO} alone")
    folder = bench.settings.work / _SMALL_ENCODER
    write_small_encoder(folder, bench.source)
    outputs = bench.nested(_SMALL_ENCODER, PLAIN, bench.common, reads=PLAIN_OPTIONS, model=str(folder))
    return _alone(comparison, outputs, ["3-layer encoder"])


def _policy_points(comparison: Comparison, outputs: Splits, policies: list[Policy]) -> list[Point]:
    return [comparison.point(_policy_shown(policy), outputs, partial(at_policy, policy=policy)) for policy in policies]


def _alone(comparison: Comparison, outputs: Splits, names: list[str]) -> list[Point]:
    return [comparison.point(name, outputs, partial(at_width, width=width)) for width, name in enumerate(names)]


def _by_router(outputs: SplitOutputs) -> tuple[float, float]:
    routes = outputs.routes()
    return routed(outputs, routes, outputs.macs[range(len(routes)), routes])


def _shown(shares: list[float] | tuple[float, ...]) -> str:
    return "shares " + " ".join(f"{share:.3f}" for share in shares)


def _policy_shown(policy: Policy) -> str:
    offsets, thresholds = (" ".join(f"{x:.4g}" for x in values) for values in (policy.offsets, policy.thresholds))
    return f"offsets {offsets}, thresholds {thresholds}"


@dataclass(frozen=True)
class Method:
    """``title``: for people. ``drawn``: a line through many settings, or a mark for each of a few."""

    title: str
    points: Callable[[Comparison], list[Point]]
    drawn: Literal["line", "marks"] = "line"


METHODS: Mapping[str, Method] = {
    "ours": Method("ours: router and escalation", ours),
    "escalation": Method("ours: escalation alone", escalation),
    "router": Method("ours: router alone", router),
    "random": Method("random routing, the shares of ours", random_our_shares),
    "random-best": Method("random routing, best shares", random_best_shares),
    "static": Method("ours: one width for all", static, "marks"),
    "sharcs": Method("SHARCS as published, retrained per threshold", published, "marks"),
    "separate": Method("widths trained separately, one for all", separate, "marks"),
    "cascade": Method("cascade of separately trained widths", cascade),
    "exit-confidence": Method("early exit by confidence", exit_confidence),
    "exit-patience": Method("early exit by patience (PABEE)", exit_patience, "marks"),
    "exit-strengthened": Method("early exit by confidence, strengthened", exit_strengthened),
    "minilm-l3": Method("3-layer MiniLM", small_encoder, "marks"),
    "plain": Method("plain fine-tuning", plain, "marks"),
}
