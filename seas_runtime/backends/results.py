"""What an engine gave, compared with what its graph says it gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seas_runtime.bundle.graphs import Graph
from seas_runtime.errors import BackendError


def checked(
    backend: str, graph: str, specs: Graph, feeds: Mapping[str, NDArray[Any]], results: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[np.float32]]:
    """Results as float32. Every call is checked: it costs a comparison of a few numbers.

    Args:
        backend: its name, for the error.
        graph: the graph's name, for the error.
        specs: the graph as the manifest has it.
        feeds: its inputs, which say how many rows there are.
        results: outputs by name.

    Raises:
        BackendError: one has another shape than the manifest says, or holds no floating-point numbers.
    """
    rows = len(feeds[specs.inputs[0].name])
    shapes = {spec.name: (rows, *spec.shape[1:]) for spec in specs.outputs}
    for name, result in results.items():
        wanted = shapes[name]
        if len(result.shape) != len(wanted) or any(
            isinstance(side, int) and side != found for side, found in zip(wanted, result.shape, strict=True)
        ):
            shape = f"{result.shape} found, {wanted} expected"
            raise BackendError(f"{graph} on backend {backend} gives {name} another shape: {shape}; do not use this bundle")
        if result.dtype.kind != "f":
            raise BackendError(
                f"{graph} on backend {backend} gives {name} as {result.dtype}, floats expected; do not use this bundle"
            )
    return {name: np.asarray(result, np.float32) for name, result in results.items()}
