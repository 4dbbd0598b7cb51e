"""Core files as an engine gets them: what was verified, or verified once more, since a folder can change after it was read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from seas_runtime.bundle.core_files import check_listed
from seas_runtime.bundle.graphs import GraphName, Precision
from seas_runtime.bundle.onnx_wire import External, external_tensors, survey
from seas_runtime.bundle.reader import Bundle
from seas_runtime.errors import BundleError
from seas_runtime.files import open_regular


class Weights:
    """A bundle's weights by the file they lie in, each mapped once and hashed as it is mapped.

    Who replaces a file after that replaces nothing that is mapped. Who writes into the very file between the hash and the
    engine's reading is not noticed; nobody but an owner of the bundle's folder can.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._mapped: dict[str, NDArray[np.uint8]] = {}

    def arrays(self, graph: GraphName, precision: Precision) -> dict[str, NDArray[np.generic]]:
        """The initializers of a graph that lie outside it, by name, read only.

        Raises:
            BundleError: a file is not what it was when it was verified.
        """
        tensors = external_tensors(self._bundle.graph(graph, precision))
        return {tensor.name: self._array(tensor) for tensor in tensors}

    def _array(self, tensor: External) -> NDArray[np.generic]:
        data = self._map(tensor.location)[tensor.offset : tensor.offset + tensor.length]
        return np.frombuffer(data, tensor.dtype).reshape(tensor.shape)

    def _map(self, name: str) -> NDArray[np.uint8]:
        if name not in self._mapped:
            path, wanted = self._bundle.path / name, self._bundle.manifest.files[name]
            try:
                with open_regular(path) as stream:
                    data = np.memmap(stream, np.uint8, "r")
            except (OSError, ValueError) as error:  # ValueError: it is empty now
                raise BundleError(f"{path}: {error}; fetch the bundle again") from error
            if len(data) != wanted.bytes or hashlib.sha256(data.data).hexdigest() != wanted.sha256:
                raise BundleError(f"{path}: has changed since it was verified; fetch the bundle again")
            self._mapped[name] = data
        return self._mapped[name]


def verify_again(bundle: Bundle, graphs: Iterable[tuple[GraphName, Precision]]) -> None:
    """Hash again what an engine is about to open by its path: graphs and the files of their weights.

    What remains: a file that is replaced between this and the engine's reading of it, which takes who may write to the folder.

    Raises:
        BundleError: one has changed since the bundle was read.
    """
    names: dict[str, None] = {}
    for graph, precision in graphs:
        names[bundle.graph_path(graph, precision).relative_to(bundle.path).as_posix()] = None
        names.update(dict.fromkeys(sorted(survey(bundle.graph(graph, precision)).locations)))
    for name in names:
        try:
            check_listed(bundle.path, name, bundle.manifest.files[name])
        except OSError as error:
            raise BundleError(f"{bundle.path / name}: {error.strerror or error}; fetch the bundle again") from error
