"""Which pictures are held out for validation: by chance, and as good as all stay where they are when others come or go."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable, Sequence
from math import ceil, floor
from typing import TypeVar

from seas_runtime.dataset.read import Record

PHOTOGRAPH = "photograph"
"""Of a line of `metadata.jsonl`: the photograph that a pair was placed on."""
_Key = TypeVar("_Key", bound=Hashable)


def ranked(records: Iterable[Record], seed: int) -> list[Record]:
    """The records in an order of chance; which of two comes first depends on the seed and their keys alone."""
    return sorted(records, key=lambda record: hashlib.sha256(f"{seed}/{record.key}".encode()).digest())


def train_and_val(records: Sequence[Record], val: float, seed: int) -> dict[str, list[Record]]:
    """Divide records into "train" and "val", in their order; without any for it, there is no "val".

    Args:
        records: what to divide.
        val: share of each defect type and of the normal pictures for "val", rounded up, but never all: one of every
            1 / val that follow each other, so a longer run or a rejected pair moves one of each type at most. Pairs on whole
            photographs (`seas-data place`) go by their photographs instead: no photograph is in both parts.
        seed: another gives another choice.
    """
    held_out = _held_out(records, val, seed) if val > 0 else set()
    parts = {"train": [record for record in records if record.key not in held_out]}
    return parts | ({"val": [record for record in records if record.key in held_out]} if held_out else {})


def train_and_test(records: Sequence[Record], val: float, seed: int) -> dict[str, list[Record]]:
    """Divide records into "train", normal pictures alone, and "test", where the share `val` of them joins all pairs."""
    normals = [record for record in records if record.defect is None]
    parts = train_and_val(normals, val, seed)
    pairs = [record for record in records if record.defect is not None]
    return {"train": parts["train"], "test": pairs + parts.get("val", [])}


def _held_out(records: Sequence[Record], val: float, seed: int) -> set[str]:
    placed = [record for record in records if PHOTOGRAPH in record.facts]
    found = _of_photographs(placed, val, seed)
    for group in _grouped([record for record in records if PHOTOGRAPH not in record.facts], lambda record: record.defect):
        stretches = _grouped(group, lambda record: floor(record.turn * val))
        chosen = [ranked(stretch, seed)[0] for stretch in stretches]
        learned = len(group) == len(chosen)  # one at least is learned from
        found |= {record.key for record in ranked(chosen, seed)[learned:]}
    return found


def _of_photographs(records: Sequence[Record], val: float, seed: int) -> set[str]:
    """The records on so large a share of the photographs, one at least of two or more; which ones depends on their names alone."""
    names = {str(record.facts[PHOTOGRAPH]) for record in records}
    order = sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
    chosen = set(order[: min(len(order) - 1, ceil(val * len(order)))]) if order else set()
    return {record.key for record in records if str(record.facts[PHOTOGRAPH]) in chosen}


def _grouped(records: Iterable[Record], key: Callable[[Record], _Key]) -> list[list[Record]]:
    groups: dict[_Key, list[Record]] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return list(groups.values())
