"""An ONNX file with its external weights written into it, for readers that get external fp16 weights wrong.

Works on the protobuf wire format; field numbers are those of onnx/onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from seas_runtime.bundle.onnx_wire import Field, fields

MAX_BYTES = (1 << 31) - 1  # protobuf's limit on one message
_VARINT, _BYTES = 0, 2
_GRAPH, _INITIALIZER = 7, 5
_DATA_TYPE, _RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 2, 9, 13, 14
_DATA_TYPE_HALF = (_DATA_TYPE, _VARINT, 10)

Chunk = bytes | memoryview


def external_bytes(model: bytes) -> tuple[int, int]:
    """Bytes that lie outside the file: of float16 initializers, and of the others.

    Raises:
        ValueError: not a protobuf message, or a length that is no number.
    """
    half = other = 0
    for graph in _messages(memoryview(model), _GRAPH):
        for tensor in _messages(graph, _INITIALIZER):
            entries = dict(_entry(entry) for entry in _messages(tensor, _EXTERNAL_DATA))
            size = int(entries.get("length", 0))
            if _DATA_TYPE_HALF in {field[:3] for field in fields(tensor)}:
                half += size
            else:
                other += size
    return half, other


def write_inline(source: Path, target: Path) -> None:
    """Write `source` to `target` with the data of its initializers inside; weights are read as they are written.

    Args:
        source: an ONNX file of a verified bundle; its external data lie beside it.
        target: the file to write.

    Raises:
        ValueError: not a protobuf message, external data shorter than it says, or more than `MAX_BYTES` in all.
        OSError: whatever the file system says.
    """
    chunks = _model(memoryview(source.read_bytes()), source.parent)
    if (size := _size(chunks)) > MAX_BYTES:
        raise ValueError(f"{source.name} with its weights has {size} bytes, at most {MAX_BYTES} fit in one file")
    with target.open("wb") as stream:
        for chunk in chunks:
            stream.write(chunk)


def _model(message: memoryview, folder: Path) -> list[Chunk]:
    chunks: list[Chunk] = []
    for field in fields(message):
        if field[:2] == (_GRAPH, _BYTES):
            chunks += _nested(_GRAPH, _graph(field[3], folder))
        else:
            chunks.append(_encoded(field))
    return chunks


def _graph(message: memoryview, folder: Path) -> list[Chunk]:
    chunks: list[Chunk] = []
    for field in fields(message):
        if field[:2] == (_INITIALIZER, _BYTES):
            chunks += _nested(_INITIALIZER, _tensor(field[3], folder))
        else:
            chunks.append(_encoded(field))
    return chunks


def _tensor(message: memoryview, folder: Path) -> list[Chunk]:
    entries = dict(_entry(entry) for entry in _messages(message, _EXTERNAL_DATA))
    kept: list[Chunk] = [_encoded(field) for field in fields(message) if field[0] not in (_EXTERNAL_DATA, _DATA_LOCATION)]
    return kept + _nested(_RAW_DATA, [_external(entries, folder)]) if entries else kept


def _entry(message: memoryview) -> tuple[str, str]:
    """StringStringEntryProto: key 1, value 2."""
    texts = {number: bytes(value).decode() for number, wire, _, value in fields(message) if wire == _BYTES}
    return texts.get(1, ""), texts.get(2, "")


def _external(entries: dict[str, str], folder: Path) -> memoryview:
    file = folder / entries["location"]
    offset = int(entries.get("offset", 0))
    length = int(entries.get("length", file.stat().st_size - offset))
    if offset < 0 or length <= 0 or offset + length > file.stat().st_size:
        raise ValueError(f"{file.name} ends before byte {offset + length}")
    return np.memmap(file, np.uint8, "r", offset, (length,)).data


def _messages(message: memoryview, wanted: int) -> list[memoryview]:
    return [value for number, wire, _, value in fields(message) if (number, wire) == (wanted, _BYTES)]


def _nested(number: int, chunks: list[Chunk]) -> list[Chunk]:
    return [_varint(number << 3 | _BYTES) + _varint(_size(chunks)), *chunks]


def _encoded(field: Field) -> bytes:
    number, wire, integer, value = field
    key = _varint(number << 3 | wire)
    if wire == _VARINT:
        return key + _varint(integer)
    return key + (_varint(len(value)) if wire == _BYTES else b"") + bytes(value)


def _varint(value: int) -> bytes:
    septets = bytearray()
    while value > 0x7F:
        septets.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*septets, value))


def _size(chunks: Iterable[Chunk]) -> int:
    return sum(map(len, chunks))
