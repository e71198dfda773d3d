"""Embedding tables as 8-bit integers with a scale per row, or 4-bit ones with a scale per block of a row, looked up
before they become float32.

Standard operators of opset 18 only. docs/adr/0014-embeddings-and-vocabulary.md has the measurements.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from torch import nn

from sharcs_edge.device import EmbeddingType
from sharcs_edge.errors import ExportError

_WORDS: Final = "embeddings.words.weight"
_POSITIONS: Final = "embeddings.positions.weight"
_ROWS_AT_ONCE: Final = 4096
_BLOCK: Final = 32
# Shares of a block's largest number that may become its largest code: cutting off the one or two largest numbers makes
# the steps between the codes of all others smaller.
_INT4_CUTS: Final = np.linspace(0.5, 1.0, 11, dtype=np.float32)


class Table(NamedTuple):
    """A quantized table: ``codes`` (rows, columns) int8 and ``scales`` (rows, 1) float32; or ``codes`` (rows, blocks,
    size / 2) uint8, two a byte, and ``scales`` (rows, blocks, 1) float16.
    """

    codes: NDArray[Any]
    scales: NDArray[Any]


def quantize_embeddings(model: ir.Model, kind: EmbeddingType) -> bool:
    """Replaces the lookups in the word table by lookups of ``kind``, those in the position table by int8 ones.

    Positions are few, every input reads them, and 4 bits would save a hundredth of an artifact.

    Returns:
        Whether there was anything to do: a tail has no embeddings.

    Raises:
        ExportError: a word table of an odd number of columns as int4.
    """
    lookups = [(node, _bits(_table_name(node), kind)) for node in model.graph if node.op_type == "Gather"]
    for node, bits in lookups:
        if bits < 32:
            _replace(model, node, bits)
    return any(bits < 32 for _, bits in lookups)


def saved_bytes(module: nn.Module, kind: EmbeddingType) -> int:
    """How many bytes of the float32 graph of ``module`` are not in the one whose embeddings are of ``kind``."""
    saved = 0
    for name, part in module.named_modules():
        if isinstance(part, nn.Embedding) and (bits := _bits(f"{name}.weight", kind)) < 32:
            rows, columns = part.weight.shape
            blocks = columns // _BLOCK if columns % _BLOCK == 0 else 1
            saved += rows * (columns * (32 - bits) // 8 - (2 * blocks if bits == 4 else 4))
    return saved


def quantize_int8(table: NDArray[np.float32]) -> Table:
    """Symmetric codes -127..127, a row's largest number becomes the largest code."""
    scales = _not_zero(np.abs(table).max(axis=1, keepdims=True) / np.float32(127))
    return Table(np.round(table / scales).astype(np.int8), scales)


def quantize_int4(table: NDArray[np.float32]) -> Table:
    """Codes -8..7 with the scale, of a few candidates, that leaves the smallest mean square error in its block.

    The low half of byte i is number i of the block, the high half number i + half a block, each plus 8.
    """
    columns = table.shape[1]
    size = _BLOCK if columns % _BLOCK == 0 else columns
    parts = [
        _int4_blocks(table[first : first + _ROWS_AT_ONCE].reshape(-1, columns // size, size))
        for first in range(0, len(table), _ROWS_AT_ONCE)
    ]
    codes, scales = (np.concatenate(part) for part in zip(*parts, strict=True))
    low, high = np.split(codes, 2, axis=-1)
    return Table(low | high << 4, scales)


def _int4_blocks(blocks: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """(rows, blocks, size) -> codes plus 8, one a byte, and scales (rows, blocks, 1)."""
    largest = np.abs(blocks).max(axis=-1, keepdims=True)
    best_scales = np.ones_like(largest, dtype=np.float16)
    least = np.full_like(largest, np.inf)
    for cut in _INT4_CUTS:
        scales = _not_zero((largest * cut / np.float32(7.5)).astype(np.float16))
        error = np.square(_int4_codes(blocks, scales) * scales - blocks).sum(axis=-1, keepdims=True)
        best_scales, least = np.where(error < least, scales, best_scales), np.minimum(error, least)
    return (_int4_codes(blocks, best_scales) + 8).astype(np.uint8), best_scales


def _int4_codes(blocks: NDArray[np.float32], scales: NDArray[np.float16]) -> NDArray[np.float32]:
    return np.clip(np.round(blocks / scales.astype(np.float32)), -8, 7)


def _not_zero(scales: NDArray[Any]) -> NDArray[Any]:
    """Rows of zeros, such as the padding token's, get a scale that can be divided by."""
    return np.where(scales > 0, scales, scales.dtype.type(1))


def _bits(table: str | None, kind: EmbeddingType) -> int:
    """Of one number of a table, in a graph whose embeddings are of ``kind``."""
    if kind == "float32" or table not in (_WORDS, _POSITIONS):
        return 32
    return 4 if kind == "int4" and table == _WORDS else 8


def _table_name(node: ir.Node) -> str | None:
    table = node.inputs[0]
    return table.name if table is not None and table.is_initializer() else None


def _replace(model: ir.Model, node: ir.Node, bits: int) -> None:
    """The nodes of one lookup, in the place of ``node``: gather codes and scales, make float32 of them, multiply."""
    source, indices, output = node.inputs[0], node.inputs[1], node.outputs[0]
    assert source is not None and source.const_value is not None and indices is not None
    table = source.const_value.numpy()
    if bits == 4 and table.shape[1] % 2:
        raise ExportError(
            f"{source.name} has {table.shape[1]} columns, an odd number, and int4 stores two a byte: use int8"
        )
    quantized = quantize_int4(table) if bits == 4 else quantize_int8(table)
    name = str(source.name).removesuffix(".weight")
    codes = _initializer(model, f"{name}.codes", quantized.codes)
    scales = _initializer(model, f"{name}.scales", quantized.scales)
    nodes: list[ir.Node] = []

    def add(operator: str, *inputs: ir.Value, **attributes: Any) -> ir.Value:
        made = ir.node(operator, inputs, attributes, name=f"{output.name}.{operator.lower()}_{len(nodes)}")
        made.outputs[0].name = made.name
        nodes.append(made)
        return made.outputs[0]

    looked_up, scale = add("Gather", codes, indices), add("Gather", scales, indices)
    if bits == 4:  # (batch, tokens, blocks, size / 2)
        low = add("BitwiseAnd", looked_up, _initializer(model, f"{name}.mask", np.uint8(15)))
        high = add("BitShift", looked_up, _initializer(model, f"{name}.bits", np.uint8(4)), direction="RIGHT")
        both = add("Concat", low, high, axis=-1)
        zero = _initializer(model, f"{name}.zero", np.float32(8))
        numbers = add("Sub", add("Cast", both, to=ir.DataType.FLOAT), zero)
        blocks = add("Mul", numbers, add("Cast", scale, to=ir.DataType.FLOAT))
        result = add("Reshape", blocks, _initializer(model, f"{name}.shape", np.array([0, 0, -1])))
    else:  # (batch, tokens, columns)
        result = add("Mul", add("Cast", looked_up, to=ir.DataType.FLOAT), scale)
    ir.convenience.replace_nodes_and_values(model.graph, node, [node], nodes, [output], [result])


def _initializer(model: ir.Model, name: str, value: NDArray[Any] | np.generic) -> ir.Value:
    if name in model.graph.initializers:  # the table's second lookup
        return model.graph.initializers[name]
    made = ir.val(name, const_value=ir.tensor(np.asarray(value), name=name))
    model.graph.register_initializer(made)
    return made
