"""What the latency benchmark compares: PyTorch twice, and the runtime on each of its backends.

Every contestant answers the same four requests with the same inputs: `unet` (one guided step: 2n rows), `mask` (the mask
branch from the entering latent), `decode` (latent to image) and `pairs` (everything, for n pairs).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from seas_runtime.backends import Backend
    from seas_runtime.manifest import GraphName

STEPS, GUIDANCE, MASK_STEPS = 25, 8.0, 3
BASELINES = ("reference", "torch")


class Contestant(Protocol):
    """Ready to run on n pairs; the methods are timed."""

    def unet(self) -> object:
        """One U-Net call of a guided step, taps included."""

    def mask(self) -> object:
        """One mask probability from latent and taps."""

    def decode(self) -> object:
        """One image."""

    def pairs(self) -> object:
        """Whole pairs, n of them, as arrays in memory."""


class Reference:
    """`seas_train.reference`: the plain modules in eager PyTorch."""

    def __init__(self, work: Path, preset: str, n: int) -> None:
        import torch

        from seas_export import to_onnx
        from seas_train import run

        del preset
        self.torch = torch
        self.run = run.load(work / "run")
        self.rmp = run.require_masks(self.run)
        to_onnx.round_to_half([self.run.model.unet, self.run.model.vae, self.rmp])
        generator = torch.Generator().manual_seed(0)
        self.n = n
        self.defects = [self.run.facts.defects[i % len(self.run.facts.defects)] for i in range(n)]
        self.normal = self.run.normal_mean[:1].expand(n, -1, -1, -1)
        self.noise = torch.randn(self.normal.shape, generator=generator)
        self.prompt = self.run.embed([*(self.run.facts.prompts.anomaly[d] for d in self.defects), *[""] * n])
        self.latents = torch.cat([self.noise, self.noise])
        self.timestep = torch.full((2 * n,), 500)
        self.tap = self.unet()

    def unet(self) -> object:
        """The U-Net with taps."""
        from seas_train.models import taps

        with self.torch.inference_mode(), taps.decoder_taps(self.run.model.unet) as tap:
            self.run.model.unet(self.latents, self.timestep, self.prompt)
        return tap

    def mask(self) -> object:
        """VAE features and mask branch."""
        from seas_train.models import taps

        with self.torch.inference_mode():
            features = taps.decode_features(self.run.model.vae, self.noise)
            return self.rmp(self.tap.up2[: self.n], self.tap.up3[: self.n], *features)

    def decode(self) -> object:
        """The VAE decoder."""
        from seas_train.models import taps

        with self.torch.inference_mode():
            return taps.decode(self.run.model.vae, self.noise)

    def pairs(self) -> object:
        """The reference sampler."""
        from seas_train import reference

        return reference.sample(self.run, self.defects, self.normal, self.noise, reference.SampleSettings())


class Torch(Reference):
    """What a competent user would write in PyTorch: inference mode, channels-last weights and inputs, prompts embedded once."""

    def __init__(self, work: Path, preset: str, n: int) -> None:
        import torch

        super().__init__(work, preset, n)
        for module in (self.run.model.unet, self.run.model.vae, self.rmp):
            module.to(memory_format=torch.channels_last)
        self.latents, self.noise = (x.to(memory_format=torch.channels_last) for x in (self.latents, self.noise))
        self.tap = self.unet()

    def pairs(self) -> object:
        """The reference sampler's steps on what was prepared."""
        from seas_train import reference
        from seas_train.models import taps

        torch, model, n = self.torch, self.run.model, self.n
        tune = self.run.facts.tune
        scheduler = reference.solver(self.run, reference.SampleSettings())
        latents = tune.signal * self.normal + tune.noise * self.noise
        probability = torch.zeros(())
        with torch.inference_mode(), taps.decoder_taps(model.unet) as tap:
            for i, t in enumerate(scheduler.timesteps):
                both = model.unet(torch.cat([latents, latents]), t.expand(2 * n), self.prompt).sample
                if i >= STEPS - MASK_STEPS:
                    features = taps.decode_features(model.vae, latents)
                    probability = probability + self.rmp(tap.up2[:n], tap.up3[:n], *features) / MASK_STEPS
                conditional, empty = both.chunk(2)
                latents = scheduler.step(empty + GUIDANCE * (conditional - empty), t, latents).prev_sample
            images = ((taps.decode(model.vae, latents).clamp(-1, 1) + 1) * 127.5).round().byte()
        return images.permute(0, 2, 3, 1).numpy(), (probability >= 0.2).byte().numpy()


