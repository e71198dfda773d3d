"""What an export backend must do, and how the host finds one: by entry point, never by import."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, cast

from sharcs_edge.device import Preset
from sharcs_edge.errors import MissingDependencyError, UsageError
from sharcs_edge_runtime.manifest import BackendName, Macs, Quantization, TensorSpec
from sharcs_edge_runtime.tokenization import TokenBatch

if TYPE_CHECKING:
    from torch import nn

ENTRY_POINT_GROUP = "sharcs_edge.exporters"
_EXTRAS = {"onnx": "export"}  # of other backends the name is that of the extra


@dataclass(frozen=True)
class GraphPlan:
    """One graph that an artifact will hold: ``trunk``, or the tail of ``width``.

    ``buckets``: the numbers of tokens that it is written for, ascending; None where one graph takes any number.
    """

    name: str
    role: Literal["trunk", "tail"]
    width: float | None
    file: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    macs: Macs
    buckets: tuple[int, ...] | None = None


class Exporter(Protocol):
    """Writes graphs in one format; the host does everything else: plan, golden rows, manifest, parity, model card.

    A backend is a class of this shape, made without arguments, under the entry-point group ``sharcs_edge.exporters``.
    Equal modules must give equal bytes: no times, no paths, no order that depends on the process.
    """

    backend: BackendName
    """The manifest's ``backend``."""
    token_type: Literal["int64", "int32"]
    """Of token ids, masks and token types."""
    fixed_lengths: bool
    """Whether graphs take the numbers of tokens that they are written for, and no others."""

    def file_name(self, graph: str) -> str:
        """The file that will hold a graph; graphs may share one."""
        ...

    def estimate(self, graph: str, module: nn.Module, preset: Preset) -> int:
        """About how many bytes the graph will take, from the shapes of ``module`` (its tensors may hold no data).

        Raises:
            ExportError: the format cannot hold a graph of that size.
        """
        ...

    def export(self, graphs: Iterable[tuple[GraphPlan, nn.Module]], folder: Path) -> None:
        """Writes the graphs as float32.

        Raises:
            ExportError: a module cannot be expressed in the format.
        """
        ...

    def quantize(
        self,
        graphs: Sequence[GraphPlan],
        source: Path,
        folder: Path,
        preset: Preset,
        calibration: Sequence[TokenBatch] = (),
    ) -> Mapping[str, Quantization]:
        """Writes the float32 graphs of ``source`` into ``folder`` as ``preset`` says; what was done, by graph name.

        ``calibration``: inputs of one row each, without padding, for recipes that fix the scales of activations.

        Raises:
            ExportError: the graphs cannot be quantized so.
        """
        ...

    def share(self, graphs: Sequence[GraphPlan], folder: Path) -> tuple[str, ...]:
        """Stores what the graphs of ``folder``, which were quantized for the layout ``shared``, have in common once.

        Returns:
            The names of the files that the graphs now need besides their own.
        """
        ...

    def join(self, trunk: Path, tail: Path, file: Path) -> None:
        """Writes trunk and tail as one graph without router, for programs that know nothing of routing.

        Raises:
            ExportError: the format has no such graphs.
        """
        ...

    def tools(self) -> Mapping[str, str]:
        """Name and version of the libraries whose output the files are."""
        ...


def load_exporter(backend: str) -> Exporter:
    """The exporter registered under the name ``backend``.

    Raises:
        UsageError: there is none; the message lists those that are installed.
        MissingDependencyError: it is there, but a library that it needs cannot be imported.
    """
    found = entry_points(group=ENTRY_POINT_GROUP)
    if backend not in found.names:
        names = ", ".join(sorted(found.names)) or "none: install sharcs-edge again"
        raise UsageError(f"unknown backend {backend!r}; installed: {names}")
    try:
        return cast("Exporter", found[backend].load()())
    except ImportError as error:
        raise MissingDependencyError(
            f"exporting to {backend} needs libraries that are missing or too old ({error}): "
            f'pip install "sharcs-edge[{_EXTRAS.get(backend, backend)}]"'
        ) from error
