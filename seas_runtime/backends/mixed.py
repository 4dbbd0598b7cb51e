"""Each graph on the engine that is fastest for it on a CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seas_runtime.backends import Backend
from seas_runtime.backends.mnn import MnnBackend, load_mnn
from seas_runtime.backends.openvino import OpenvinoBackend, load_openvino
from seas_runtime.backends.ort import OrtBackend, load_onnxruntime
from seas_runtime.backends.workers import CoreSplit, split_cores
from seas_runtime.bundle.graphs import GraphName
from seas_runtime.bundle.reader import Bundle
from seas_runtime.errors import BackendError

# Which graphs gain by MNN: benchmarks/results/cpu_engines.json. What runs the U-Net: latency_sd14.json. A table and no race at
# start-up: the same machine must give the same bytes.
ON_MNN: tuple[GraphName, ...] = ("decoder", "mask_branch", "finish")
REST: tuple[GraphName, ...] = ("unet",)
_REST_ON: Mapping[str, tuple[Callable[[], object], Callable[[Bundle, CoreSplit], Backend]]] = {
    "openvino+mnn": (load_openvino, lambda bundle, split: OpenvinoBackend(bundle, split, REST)),
    "cpu+mnn": (load_onnxruntime, lambda bundle, split: OrtBackend(bundle, "cpu", split, REST)),
}


def open_graphs(name: str, bundle: Bundle, threads: int) -> MixedBackend:
    """Open a bundle in both engines; see `seas_runtime.backends.BackendModule`."""
    return MixedBackend(bundle, name, split_cores(bundle.manifest, threads))


def missing(name: str) -> str | None:
    """Why one of the engines cannot be used; see `seas_runtime.backends.BackendModule`."""
    load, _ = _REST_ON[name]
    try:
        load()
        load_mnn()
    except BackendError as error:
        return error.message
    return None


class MixedBackend:
    """The U-Net in OpenVINO or ONNX Runtime, the graphs of many 3x3 convolutions in MNN; see `seas_runtime.backends.Backend`.

    The name says both engines: a run made by one alone is not continued by the mix, nor the other way round.

    Raises:
        BackendError: one of the engines is missing or does not take its graphs.
    """

    def __init__(self, bundle: Bundle, name: str, split: CoreSplit) -> None:
        load, open_rest = _REST_ON[name]
        load_mnn()  # before anything large is loaded
        load()
        self.name, self.workers, self._split = name, split.workers, split
        self._on_mnn = tuple(graph for graph in bundle.manifest.sampled if graph in ON_MNN)
        rest, mnn = open_rest(bundle, split), MnnBackend(bundle, split, self._on_mnn)
        self._engines: dict[GraphName, Backend] = {**dict.fromkeys(REST, rest), **dict.fromkeys(self._on_mnn, mnn)}

    def run(self, graph: GraphName, feeds: Mapping[str, NDArray[Any]], outputs: tuple[str, ...]) -> dict[str, NDArray[np.float32]]:
        """Run one graph on its engine, n rows, see `Backend.run`."""
        return self._engines[graph].run(graph, feeds, outputs)

    def describe(self) -> dict[str, str]:
        """Engines with versions, precision, and which graph runs where and why."""
        engine = {graph: backend.describe()["engine"] for graph, backend in self._engines.items()}
        return {
            "name": self.name,
            "engine": " and ".join(dict.fromkeys(engine.values())),
            "precision": "fp32",
            "device": "CPU",
            "graphs": f"{', '.join(REST)} on {engine[REST[0]]}; {', '.join(self._on_mnn)} on {engine[self._on_mnn[0]]}, "
            "whose Winograd convolutions are faster there",
            **self._split.facts(),
        }
