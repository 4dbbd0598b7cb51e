"""The sampler's loop on the GPU: `seas_runtime.sampling.loop.solve`, decoding and masks, with nothing copied in between.

The graphs hand each other their tensors in place, the kernels do what is between the graphs, and only pixels, masks and
one flag come back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from seas_runtime.backends import BatchJob
from seas_runtime.backends.tensorrt.cuda import explained
from seas_runtime.backends.tensorrt.graph_engine import Ready
from seas_runtime.backends.tensorrt.session import Session, Sized, memory_of, size_of
from seas_runtime.bundle.graphs import GraphName
from seas_runtime.bundle.manifest import Manifest
from seas_runtime.errors import BackendError
from seas_runtime.kernels.loader import Kernels, Storage

_COPIES: dict[bool, Literal[1, 2]] = {False: 1, True: 2}


def storage_of(manifest: Manifest) -> Storage:
    """The type of the tensors that the kernels read and write.

    Raises:
        BackendError: there are two.
    """
    found = {
        spec.dtype
        for name in manifest.sampled
        for spec in (*manifest.graphs[name].inputs, *manifest.graphs[name].outputs)
        if spec.name not in ("timestep", "prompt")
    }
    if found == {"float32"}:
        return "float32"
    if found == {"float16"}:
        return "float16"
    raise BackendError(f"tensors of {' and '.join(sorted(found))} found, one type expected")


class Loop:
    """Runs whole batches in a session, with the kernels for the type of its tensors."""

    def __init__(self, session: Session, kernels: Kernels) -> None:
        self._session, self._kernels = session, kernels
        self._masks: GraphName = "finish" if "finish" in session.names else "mask_branch"
        unet, branch = session.graph("unet"), session.graph(self._masks)
        self._latent = session.graph("decoder").inputs[0]
        self._image = session.graph("decoder").outputs[0]
        self._sample, self._timestep, self._prompt = map(memory_of, unet.inputs)
        self._noise, self._probability = memory_of(unet.outputs[0]), memory_of(branch.outputs[-1])
        self._height, self._width = (int(side) for side in self._image.shape[2:])

    def run(self, job: BatchJob) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
        """See `seas_runtime.backends.BatchBackend.sample_batch`."""
        n = len(job.latents)
        sizes: set[Sized] = {("unet", n * _COPIES[guided]) for guided in job.guided.tolist()}
        sizes |= {("decoder", n)} if job.look is None else {("unet", n)}
        sizes |= {(self._masks, n)} if job.masks else set()
        with self._session.ready(sorted(sizes, reverse=True), self._memory(job)) as engines:
            self._upload(job)
            for index in range(len(job.table)):
                self._step(job, engines, index)
            if job.look is None:
                engines["decoder", n].launch()
            else:
                self._look(job, engines)
            self._finish(job)
            results = self._session.gpu.download(
                {
                    "pixels": ((n, self._height, self._width, 3), np.dtype(np.uint8)),
                    "mask": ((1 + job.masks, n, self._height, self._width), np.dtype(np.uint8)),
                    "broken": ((1,), np.dtype(np.int32)),
                }
            )
        if results["broken"][0]:
            raise BackendError("the sampler's loop on the GPU met NaN or infinity; try --backend cpu")
        return results["pixels"], results["mask"][0], results["mask"][1:]

    def _memory(self, job: BatchJob) -> dict[str, int]:
        """What the kernels need beside the tensors of the graphs, in bytes.

        `total` and `mask` hold those of all mask steps together, then those of each.
        """
        n = len(job.latents)
        pixels = n * self._height * self._width
        masked = (1 + job.masks) * pixels
        return {
            "table": _table(job).nbytes,
            "timesteps": _timesteps(job).nbytes,
            "counter": 4,
            "step": job.table[0].nbytes,
            "before": size_of(self._latent, n),
            "broken": 4,
            "total": 4 * masked,
            "pixels": 3 * pixels,
            "mask": masked,
            **({"fresh": len(job.fresh) * size_of(self._latent, n)} if job.fresh is not None and len(job.fresh) else {}),
        }

    def _upload(self, job: BatchJob) -> None:
        gpu, n = self._session.gpu, len(job.latents)
        copies = len(job.prompts) // n
        dtype = np.dtype(self._latent.dtype)
        gpu.upload(self._sample, np.concatenate([job.latents] * copies).astype(dtype))
        gpu.upload(self._prompt, job.prompts.astype(self._session.graph("unet").inputs[2].dtype))
        gpu.upload("table", _table(job))
        gpu.upload("timesteps", _timesteps(job))
        if job.fresh is not None and len(job.fresh):
            gpu.upload("fresh", job.fresh.astype(dtype))
        for name, size in self._memory(job).items():
            if name in ("counter", "broken", "total"):
                gpu.clear(name, size)

    def _step(self, job: BatchJob, engines: Mapping[Sized, Ready], index: int) -> None:
        """One step, and its mask if it is among the last ones that give masks.

        A mask is of the latents that enter the step, and so comes before they are replaced. A step without guidance has the
        engine of n rows, captured in a CUDA graph of its own; in a guided run it leaves both copies of the latents all the same.
        """
        at, stream = self._session.gpu.address, self._session.gpu.stream
        n, halves = len(job.latents), _COPIES[bool(job.guided[index])]
        mask = index - (len(job.table) - job.mask_steps)
        self._begin(job, halves * n)
        engines["unet", halves * n].launch()
        if mask >= 0:
            engines[self._masks, n].launch()
            self._accumulate(job, mask)
        with explained("ending a step on the GPU"):
            self._kernels.update(
                stream,
                noise=at(self._noise),
                latents=at(self._sample),
                before=self._before(job, index),
                step=at("step"),
                next_latents=at(self._sample),
                clean=at("before"),
                broken=at("broken"),
                count=job.latents.size,
                halves=halves,
                copies=_COPIES[len(job.prompts) > n],
            )

    def _before(self, job: BatchJob, index: int) -> int:
        """Where the data prediction of the step before lies, or the noise that this step adds."""
        at = self._session.gpu.address
        if job.fresh is None or index == len(job.fresh):  # the last step adds none
            return at("before")
        return at("fresh") + index * size_of(self._latent, len(job.latents))

    def _look(self, job: BatchJob, engines: Mapping[Sized, Ready]) -> None:
        """One look at the final latents: taps of the conditional half, then picture and probability."""
        n = len(job.latents)
        self._begin(job, n)
        engines["unet", n].launch()
        engines[self._masks, n].launch()
        self._accumulate(job, 0)

    def _begin(self, job: BatchJob, rows: int) -> None:
        at = self._session.gpu.address
        with explained("starting a step on the GPU"):
            self._kernels.begin_step(
                self._session.gpu.stream,
                table=at("table"),
                timesteps=at("timesteps"),
                counter=at("counter"),
                step=at("step"),
                timestep=at(self._timestep),
                steps=len(_table(job)),
                rows=rows,
            )

    def _accumulate(self, job: BatchJob, mask: int) -> None:
        """Add a probability to the sum of all, and to the place of its own."""
        at, pixels = self._session.gpu.address, len(job.latents) * self._height * self._width
        with explained("adding up masks on the GPU"):
            for place in (0, 1 + mask):
                self._kernels.accumulate(
                    self._session.gpu.stream,
                    probability=at(self._probability),
                    total=at("total") + 4 * place * pixels,
                    broken=at("broken"),
                    count=pixels,
                )

    def _finish(self, job: BatchJob) -> None:
        at, stream = self._session.gpu.address, self._session.gpu.stream
        n, plane = len(job.latents), self._height * self._width
        with explained("making pixels on the GPU"):
            self._kernels.to_pixels(
                stream,
                images=at(memory_of(self._image)),
                pixels=at("pixels"),
                broken=at("broken"),
                n=n,
                plane=plane,
            )
            for place in range((1 + job.masks) * n):
                self._kernels.threshold(
                    stream,
                    total=at("total") + 4 * place * plane,
                    mask=at("mask") + place * plane,
                    count=plane,
                    steps=1 if place >= n else max(job.masks, 1),
                    limit=float(job.thresholds[place % n]),
                )


def _table(job: BatchJob) -> NDArray[np.float32]:
    """The rows that `begin_step` goes through: one of each step, and an empty one of the look."""
    return job.table if job.look is None else np.concatenate([job.table, np.zeros_like(job.table[:1])])


def _timesteps(job: BatchJob) -> NDArray[np.int64]:
    return job.timesteps if job.look is None else np.append(job.timesteps, np.int64(job.look))
