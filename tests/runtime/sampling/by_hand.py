"""A pair worked out with diffusers' scheduler and the small bundle's arithmetic in NumPy."""

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler

from seas_runtime.sampling.pairs import start_latent
from tests.runtime import small_bundle


def scheduler(steps):
    """Of the small bundle's noise schedule, its timesteps set."""
    found = DPMSolverMultistepScheduler(
        num_train_timesteps=100,
        beta_start=0.001,
        beta_end=0.02,
        beta_schedule="scaled_linear",
        timestep_spacing="linspace",
        final_sigmas_type="zero",
    )
    found.set_timesteps(steps)
    return found


def solver_step(solver, x, t, prompt, empty, guidance):
    """What leaves a step (n, C, h, w), and the taps up2 and up3 of the conditional half; prompt (L, D)."""
    conditional, up2, up3 = small_bundle.unet(x, np.array([t]), prompt[None])
    noise, _, _ = small_bundle.unet(x, np.array([t]), empty[None])
    noise = noise + guidance * (conditional - noise)
    return solver.step(torch.from_numpy(noise), int(t), torch.from_numpy(x)).prev_sample.numpy(), up2, up3


def by_hand(bundle, draw, steps, guidance, mask_steps):
    """Image (3, H, W) and mask probability (H, W) of a draw."""
    solver, held = scheduler(steps), bundle.conditioning
    prompt = held.prompts.get(draw.defect, held.normal)
    x = start_latent(draw, held, bundle.manifest.start)[None]
    probabilities = []
    for step, t in enumerate(solver.timesteps.numpy()):
        left, up2, up3 = solver_step(solver, x, t, prompt, held.empty, guidance)
        if step >= steps - mask_steps:
            probabilities.append(small_bundle.mask_branch(x, up2, up3))
        x = left
    return small_bundle.decoder(x)[0], np.mean(probabilities, axis=0)[0, 0]


def levels(image):
    """Grey levels (H, W, 3) of an image (3, H, W) about [-1, 1], not rounded."""
    return (np.clip(image, -1, 1).transpose(1, 2, 0) + 1) * 127.5
