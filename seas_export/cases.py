"""What parity is measured on: inputs of the graphs as a sampler meets them, and PyTorch's outputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from seas_export.graphs import Tensors, Wrapper
from seas_runtime.bundle.graphs import GraphName
from seas_train import reference
from seas_train.reference import SampleSettings
from seas_train.run_folder import Run

TIMESTEPS = (999, 500, 40)

Wrappers = dict[GraphName, Wrapper]


@dataclass(frozen=True)
class Case:
    """Inputs of some graphs, and what PyTorch makes of them."""

    name: str
    inputs: dict[GraphName, Tensors]
    truth: dict[GraphName, Tensors]


def quick(run: Run, wrappers: Wrappers) -> Iterator[Case]:
    """Random inputs, then noised normal images, one at each of three timesteps.

    The examples of the trace are a batch of two, so these single images find a batch that was frozen into a graph.
    """
    generator = torch.Generator().manual_seed(1)

    def random(like: Tensor) -> Tensor:
        return torch.randn((1, *like.shape[1:]), generator=generator)

    example = wrappers["unet"].example
    unet = {
        "sample": random(example["sample"]),
        "timestep": torch.randint(1000, (1,), generator=generator),
        "prompt": random(example["prompt"]),
    }
    tap = {key: random(wrappers["mask_head"].example[key]) for key in ("up2", "up3")}
    yield _case("random", wrappers, unet, random(example["sample"]), tap)
    texts = [*run.facts.prompts.anomaly.values(), ""]
    for i, timestep in enumerate(TIMESTEPS):
        level = run.model.scheduler.alphas_cumprod[timestep]
        normal = run.normal_mean[i % len(run.normal_mean)][None]
        latent = level.sqrt() * normal + (1 - level).sqrt() * random(normal)
        unet = {"sample": latent, "timestep": torch.tensor([timestep]), "prompt": run.embed([texts[i % len(texts)]])}
        yield _case(f"t={timestep}", wrappers, unet, latent)


def trajectory(run: Run, wrappers: Wrappers, settings: SampleSettings) -> Iterator[Case]:
    """Every step of a whole run of the reference sampler, one pair of each defect type.

    The U-Net is asked at every step, the mask graphs at the steps that vote, the image decoders at the end. One look is one more.
    """
    generator = torch.Generator().manual_seed(1)
    defects = list(run.facts.defects)
    normal = run.normal_mean[torch.arange(len(defects)) % len(run.normal_mean)]
    noise = torch.randn(normal.shape, generator=generator)
    fresh = torch.randn(settings.steps - 1, *normal.shape, generator=generator)
    for step in reference.trajectory(run, defects, normal, noise, settings, fresh):
        n, rows = len(step.entering), len(step.prompt)
        sample = torch.cat([step.entering] * (rows // n))
        unet = {"sample": sample, "timestep": step.timestep.expand(rows).clone(), "prompt": step.prompt}
        name = f"step {step.index + 1} (t={int(step.timestep)})"
        if run.look is not None or step.index < settings.steps - settings.mask_steps:
            yield Case(name, {"unet": unet}, {"unet": wrappers["unet"].run(unet)})
        else:
            yield _case(name, wrappers, unet, step.entering, {"up2": step.up2, "up3": step.up3})
        final, prompt = step.leaving, step.prompt[:n]
    if run.look is not None:
        unet = {"sample": final, "timestep": torch.full((n,), run.look), "prompt": prompt}
        seen = reference.look(run, final, prompt)
        yield _case(f"look (t={run.look})", wrappers, unet, final, {"up2": seen.up2, "up3": seen.up3})
        return
    latent = {"latent": final}
    decoded = wrappers["vae_decoder"].run(latent)
    yield Case(
        "final latents",
        {"vae_decoder": latent, "decoder": latent},
        {"vae_decoder": decoded, "decoder": {"image": decoded["image"]}},
    )


def _case(name: str, wrappers: Wrappers, unet: Tensors, latent: Tensor, tap: Tensors | None = None) -> Case:
    """All five graphs; `decoder` and `mask_branch` or `finish` must give what the three graphs give that they are made of."""
    predicted = wrappers["unet"].run(unet)
    if tap is None:
        tap = {key: predicted[key] for key in ("up2", "up3")}
    decoded = wrappers["vae_decoder"].run({"latent": latent})
    features = {key: value for key, value in decoded.items() if key != "image"}
    mask = wrappers["mask_head"].run({**tap, **features})
    image = {"image": decoded["image"]}
    last: dict[GraphName, Tensors] = {"finish": image | mask} if "finish" in wrappers else {"mask_branch": mask}
    return Case(
        name,
        {
            "unet": unet,
            "vae_decoder": {"latent": latent},
            "mask_head": {**tap, **features},
            "decoder": {"latent": latent},
            **{name: {"latent": latent, **tap} for name in last},
        },
        {
            "unet": predicted,
            "vae_decoder": decoded,
            "mask_head": mask,
            "decoder": image,
            **last,
        },
    )
