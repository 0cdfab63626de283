"""Counts the parameters of an ONNX file from its protocol buffer, since onnxruntime does not report them."""

from collections.abc import Iterator
from math import prod

VARINT, EIGHT, LENGTH, FOUR = 0, 1, 2, 5  # kinds of fields
GRAPH, INITIALIZER, DIMS = 7, 5, 1  # field numbers of ModelProto, GraphProto and TensorProto


def parameters(content: bytes) -> int:
    """The number of values in all initializers of a graph. content: of a file that onnxruntime has accepted."""
    tensors = (tensor for graph in _parts(memoryview(content), GRAPH) for tensor in _parts(graph, INITIALIZER))
    return sum(prod(_dims(tensor)) for tensor in tensors)


def _dims(tensor: memoryview) -> list[int]:
    sides = []
    for number, value in _fields(tensor):
        if number == DIMS and isinstance(value, int):
            sides.append(value)
        elif number == DIMS and isinstance(value, memoryview):  # packed
            at = 0
            while at < len(value):
                dim, at = _varint(value, at)
                sides.append(dim)
    return sides


def _parts(message: memoryview, wanted: int) -> Iterator[memoryview]:
    return (value for number, value in _fields(message) if number == wanted and isinstance(value, memoryview))


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(number, value) of each field."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == VARINT:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if kind not in (EIGHT, LENGTH, FOUR):
            return
        length, at = _varint(message, at) if kind == LENGTH else ({EIGHT: 8, FOUR: 4}[kind], at)
        yield key >> 3, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """(number, position after it)."""
    number = shift = 0
    while at < len(message):
        byte = message[at]
        at += 1
        number |= (byte & 127) << shift
        shift += 7
        if not byte & 128:
            break
    return number, at
