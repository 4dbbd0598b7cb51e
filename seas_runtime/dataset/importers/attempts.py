"""Work on many files at once, where one that fails stops nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from typing import TypeVar

from seas_runtime.dataset.importers.records import BrokenError

Item = TypeVar("Item")
Result = TypeVar("Result")


def attempts(pool: Executor, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result | BrokenError]:
    """The function of each item in order, or the reason why there is none."""

    def run(item: Item) -> Result | BrokenError:
        try:
            return function(item)
        except BrokenError as error:
            return error

    return pool.map(run, items)
