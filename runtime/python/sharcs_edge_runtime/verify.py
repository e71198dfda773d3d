"""Does this artifact, on this machine, answer as torch did? Its golden inputs through the graphs that ship.

    python -m sharcs_edge_runtime.verify ARTIFACT [--json]

Exit codes: 0 passed, 1 the artifact cannot be read or run, 2 wrong use, 3 it does not agree within its tolerance.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np

from sharcs_edge_runtime.artifact import Artifact
from sharcs_edge_runtime.backend import ENGINES, Engine, Hidden
from sharcs_edge_runtime.errors import ParityError, SharcsEdgeError
from sharcs_edge_runtime.golden import Golden
from sharcs_edge_runtime.manifest import Manifest, Tolerance
from sharcs_edge_runtime.policy import all_finite, choose_route
from sharcs_edge_runtime.probe import probe_artifact
from sharcs_edge_runtime.session import Session
from sharcs_edge_runtime.tasks import decide, same_answers
from sharcs_edge_runtime.tokenization import Text, TokenBatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

Layout = Literal["padded", "alone"]
"""How golden rows are run: as one padded batch, or each row alone at its own length, as `predict` does."""


@dataclass(frozen=True)
class WidthCheck:
    """One tail against torch over all golden rows; `worst_row` has the largest absolute logit difference.

    `logit_agreement`: share of rows whose logits all lie within `Tolerance.logits` of torch's. `label_agreement`: share
    of rows with torch's label, or set of labels, or (regression, whose logit is the value) a value within
    `Tolerance.logits` of torch's.
    """

    graph: str
    width: float
    layout: Layout
    max_abs_diff: float
    mean_abs_diff: float
    worst_row: int
    logit_agreement: float
    label_agreement: float
    label_differs: int | None
    """The first row with another answer."""


@dataclass(frozen=True)
class RouteCheck:
    """The routes of one layout against torch's, or of rows alone against the padded batch (`reference` "padded")."""

    layout: Layout
    reference: Literal["torch", "padded"]
    agreement: float
    route_differs: int | None
    """The first row with another route."""
    max_router_diff: float


