"""What must be known of an ONNX file before an engine may open it, read from the protobuf wire format.

Field numbers are those of onnx/onnx.proto; wire types those of the protobuf encoding guide.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

MAX_DEPTH = 64

# message -> field number -> message found there: every way on which a tensor can be reached.
_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "function": {7: "node", 11: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
_DTYPES = {1: "float32", 6: "int32", 7: "int64", 9: "bool", 10: "float16", 11: "float64", 16: "bfloat16"}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

Field = tuple[int, int, int, memoryview]


@dataclass(frozen=True)
class Value:
    """A graph's input or output: a shape entry is an int, a symbol, or None where the file is silent."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]


def external_paths(data: bytes) -> set[str]:
    """All external-data locations of an ONNX model, from any tensor at any depth.

    Raises:
        ValueError: not a protobuf message, or nested deeper than `MAX_DEPTH`.
    """
    found: set[str] = set()
    for entry in _walk(memoryview(data), "model", 0):
        texts = [(number, bytes(value)) for number, _, _, value in fields(entry)]
        if (1, b"location") in texts:
            found.update(text.decode() for number, text in texts if number == 2)
    return found


def graph_values(data: bytes) -> tuple[tuple[Value, ...], tuple[Value, ...]]:
    """Inputs and outputs of an ONNX model's main graph.

    Raises:
        ValueError: not a protobuf message.
    """
    inputs: list[Value] = []
    outputs: list[Value] = []
    for graph in _at(memoryview(data), 7):
        inputs += [_value(info) for info in _at(graph, 11)]
        outputs += [_value(info) for info in _at(graph, 12)]
    return tuple(inputs), tuple(outputs)


def _walk(message: memoryview, kind: str, depth: int) -> Iterator[memoryview]:
    """Every external_data entry below `message`."""
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    if kind == "entry":
        yield message
        return
    children = _CHILDREN[kind]
    for number, wire, _, value in fields(message):
        if wire == _BYTES and number in children:
            yield from _walk(value, children[number], depth + 1)


def fields(message: memoryview) -> Iterator[Field]:
    """(field number, wire type, integer value, bytes value) of each field of one message."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, wire = key >> 3, key & 7
        if not 0 < key < 1 << 32:  # other readers cut such keys to 32 bits and would see another field
            raise ValueError(f"field key {key} at byte {position}")
        integer, size = 0, 0
        if wire == _VARINT:
            integer, position = _varint(message, position)
        elif wire == _BYTES:
            size, position = _varint(message, position)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire} at byte {position}")
        if position + size > len(message):
            raise ValueError("cut short")
        yield number, wire, integer, message[position : position + size]
        position += size


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    result = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            raise ValueError("cut short")
        byte = message[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
    raise ValueError("a number of more than ten bytes")


def _at(message: memoryview, wanted: int) -> list[memoryview]:
    return [value for number, wire, _, value in fields(message) if wire == _BYTES and number == wanted]


def _integer(message: memoryview, wanted: int) -> int | None:
    values = [value for number, wire, value, _ in fields(message) if wire == _VARINT and number == wanted]
    return values[-1] if values else None


def _text(message: memoryview, wanted: int) -> str | None:
    values = _at(message, wanted)
    return bytes(values[-1]).decode() if values else None


def _value(info: memoryview) -> Value:
    """ValueInfoProto: name 1, type 2 -> tensor_type 1 -> elem_type 1, shape 2 -> dim 1."""
    code: int | None = None
    shape: list[int | str | None] = []
    for kind in _at(info, 2):
        for tensor in _at(kind, 1):
            code = _integer(tensor, 1)
            for dims in _at(tensor, 2):
                shape += [_dimension(dim) for dim in _at(dims, 1)]
    return Value(_text(info, 1) or "", _DTYPES.get(code or 0, f"type {code}"), tuple(shape))


def _dimension(dim: memoryview) -> int | str | None:
    value = _integer(dim, 1)
    return _text(dim, 2) if value is None else value