class Timed:
    """A backend that adds up the seconds spent in its graphs."""

    def __init__(self, backend: Backend) -> None:
        self.name, self.describe = backend.name, backend.describe
        self.backend = backend
        self.seconds = 0.0

    def run(
        self, graph: GraphName, feeds: Mapping[str, NDArray[Any]], outputs: tuple[str, ...]
    ) -> dict[str, NDArray[np.float32]]:
        """Run one graph."""
        began = time.perf_counter()
        try:
            return self.backend.run(graph, feeds, outputs)
        finally:
            self.seconds += time.perf_counter() - began


class Runtime:
    """`seas_runtime` on one backend: the sampler that `seas-gen` runs."""

    def __init__(self, work: Path, preset: str, n: int, backend: str) -> None:
        from seas_runtime.backends import open_backend
        from seas_runtime.bundle import read_bundle
        from seas_runtime.masks import Gate
        from seas_runtime.pairs import Plan, draw_pair
        from seas_runtime.sampler import Model, Sampling
        from seas_runtime.schedule import solver_table

        bundle = read_bundle(work / f"{preset}.plan")
        self.backend = Timed(open_backend(backend, bundle))
        self.model = Model(self.backend, bundle.conditioning, bundle.manifest.start)
        table = solver_table(bundle.manifest.schedule, STEPS)
        self.sampling = Sampling(table, GUIDANCE, MASK_STEPS, 0.2, Gate(min_area=0, max_area=1.0), retries=0)
        plan = Plan(bundle.manifest.defect_names, seed=0, count=n, batch=n)
        self.drawn = [draw_pair(plan, i, 0, len(bundle.conditioning.mean)) for i in range(n)]
        rng = np.random.default_rng(0)
        self.feeds = {
            spec.name: rng.normal(size=(n, *spec.shape[1:])).astype(np.float32)
            for graph in ("unet", "mask_branch")
            for spec in bundle.manifest.graphs[graph].inputs  # type: ignore[index]
            if spec.dtype != "int64"
        }
        self.rows = {key: np.concatenate([self.feeds[key]] * 2) for key in ("sample", "prompt")}
        self.rows["timestep"] = np.full(2 * n, 500, np.int64)

    def unet(self) -> object:
        """The U-Net graph with taps."""
        return self.backend.run("unet", self.rows, ("noise", "up2", "up3"))

    @property
    def inside(self) -> float:
        """Seconds that the latest `pairs` spent in graphs."""
        return self.backend.seconds

    def mask(self) -> object:
        """The mask branch's graph."""
        return self.backend.run("mask_branch", self.feeds, ("probability",))

    def decode(self) -> object:
        """The decoder's graph."""
        return self.backend.run("decoder", self.feeds, ("image",))

    def pairs(self) -> object:
        """The sampler."""
        from seas_runtime.sampler import sample_batch

        self.backend.seconds = 0.0
        return sample_batch(self.model, self.sampling, self.drawn)


def make(name: str, work: Path, preset: str, n: int) -> Contestant:
    """A contestant by its name: a baseline, or a backend's name."""
    baselines: dict[str, Callable[[Path, str, int], Contestant]] = {"reference": Reference, "torch": Torch}
    if name in baselines:
        return baselines[name](work, preset, n)
    return Runtime(work, preset, n, name)