@dataclass(frozen=True)
class VerifyReport:
    """The result of `verify`; `failures` holds one sentence per limit that was not met."""

    artifact: str
    rows: int
    engine: str
    """The library that computed, and its version."""
    tokenization_agreement: float
    widths: tuple[WidthCheck, ...]
    routes: tuple[RouteCheck, ...]
    tolerance: Tolerance
    failures: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Every limit was met."""
        return not self.failures

    def raise_if_failed(self) -> None:
        """ParityError with every failure."""
        if self.failures:
            raise ParityError("; ".join(self.failures))

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {"passed": self.passed, **asdict(self)}


class Verifiable(Protocol):
    """An artifact with something that runs it: a `Session`, or one on another machine."""

    @property
    def artifact(self) -> Artifact: ...
    @property
    def manifest(self) -> Manifest: ...
    @property
    def widths(self) -> tuple[float, ...]: ...
    @property
    def engine(self) -> Engine: ...
    @property
    def engine_version(self) -> str: ...
    def encode(self, texts: Sequence[Text]) -> TokenBatch: ...
    def run_trunk(self, tokens: TokenBatch) -> tuple[Hidden, NDArray[np.float32]]: ...
    def run_tail(self, width: float, hidden: Hidden, attention_mask: NDArray[np.int64]) -> NDArray[np.float32]: ...


class _Outputs(NamedTuple):
    logits: NDArray[np.float32]  # (widths, rows, labels)
    router_logits: NDArray[np.float32]  # (rows, widths)
    routes: NDArray[np.int64]  # (rows,)


def verify(source: Verifiable | str | os.PathLike[str]) -> VerifyReport:
    """Run the golden rows of an artifact (a folder or a loaded session) and compare with torch.

    Every width is checked on every row, as one padded batch and row by row. Raises ArtifactError if the artifact cannot
    be read or run; disagreement is not an exception but `VerifyReport.failures` (see `raise_if_failed`).
    """
    session = Session.load(source) if isinstance(source, (str, os.PathLike)) else source
    golden = Golden.load(session.artifact.golden_file, session.manifest)
    tolerance = session.manifest.tolerance
    torch = _Outputs(golden.logits, golden.router_logits, golden.routes)
    padded = _run(session, [golden.tokens])
    alone = _run(session, [golden.row(index) for index in range(len(golden))])
    widths = (*_check_widths(session, "padded", padded, torch), *_check_widths(session, "alone", alone, torch))
    routes = (
        _check_routes("padded", padded, "torch", torch),
        _check_routes("alone", alone, "torch", torch),
        _check_routes("alone", alone, "padded", padded),
    )
    other_tokens = _rows_with_other_tokens(session, golden)
    failures = [*_width_failures(widths, tolerance), *_route_failures(routes, tolerance)]
    if other_tokens:
        failures.append(
            f"tokenizer: {len(other_tokens)} of {len(golden)} texts give other tokens than at export "
            f"(golden row {other_tokens[0]})"
        )
    return VerifyReport(
        artifact=str(session.artifact.path),
        rows=len(golden),
        engine=f"{session.engine} {session.engine_version}",
        tokenization_agreement=1 - len(other_tokens) / len(golden),
        widths=widths,
        routes=routes,
        tolerance=tolerance,
        failures=tuple(failures),
    )


def _run(session: Verifiable, batches: Iterable[TokenBatch]) -> _Outputs:
    """Every width of every batch, rows concatenated."""
    bias, last = (0.0,) * len(session.widths), len(session.widths) - 1
    logits, router_logits, routes = [], [], []
    for tokens in batches:
        hidden, scores = session.run_trunk(tokens)
        logits.append([session.run_tail(width, hidden, tokens.attention_mask) for width in session.widths])
        router_logits.append(scores)
        # -1 agrees with no route: scores that are not finite are a disagreement here, not the end of the check
        routes += [choose_route(row, bias, 0, last)[0] if all_finite(row) else -1 for row in scores.tolist()]
    return _Outputs(np.concatenate(logits, axis=1), np.concatenate(router_logits), np.array(routes, dtype=np.int64))


def _check_widths(session: Verifiable, layout: Layout, ours: _Outputs, torch: _Outputs) -> Iterable[WidthCheck]:
    for index, width in enumerate(session.widths):
        difference = np.abs(ours.logits[index].astype(np.float64) - torch.logits[index])  # (rows, labels)
        task = session.manifest.task
        answers, expected = decide(task, ours.logits[index]), decide(task, torch.logits[index])
        same = same_answers(task, answers, expected, session.manifest.tolerance.logits)  # (rows,)
        yield WidthCheck(
            graph=session.manifest.tail(width).name,
            width=width,
            layout=layout,
            max_abs_diff=float(difference.max()),
            mean_abs_diff=float(difference.mean()),
            worst_row=int(difference.max(axis=1).argmax()),
            logit_agreement=float((difference.max(axis=1) <= session.manifest.tolerance.logits).mean()),
            label_agreement=float(same.mean()),
            label_differs=_first_false(same),
        )


def _check_routes(layout: Layout, ours: _Outputs, name: Literal["torch", "padded"], reference: _Outputs) -> RouteCheck:
    same = ours.routes == reference.routes
    difference = np.abs(ours.router_logits.astype(np.float64) - reference.router_logits)
    return RouteCheck(layout, name, float(same.mean()), _first_false(same), float(difference.max()))


def _first_false(values: NDArray[np.bool_]) -> int | None:
    return None if values.all() else int(values.argmin())


def _rows_with_other_tokens(session: Verifiable, golden: Golden) -> list[int]:
    different = []
    for index, parts in enumerate(golden.texts.tolist()):
        text: Text = parts[0] if len(parts) == 1 else (parts[0], parts[1])
        if not np.array_equal(session.encode([text]).input_ids, golden.row(index).input_ids):
            different.append(index)
    return different


def _width_failures(checks: Iterable[WidthCheck], tolerance: Tolerance) -> Iterable[str]:
    for check in checks:
        if check.logit_agreement < tolerance.label_agreement or not math.isfinite(check.max_abs_diff):
            yield (
                f"{check.graph}: max abs logit difference {check.max_abs_diff:.1e} > {_power(tolerance.logits)} "
                f"(golden row {check.worst_row}{_where(check.layout)}), rows within it "
                f"{check.logit_agreement:.4g} < {tolerance.label_agreement:g}"
            )
        if check.label_agreement < tolerance.label_agreement:
            yield (
                f"{check.graph}: label agreement {check.label_agreement:.4g} < {tolerance.label_agreement:g} "
                f"(golden row {check.label_differs}{_where(check.layout)})"
            )


def _route_failures(checks: Iterable[RouteCheck], tolerance: Tolerance) -> Iterable[str]:
    for check in checks:
        if check.agreement < tolerance.route_agreement:
            other = "torch" if check.reference == "torch" else "the padded batch"
            yield (
                f"trunk: route agreement with {other} {check.agreement:.4g} < {tolerance.route_agreement:g} "
                f"(golden row {check.route_differs}{_where(check.layout)})"
            )


def _where(layout: Layout) -> str:
    return " run alone" if layout == "alone" else ""


def _power(value: float) -> str:
    """1e-03, 5e-02, 2.5e-03."""
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{exponent}"


def render(report: VerifyReport) -> str:
    """The report as plain text for a terminal."""
    lines = [
        f"{report.artifact}: {report.rows} golden rows, {report.engine}",
        f"{'graph':<10} {'rows run':<8} {'max diff':>9} {'mean diff':>9} {'within':>7} {'answers':>7}",
    ]
    lines += [
        f"{check.graph:<10} {check.layout:<8} {check.max_abs_diff:>9.1e} {check.mean_abs_diff:>9.1e} "
        f"{check.logit_agreement:>7.2%} {check.label_agreement:>7.2%}"
        for check in report.widths
    ]
    lines += [
        f"routes {check.layout} against {check.reference}: {check.agreement:.2%} agree, "
        f"largest router logit difference {check.max_router_diff:.1e}"
        for check in report.routes
    ]
    lines.append(f"tokenization: {report.tokenization_agreement:.2%} of the texts give the same tokens as at export")
    lines.append("passed" if report.passed else "FAILED")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime reports its start, too, when it is imported
    parser = argparse.ArgumentParser(
        prog="python -m sharcs_edge_runtime.verify",
        description="Check on this machine that an artifact answers as torch did.",
        epilog="example: python -m sharcs_edge_runtime.verify artifact/ --json",
    )
    parser.add_argument("artifact", help="the artifact folder")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument(
        "--engine", choices=sorted({*chain(*ENGINES.values())}), help="instead of the format's usual one"
    )
    options = parser.parse_args(arguments)
    try:
        probe_artifact(options.artifact, options.engine)
        report = verify(Session.load(options.artifact, engine=options.engine))
        print(json.dumps(report.to_dict(), indent=2) if options.json else render(report))
        report.raise_if_failed()
    except SharcsEdgeError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
