"""Trunk and tail as one graph, for programs that know nothing of routing."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx_ir as ir
from onnx import compose


def join_graphs(trunk: Path, tail: Path) -> ir.Model:
    """What the trunk reads in, the tail's logits out; the router is left out with all that only it needs.

    Weights are inside, wherever the two files keep theirs.
    """
    first, second = onnx.load(trunk), onnx.load(tail)
    compose.add_prefix(second, "tail.", rename_inputs=False, rename_outputs=False, inplace=True)
    graph, end = first.graph, second.graph
    graph.node.extend(end.node)
    graph.initializer.extend(end.initializer)
    del graph.output[:]
    graph.output.extend(end.output)
    known = {domain.domain for domain in first.opset_import}
    first.opset_import.extend(domain for domain in second.opset_import if domain.domain not in known)
    return ir.from_proto(first)
