"""A bundle's graphs as the sampler calls them: the U-Net with its prompts, and outputs that are finite."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from seas_runtime.backends import Backend
from seas_runtime.bundle.graphs import GraphName
from seas_runtime.errors import BackendError

Array = NDArray[np.float32]


class PromptedUnet:
    """The U-Net with the prompts of n pairs, and with the empty prompt beside each: (sample, timestep) -> noise, and taps if asked.

    A sample of n rows runs the conditional half alone; one of 2n rows, which needs the empty prompt, both halves as one batch,
    the conditional first. Guidance itself is applied where a step ends, in `guided_update`.

    Args:
        backend: what runs it.
        prompts: embeddings (n, L, D) float32.
        empty: the empty prompt's (L, D) float32; None where no step is guided.
    """

    def __init__(self, backend: Backend, prompts: Array, empty: Array | None) -> None:
        self.backend = backend
        self.pairs = len(prompts)
        self.prompts = prompts if empty is None else np.concatenate((prompts, np.broadcast_to(empty, prompts.shape)))

    def noise(self, sample: Array, timestep: np.int64) -> Array:
        """Noise of the halves in `sample`, like it: (n or 2n, C, h, w) float32."""
        return self._run(sample, timestep, ("noise",))[0]

    def noise_and_taps(self, sample: Array, timestep: np.int64) -> tuple[Array, Array, Array]:
        """Noise of the halves in `sample`, and the taps up2 and up3 of the conditional half, of n rows in the manifest's shapes."""
        noise, up2, up3 = self._run(sample, timestep, ("noise", "up2", "up3"))
        return noise, up2[: self.pairs], up3[: self.pairs]

    def taps(self, latents: Array, timestep: int) -> tuple[Array, Array]:
        """The taps up2 and up3 of the conditional half for latents (n, C, h, w)."""
        up2, up3 = self._run(latents, np.int64(timestep), ("up2", "up3"))
        return up2, up3

    def _run(self, sample: Array, timestep: np.int64, outputs: tuple[str, ...]) -> list[Array]:
        feeds: dict[str, NDArray[Any]] = {
            "sample": sample,
            "timestep": np.full(len(sample), timestep, np.int64),
            "prompt": self.prompts[: len(sample)],
        }
        return run_graph(self.backend, "unet", feeds, outputs)


def run_graph(backend: Backend, graph: GraphName, feeds: dict[str, NDArray[Any]], outputs: tuple[str, ...]) -> list[Array]:
    """These outputs of a graph, in this order.

    Raises:
        BackendError: the engine fails, or a number is not finite.
    """
    results = backend.run(graph, feeds, outputs)
    for name in outputs:
        if not np.isfinite(results[name]).all():
            raise BackendError(f"{graph} on backend {backend.name} gave NaN or infinity in {name!r}; try --backend cpu")
    return [results[name] for name in outputs]
