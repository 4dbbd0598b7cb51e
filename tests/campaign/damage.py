"""Ways to damage bytes and JSON, drawn from a stream."""

from __future__ import annotations

import json
import random
from typing import Any

ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, 10**30, 1e308, -0.5, 1e-320, float("inf"), float("nan"), "", " ", ".", "..",
    "/", "/etc/passwd", "../../x", "a/../../b", "a" * 5000, "\x00", "\x1b[2J\x07\r", "\ud800", "ü\u202e\u2028", "NaN", "-1", "*",
    "weights.bin", "manifest.json", "*/_ORT_MEM_ADDR_/*", [], {}, [[]], [None], {"": None}, {"a": {"a": {"a": []}}}, [0] * 3000,
)  # fmt: skip


def damaged(data: bytes, draw: random.Random) -> bytes:
    """Bytes with some flipped, cut out, put in, said twice or cut off."""
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 5, 20))):
        start = draw.randrange(len(changed)) if changed else 0
        some = draw.choice((1, 1, 2, 8, 100))
        match draw.randrange(6):
            case 0:
                changed[start : start + 1] = bytes([draw.randrange(256)])
            case 1:
                if changed:
                    changed[start] ^= 1 << draw.randrange(8)
            case 2:
                del changed[start : start + some]
            case 3:
                changed[start:start] = draw.randbytes(some)
            case 4:
                changed[start:start] = changed[start : start + some]
            case _:
                if draw.random() < 0.3:
                    del changed[start:]
    return bytes(changed)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in a JSON document."""
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += places(inner, (*path, key))
    return found


def edited(document: Any, draw: random.Random) -> Any:
    """A JSON document with a value replaced by an odd one, removed, added or moved."""
    changed = json.loads(json.dumps(document))
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        all_places = places(changed)
        if not all_places:
            return draw.choice(ODD)
        path = draw.choice(all_places)
        parent = changed
        for key in path[:-1]:
            parent = parent[key]
        match draw.randrange(6):
            case 0 | 1 | 2:
                parent[path[-1]] = draw.choice(ODD)
            case 3:
                del parent[path[-1]]
            case 4:
                if isinstance(parent, dict):
                    parent[str(draw.choice(ODD))[:40]] = draw.choice(ODD)
                else:
                    parent.append(draw.choice(ODD))
            case _:
                other = draw.choice(all_places)
                source = changed
                for key in other:
                    try:
                        source = source[key]
                    except (KeyError, IndexError, TypeError):
                        break
                parent[path[-1]] = json.loads(json.dumps(source))
    return changed


def nested(draw: random.Random) -> str:
    """JSON that is nested deeper than a reader's stack."""
    deep = draw.choice((100, 1000, 5000, 100_000))
    return draw.choice(("[" * deep + "]" * deep, '{"a":' * deep + "0" + "}" * deep, "[" * deep))
