"""What must be known of an ONNX file before an engine may open it, read from the protobuf wire format.

Field numbers are those of onnx/onnx.proto; wire types those of the protobuf encoding guide.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod

MAX_DEPTH = 64
MAX_NODES = 20_000  # the U-Net of Stable Diffusion v1 has fewer than 5,000

# message -> field number -> message found there: every way on which a tensor can be reached. A "value" is a tensor that is no
# initializer, a "stray" its entry for external data.
_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "function": {7: "node", 11: "attribute"},
    "attribute": {5: "value", 6: "graph", 10: "value", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "value", 2: "value"},
    "tensor": {13: "entry"},
    "value": {13: "stray"},
}
_OPERATOR, _DOMAIN = 4, 7  # of a node
_DTYPES = {1: "float32", 6: "int32", 7: "int64", 9: "bool", 10: "float16", 11: "float64", 16: "bfloat16"}
_SIZES = {"float32": 4, "int32": 4, "int64": 8, "bool": 1, "float16": 2, "float64": 8}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

Field = tuple[int, int, int, memoryview]


@dataclass(frozen=True)
class Value:
    """A graph's input or output: a shape entry is an int, a symbol, or None where the file is silent."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]


@dataclass(frozen=True)
class External:
    """An initializer whose bytes lie in another file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    location: str
    offset: int
    length: int


@dataclass
class Survey:
    """What an ONNX model is made of, at any depth.

    Attributes:
        kinds: how many there are of each message of `_CHILDREN`.
        operators: the operators of all nodes.
        domains: and their domains.
        locations: of external data.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    operators: set[str] = field(default_factory=set)
    domains: set[str] = field(default_factory=set)
    locations: set[str] = field(default_factory=set)


def survey(data: bytes) -> Survey:
    """Go through an ONNX model once.

    Raises:
        ValueError: not a protobuf message, nested deeper than `MAX_DEPTH`, or of more than `MAX_NODES` nodes.
    """
    seen = Survey()
    todo = [(memoryview(data), "model", 0)]
    while todo:
        message, kind, depth = todo.pop()
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
        seen.kinds[kind] += 1
        if kind in ("entry", "stray"):
            texts = [(number, bytes(value)) for number, _, _, value in fields(message)]
            if (1, b"location") in texts:
                seen.locations.update(text.decode() for number, text in texts if number == 2)
            continue
        if seen.kinds["node"] > MAX_NODES:
            raise ValueError(f"of more than {MAX_NODES} nodes")
        children = _CHILDREN[kind]
        for number, wire, _, value in fields(message):
            if wire != _BYTES:
                continue
            if number in children:
                todo.append((value, children[number], depth + 1))
            elif kind == "node" and number in (_OPERATOR, _DOMAIN):
                (seen.operators if number == _OPERATOR else seen.domains).add(bytes(value).decode())
    return seen


def external_tensors(data: bytes) -> list[External]:
    """The initializers of the main graph whose bytes lie in another file.

    Raises:
        ValueError: not a protobuf message, a dtype or number that is none, or a length that is not the shape's.
    """
    found: list[External] = []
    for graph in _at(memoryview(data), 7):
        for tensor in _at(graph, 5):
            entries = {_text(entry, 1): _text(entry, 2) or "" for entry in _at(tensor, 13)}
            if entries:
                found.append(_external(tensor, entries))
    return found


def _external(tensor: memoryview, entries: dict[str | None, str]) -> External:
    name, shape = _text(tensor, 8) or "", tuple(_dims(tensor))
    code = _integer(tensor, 2) or 0
    dtype = _DTYPES.get(code, f"type {code}")
    if dtype not in _SIZES:
        raise ValueError(f"initializer {name!r} is of {dtype}")
    size = prod(shape) * _SIZES[dtype]
    offset, length = int(entries.get("offset") or 0), int(entries.get("length") or size)
    if offset < 0 or length != size:
        raise ValueError(f"initializer {name!r} of shape {shape} has {length} bytes from {offset} on")
    return External(name, dtype, shape, entries.get("location", ""), offset, length)


def _dims(tensor: memoryview) -> Iterator[int]:
    """TensorProto.dims, packed or not."""
    for number, wire, value, packed in fields(tensor):
        if number != 1:
            continue
        if wire == _VARINT:
            yield value
        position = 0
        while position < len(packed):
            side, position = _varint(packed, position)
            yield side


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
