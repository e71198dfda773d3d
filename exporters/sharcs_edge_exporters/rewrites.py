"""Rewrites of traced graphs into forms that onnxruntime's CPU kernels run faster; the function stays the same.

Each is a pass over a float32 graph, before quantization. docs/adr/0011-graphs-for-speed.md has what each one saves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import (
    CommonSubexpressionEliminationPass,
    IdentityEliminationPass,
    LiftConstantsToInitializersPass,
    RemoveUnusedNodesPass,
)
from onnxscript.rewriter import RewritePass, pattern

_SPLIT_HEADS: Final = [0, 2, 1, 3]  # (batch, tokens, heads, size) <-> (batch, heads, tokens, size)
_ELEMENTWISE: Final = {"Add", "Div", "Erf", "Mul", "Pow", "Relu", "Sigmoid", "Sqrt", "Sub", "Sum", "Tanh"}


def rewrite_for_speed(model: ir.Model) -> None:
    """All rewrites, in the order in which they build on each other."""
    RewritePass([MASKED_MEAN, ONE_HEAD_IN, ONE_HEAD_OUT])(model)
    TokensFirst(model.graph).run()
    merge_projections(model.graph)
    for cleanup in (
        IdentityEliminationPass(),
        LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        RemoveUnusedNodesPass(),
        CommonSubexpressionEliminationPass(),
    ):
        cleanup(model)


def constant(graph: ir.Graph, name: str, array: Any) -> ir.Value:
    """A new initializer."""
    value = ir.val(name, const_value=ir.tensor(np.asarray(array), name=name))
    graph.register_initializer(value)
    return value


def integers(value: ir.Value | None) -> list[int] | None:
    """The numbers of a constant; None if ``value`` is none."""
    if value is None or value.const_value is None:
        return None
    return [int(number) for number in value.const_value.numpy().reshape(-1)]


def attribute(node: ir.Node, name: str) -> Any:
    """The value of an attribute; None where there is none."""
    found = node.attributes.get(name)
    return None if found is None else found.value


# --- a masked mean is a product ---------------------------------------------------------------------------------------


def _weighted_sum(op: Any, x: Any, mask: Any, mask_axes: Any, axes: Any) -> Any:
    weights = op.Cast(op.Unsqueeze(mask, mask_axes), to=ir.DataType.FLOAT)
    return op.ReduceSum(op.Mul(x, weights), axes, keepdims=0)


def _product_with_mask(op: Any, x: Any, mask: Any, **_: Any) -> Any:
    weights = op.Cast(op.Unsqueeze(mask, op.Constant(value_ints=[1])), to=ir.DataType.FLOAT)  # (batch, 1, tokens)
    return op.Squeeze(op.MatMul(weights, x), op.Constant(value_ints=[1]))


def _sums_tokens(context: Any, mask_axes: ir.Value, axes: ir.Value, x: ir.Value, **_: Any) -> bool:
    return integers(mask_axes) == [2] and integers(axes) == [1] and x.shape is not None and len(x.shape) == 3


# One pass over (batch, tokens, hidden) instead of two and no product of that size in memory.
# The weights also divide the sum, so that they stay.
MASKED_MEAN: Final = pattern.RewriteRule(
    _weighted_sum, _product_with_mask, _sums_tokens, name="masked mean", remove_nodes=False
)


# --- one head needs no axis for heads ---------------------------------------------------------------------------------


def _squeezed_head(op: Any, x: Any, shape: Any, axes: Any) -> Any:
    return op.Squeeze(op.Transpose(op.Reshape(x, shape), perm=_SPLIT_HEADS), axes)


def _joined_head(op: Any, x: Any, shape: Any, axes: Any) -> Any:
    return op.Reshape(op.Transpose(op.Unsqueeze(x, axes), perm=_SPLIT_HEADS), shape)


def _as_it_is(op: Any, x: Any, **_: Any) -> Any:
    return op.Identity(x)


def _one_head(context: Any, shape: ir.Value, axes: ir.Value, **_: Any) -> bool:
    sizes = integers(shape) or []
    return integers(axes) == [1] and (len(sizes) == 3 or (len(sizes) == 4 and sizes[2] == 1))


ONE_HEAD_IN: Final = pattern.RewriteRule(_squeezed_head, _as_it_is, _one_head, name="one head, in")
ONE_HEAD_OUT: Final = pattern.RewriteRule(_joined_head, _as_it_is, _one_head, name="one head, out")


# --- tokens first -----------------------------------------------------------------------------------------------------


class TokensFirst:
    """Runs hidden states as (tokens, batch, hidden) instead of (batch, tokens, hidden).

    Splitting heads then moves the first axis alone, which onnxruntime's matrix product reads in place (its
    MatmulTransposeFusion) instead of copying query, key and value. Values are swapped as far as operators treat each
    token by itself; in front of any other operator a Transpose restores the order.
    """

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._swapped: set[ir.Value] = set()
        self._twins: dict[ir.Value, ir.Value] = {}

    def run(self) -> None:
        """Rewrites the graph if it splits heads."""
        starts = {node for node in self._graph if self._leads_to_heads(node)}
        if not starts:
            return
        for node in list(self._graph):
            if node in starts:
                self._feed(node, 0, swapped=True)
            if any(value in self._swapped for value in node.inputs):
                self._visit(node)
            elif self._joins_heads(node):
                node.attributes["perm"] = ir.AttrInt64s("perm", [2, 0, 1, 3])
                self._mark(node)
        for index, value in enumerate(self._graph.outputs):
            if value in self._swapped:
                name, twin = value.name, self._twin(value)
                value.name, twin.name = f"{name}.tokens_first", name
                self._graph.outputs[index] = twin

    @staticmethod
    def _leads_to_heads(node: ir.Node) -> bool:
        if not is_linear(node) or _rank(node.inputs[0]) != 3:
            return False
        return any(use.op_type == "Reshape" and _rank(use.outputs[0]) == 4 for use in _behind_bias(node).consumers())

    @staticmethod
    def _joins_heads(node: ir.Node) -> bool:
        return (
            node.op_type == "Transpose"
            and list(attribute(node, "perm")) == _SPLIT_HEADS
            and all(_keeps_leading_axes(use) for use in node.outputs[0].consumers())
        )

    def _visit(self, node: ir.Node) -> None:
        kind = node.op_type
        if kind == "Transpose":
            order = [{0: 1, 1: 0}.get(axis, axis) for axis in attribute(node, "perm")]
            node.attributes["perm"] = ir.AttrInt64s("perm", order)
        elif kind == "Gather" and attribute(node, "axis") == 1 and _rank(node.inputs[1]) == 0:
            node.attributes["axis"] = ir.AttrInt64("axis", 0)
        elif kind == "Slice" and integers(node.inputs[3]) == [1]:
            node.replace_input_with(3, constant(self._graph, f"{node.name}.axes", np.array([0])))
            self._mark(node)
        elif _keeps_leading_axes(node):
            batch, tokens, *rest = integers(node.inputs[1]) or []
            node.replace_input_with(
                1, constant(self._graph, f"{node.name}.swapped_shape", np.array([tokens, batch, *rest]))
            )
            self._mark(node)
        else:
            by_token = self._works_by_token(node)
            for index, value in enumerate(node.inputs):
                if value in self._swapped or (by_token and (_rank(value) or 0) > 2):
                    self._feed(node, index, swapped=by_token)
            if by_token:
                self._mark(node)

    def _works_by_token(self, node: ir.Node) -> bool:
        if is_linear(node) or (node.op_type == "LayerNormalization" and attribute(node, "axis") == -1):
            return True
        tokens, batch, *rest = _shape(next(value for value in node.inputs if value in self._swapped))

        def fits(value: ir.Value | None) -> bool:
            rank = _rank(value)
            return rank is not None and (rank <= len(rest) or tuple(_shape(value)[:2]) == (batch, tokens))

        return node.op_type in _ELEMENTWISE and all(value in self._swapped or fits(value) for value in node.inputs)

    def _feed(self, node: ir.Node, index: int, swapped: bool) -> None:
        value = node.inputs[index]
        if value is not None and (value in self._swapped) != swapped:
            node.replace_input_with(index, self._twin(value))

    def _mark(self, node: ir.Node) -> None:
        value = node.outputs[0]
        self._swapped.add(value)
        if value.shape is not None:
            value.shape = _swap(value.shape)

    def _twin(self, value: ir.Value) -> ir.Value:
        """The same numbers in the other order."""
        if value not in self._twins:
            order = [1, 0, *range(2, len(_shape(value)))]
            node = ir.node("Transpose", [value], {"perm": order}, name=f"{value.name}.swapped")
            twin = node.outputs[0]
            twin.name, twin.shape, twin.type = f"{value.name}.swapped", _swap(_shape(value)), value.type
            producer = value.producer()
            if producer is None:
                self._graph.insert_before(self._graph[0], node)
            else:
                self._graph.insert_after(producer, node)
            self._twins[value], self._twins[twin] = twin, value
            if value not in self._swapped:
                self._swapped.add(twin)
        return self._twins[value]


def _shape(value: ir.Value | None) -> ir.Shape:
    assert value is not None
    assert value.shape is not None  # tracing knows all of them
    return value.shape


def _swap(shape: ir.Shape) -> ir.Shape:
    return ir.Shape([shape[1], shape[0], *shape[2:]])


def _rank(value: ir.Value | None) -> int | None:
    return None if value is None or value.shape is None else len(value.shape)


def _keeps_leading_axes(node: ir.Node) -> bool:
    """Whether it reshapes behind (batch, tokens) alone; a 1 is the first token."""
    sizes = (integers(node.inputs[1]) or []) if node.op_type == "Reshape" else []
    return len(sizes) > 2 and sizes[0] == 0 and sizes[1] in (0, 1)


# --- products of one input --------------------------------------------------------------------------------------------


def is_linear(node: ir.Node) -> bool:
    """Whether it is a MatMul with a weight."""
    weight = node.inputs[1] if node.op_type == "MatMul" else None
    return weight is not None and weight.const_value is not None and _rank(weight) == 2


def merge_projections(graph: ir.Graph) -> None:
    """Makes one product of those that read the same input, where together they are no wider than it.

    Reading and packing the input costs more than so narrow a product. Wide ones gain nothing, and lose by the Split.
    """
    groups: dict[ir.Value | None, list[ir.Node]] = {}
    for node in graph:
        if is_linear(node):
            groups.setdefault(node.inputs[0], []).append(node)
    for nodes in groups.values():
        inner, outer = _array(nodes[0].inputs[1]).shape[0], sum(_array(node.inputs[1]).shape[1] for node in nodes)
        if len(nodes) > 1 and outer <= inner and len({_bias(node) is None for node in nodes}) == 1:
            _merge(graph, nodes)


def _merge(graph: ir.Graph, nodes: Sequence[ir.Node]) -> None:
    """One MatMul, named after all of ``nodes``, and a Split into what they gave."""
    name = "+".join(str(node.name) for node in nodes)
    weights = [_array(node.inputs[1]) for node in nodes]
    weight = constant(graph, f"{name}.weight", np.concatenate(weights, axis=1))
    added = [ir.node("MatMul", [nodes[0].inputs[0], weight], name=name)]
    if _bias(nodes[0]) is not None:
        bias = constant(graph, f"{name}.bias", np.concatenate([_array(_bias(node)) for node in nodes]))
        added.append(ir.node("Add", [added[0].outputs[0], bias], name=f"{name}.add"))
    sizes = constant(graph, f"{name}.sizes", np.array([weight.shape[1] for weight in weights]))
    parts = ir.node("Split", [added[-1].outputs[0], sizes], {"axis": -1}, num_outputs=len(nodes), name=f"{name}.split")
    graph.insert_before(nodes[0], [*added, parts])
    for node, part in zip(nodes, parts.outputs, strict=True):
        old = _behind_bias(node)
        part.name, part.shape, part.type = f"{old.name}.part", old.shape, old.type
        old.replace_all_uses_with(part)


def _array(value: ir.Value | None) -> NDArray[np.float32]:
    assert value is not None
    assert value.const_value is not None
    return value.const_value.numpy()


def _bias(node: ir.Node) -> ir.Value | None:
    """What is added to the product of a linear: a constant vector, if anything."""
    uses = node.outputs[0].consumers()
    bias = uses[0].inputs[1] if len(uses) == 1 and uses[0].op_type == "Add" else None
    return bias if bias is not None and bias.const_value is not None and _rank(bias) == 1 else None


def _behind_bias(node: ir.Node) -> ir.Value:
    return node.outputs[0] if _bias(node) is None else node.outputs[0].consumers()[0].outputs[0]
