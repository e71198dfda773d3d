"""The options that say a budget, for every command that answers texts."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer

from sharcs_edge.cli.output import talk
from sharcs_edge.errors import UsageError
from sharcs_edge_runtime.budget import Budget

Result = TypeVar("Result")

UNLIMITED: Final = Budget()
"""The default of a command's parameter ``budget``."""

PANEL: Final = "Budget"
_WIDTH, _MS = "WIDTH", "MS"
_LIMITS: Final = {
    "width": (_WIDTH, "Run this width for every text."),
    "min_width": (_WIDTH, "Run no narrower width."),
    "max_width": (_WIDTH, "Run no wider width."),
    "mean_ms": (_MS, "Hold the mean milliseconds per text."),
    "deadline_ms": (_MS, "Milliseconds for each text."),
    "memory_mb": ("MB", "Private memory of the loaded graphs (estimated)."),
    "max_drop": ("SHARE", "Use only operating points that calibration certified for this loss, such as 0.01."),
    "energy_mj": ("MJ", "Hold the mean millijoules per text, estimated as mean time x watts."),
    "watts": ("W", "What the device draws while it computes."),
}


def takes_budget(command: Callable[..., Result]) -> Callable[..., Result]:
    """Gives a command with a parameter ``budget`` the options of `_LIMITS` and ``--budget FILE`` in its place.

    A limit given as an option replaces that of the file; the file's rules stay.
    """
    signature = inspect.signature(command, eval_str=True)
    file = _option("FILE", "Read limits, and rules on the device's condition, from a TOML file.", Path)
    options = {"budget": file, **{name: _option(*shown, float) for name, shown in _LIMITS.items()}}

    @wraps(command)
    def with_budget(*positional: Any, **given: Any) -> Result:
        file = given.pop("budget")
        limits = {name: value for name in _LIMITS if (value := given.pop(name)) is not None}
        return command(*positional, **given, budget=_read(file, limits))

    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        if parameter.name != "budget":
            parameters.append(parameter)
            continue
        for name, annotation in options.items():
            kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
            parameters.append(inspect.Parameter(name, kind, default=None, annotation=annotation))
    # typer reads both: the order from the signature, the types from the annotations.
    with_budget.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # inspect reads it, no type has it
    with_budget.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_budget


def _option(metavar: str, help: str, kind: type) -> Any:
    parser = _width if metavar == _WIDTH else None
    option = typer.Option(metavar=metavar, help=help, rich_help_panel=PANEL, show_default=False, parser=parser)
    return Annotated[kind | None, option]


def _width(text: str) -> float:
    """A width as ``train --widths`` takes it, also as a fraction."""
    try:
        return round(float(Fraction(text.strip())), 6)
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"{text!r} is no width; expected a number such as 0.25, or a fraction such as 1/12") from None


def _read(file: Path | None, limits: dict[str, Any]) -> Budget:
    if file is None:
        return Budget(**limits)
    budget = Budget.load(file)
    try:
        return replace(budget, **limits)
    except UsageError as error:
        given = ", ".join(f"--{name.replace('_', '-')}" for name in limits)
        raise type(error)(f"{file} with {given}: {error}") from None


def warn_of_blind_rules(budget: Budget, conditions: Any) -> None:
    """Says which rules can never hold here, since the machine does not tell what they ask for.

    ``conditions``: of the session, a `sharcs_edge_runtime.conditions.ConditionReader`.
    """
    now = conditions.read(budget.conditions)
    for name in sorted(budget.conditions):
        if getattr(now, name) is None:
            talk(f"this machine does not tell its {name}: rules that ask for it never hold", style="yellow")
