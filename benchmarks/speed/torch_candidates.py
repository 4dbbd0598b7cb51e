"""PyTorch in the latency benchmark: as it comes, and as a competent user would write it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.speed.job import GUIDANCE, MASK_STEPS, STEPS, THRESHOLD, Job
from seas_runtime.backends.workers import Workers, borrowed, usable_cores


class Reference:
    """`seas_train.reference`: the plain modules in eager PyTorch."""

    def __init__(self, job: Job) -> None:
        import torch

        from seas_export import graphs, to_onnx
        from seas_train import run_folder

        self.torch, self.batches, n = torch, job.batches, job.batch
        self.run = run_folder.load(job.work / "run")
        rmp = run_folder.require_masks(self.run)
        to_onnx.round_to_half([self.run.model.unet, self.run.model.vae, rmp])
        looks = {"mask": graphs.MaskBranch} if self.run.look is None else {"finish": graphs.Finish}
        self.modules: dict[str, Callable[..., Any]] = {
            "unet": graphs.UNet(self.run.model),
            **{name: module(self.run.model, rmp) for name, module in looks.items()},
            "decode": graphs.Decoder(self.run.model),
        }
        facts = self.run.facts
        self.defects = [facts.defects[i % len(facts.defects)] for i in range(n)]
        self.normal = self.run.normal_mean[:1].expand(n, -1, -1, -1)
        self.noise = torch.randn(self.normal.shape, generator=torch.Generator().manual_seed(0))
        self.prompt = self.run.embed([*(facts.prompts.anomaly[defect] for defect in self.defects), *[""] * n])
        self.latents, self.timestep = torch.cat([self.noise, self.noise]), torch.full((2 * n,), 500)
        _, up2, up3 = self._call("unet", self.latents, self.timestep, self.prompt)
        self.taps = up2[:n], up3[:n]

    def unet(self) -> object:
        """The U-Net with taps."""
        return [self._call("unet", self.latents, self.timestep, self.prompt) for _ in range(self.batches)]

    def mask(self) -> object:
        """VAE features and mask branch."""
        return [self._call("mask", self.noise, *self.taps) for _ in range(self.batches)]

    def decode(self) -> object:
        """The VAE decoder."""
        return [self._call("decode", self.noise) for _ in range(self.batches)]

    def call(self) -> object:
        """The U-Net without guidance."""
        n = len(self.noise)
        return [self._call("unet", self.noise, self.timestep[:n], self.prompt[:n]) for _ in range(self.batches)]

    def finish(self) -> object:
        """Image and mask of a finished latent, after the U-Net's look."""
        return [self._call("finish", self.noise, *self.taps) for _ in range(self.batches)]

    def pairs(self) -> object:
        """The reference sampler."""
        from seas_train import reference

        settings = reference.SampleSettings(STEPS, GUIDANCE, MASK_STEPS)
        return [reference.sample(self.run, self.defects, self.normal, self.noise, settings) for _ in range(self.batches)]

    def _call(self, name: str, *inputs: Any) -> Any:
        with self.torch.inference_mode():
            return self.modules[name](*inputs)


class Torch(Reference):
    """What a competent user would write in PyTorch: prompts embedded once, decodes cut, channels-last where it is faster."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        from seas_train.run_folder import require_masks

        torch, model = self.torch, self.run.model
        for module in (model.vae, require_masks(self.run)):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        seconds = {}
        for layout in (torch.channels_last, torch.contiguous_format):
            model.unet.to(memory_format=layout)
            seconds[layout] = min(_seconds(self.unet) for _ in range(3 if job.preset == "tiny" else 1))
        model.unet.to(memory_format=min(seconds, key=lambda layout: seconds[layout]))

    def pairs(self) -> object:
        """The reference sampler's steps on what was prepared."""
        return [self._batch() for _ in range(self.batches)]

    def _batch(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        from seas_train import reference

        torch, tune, n = self.torch, self.run.facts.tune, len(self.defects)
        scheduler = reference.solver(self.run, reference.SampleSettings(STEPS, GUIDANCE, MASK_STEPS))
        latents = tune.signal * self.normal + tune.noise * self.noise
        probability = torch.zeros(())
        for i, t in enumerate(scheduler.timesteps):
            both, up2, up3 = self._call("unet", torch.cat([latents, latents]), t.expand(2 * n), self.prompt)
            if i >= STEPS - MASK_STEPS:
                probability = probability + self._call("mask", latents, up2[:n], up3[:n]) / MASK_STEPS
            conditional, empty = both.chunk(2)
            latents = scheduler.step(empty + GUIDANCE * (conditional - empty), t, latents).prev_sample
        images = ((self._call("decode", latents).clamp(-1, 1) + 1) * 127.5).round().byte()
        return images.permute(0, 2, 3, 1).numpy(), (probability >= THRESHOLD).byte().numpy()


class Rounded(Torch):
    """The same with products in bf16 (autocast): for comparison with a backend that rounds as well."""

    def _call(self, name: str, *inputs: Any) -> Any:
        with self.torch.autocast("cpu", self.torch.bfloat16):
            found = super()._call(name, *inputs)
        return tuple(value.float() for value in found) if isinstance(found, tuple) else found.float()


class Compiled(Torch):
    """The same with the U-Net compiled by inductor, its weights frozen in; compiling counts as start-up."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        from torch._inductor import config

        config.freezing = True
        compiled = self.torch.compile(self.modules["unet"], dynamic=False)
        layout = self.torch.contiguous_format
        # Inputs of another layout, or made outside inference mode, would be compiled for again.
        self.modules["unet"] = lambda *inputs: compiled(*(value.clone(memory_format=layout) for value in inputs))
        self.unet()


class TorchWorkers:
    """`Torch` side by side in as many threads as there are cores, each with modules of its own and one thread of PyTorch's."""

    def __init__(self, job: Job) -> None:
        import torch

        torch.set_num_threads(1)
        self.batches = job.batches
        self.free: SimpleQueue[Torch] = SimpleQueue()
        for _ in range(usable_cores()):
            self.free.put(Torch(replace(job, count=job.batch)))

    def unet(self) -> object:
        """See `Reference.unet`."""
        return self._all("unet")

    def mask(self) -> object:
        """See `Reference.mask`."""
        return self._all("mask")

    def decode(self) -> object:
        """See `Reference.decode`."""
        return self._all("decode")

    def pairs(self) -> object:
        """See `Torch.pairs`."""
        return self._all("pairs")

    def _all(self, request: str) -> object:
        def one(_batch: int) -> object:
            with borrowed(self.free) as candidate:
                return getattr(candidate, request)()

        with Workers(usable_cores()) as workers:
            return list(workers.in_order(one, [range(self.batches)]))


class Product:
    """What this machine can do: one large fp32 matrix product of PyTorch's."""

    SIDE = 2048
    GFLOP = 2 * SIDE**3 / 1e9

    def __init__(self, _job: Job) -> None:
        import torch

        self.torch = torch
        self.factors = torch.randn(self.SIDE, self.SIDE), torch.randn(self.SIDE, self.SIDE)

    def product(self) -> object:
        """The product."""
        return self.torch.mm(*self.factors)


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
