"""What a mask branch's probabilities stand for, learned from the training anomalies: thresholds, and the gate's limits.

A focal loss bends probabilities: with exponent 2 an output of 0.2, the paper's threshold, is least for a pixel that is anomalous
with probability 0.024. So the training anomalies are noised again to the levels of the sampler's last steps, and what the branch
says of them is held against their true masks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from seas_runtime import voice
from seas_train import reference
from seas_train.data.dataset import ImageSet, step_generator
from seas_train.models import components, taps
from seas_train.reference import SampleSettings, solver
from seas_train.run_folder import Calibration, Run, require_masks

Criterion = Literal["iou", "area"]
CANDIDATES = torch.arange(1, 100) / 100
"""Thresholds that are tried."""
DRAWS = 4
"""Noised copies of each anomaly."""
DISAGREE = 0.05
"""Share of the training anomalies' copies whose masks may agree less than the limit that is learned."""
SMALLEST = 0.5
"""The least area of a generated mask, as a share of the type's smallest true one."""


@torch.no_grad()
def calibrate(
    run: Run, anomalies: ImageSet, criterion: Criterion, settings: SampleSettings | None = None
) -> dict[str, Calibration]:
    """Threshold and limits of each defect type.

    Args:
        run: tuned and with its mask branch.
        anomalies: the training anomalies, with their masks.
        criterion: "iou": the threshold whose masks overlap best with the true ones, in the mean; "area": the one whose median
            area is that of the true ones.
        settings: the sampler whose last steps' levels are used; None for the run's own.

    Raises:
        DataError: the run has no mask branch.
    """
    found: dict[str, list[tuple[Tensor, Tensor]]] = defaultdict(list)
    with voice.progress(len(anomalies), "calibrating", "image") as bar:
        for index in range(len(anomalies)):
            _, mask = anomalies[index]
            for copy in range(DRAWS):
                generator = step_generator(run.facts.tune.seed, index * DRAWS + copy)
                steps = probabilities(run, anomalies, index, settings or reference.usual(run), generator)
                found[str(anomalies.records[index].defect)].append((steps, mask[0] > 0))
            bar.update()
    return {defect: _of_type(pairs, criterion) for defect, pairs in found.items()}


def probabilities(run: Run, anomalies: ImageSet, index: int, settings: SampleSettings, generator: torch.Generator) -> Tensor:
    """Anomaly probabilities (mask_steps, H, W) of one training anomaly, noised as the sampler's last steps find a latent.

    A branch that sees the finished latent gives one of the anomaly as it is.
    """
    rmp, model = require_masks(run), run.model
    mean, std = components.encode_moments(model.vae, anomalies[index][0][None])
    posterior, noise = torch.randn(2, *mean.shape, generator=generator).to(mean.device)
    prompt = run.embed([run.facts.prompts.anomaly[str(anomalies.records[index].defect)]])
    if run.look is not None:
        return reference.look(run, mean + std * posterior, prompt).probability[:, 0].cpu()
    timesteps = solver(run, settings).timesteps[-settings.mask_steps :].to(mean.device)
    latents = (mean + std * posterior).expand(len(timesteps), -1, -1, -1)
    noisy = model.scheduler.add_noise(latents, noise.expand_as(latents), timesteps)
    with taps.decoder_taps(model.unet) as tap:
        model.unet(noisy, timesteps, prompt.expand(len(timesteps), -1, -1))
    features = taps.vae_features(model.vae, noisy, rmp.config.features)
    return rmp(tap.up2, tap.up3, *features, more=tap.more(rmp.config.taps))[:, 0].cpu()


def _of_type(pairs: Sequence[tuple[Tensor, Tensor]], criterion: Criterion) -> Calibration:
    means, masks = (torch.stack(part) for part in ([steps.mean(dim=0) for steps, _ in pairs], [mask for _, mask in pairs]))
    threshold = _CHOICES[criterion](means, masks)
    marked = [steps > threshold for steps, _ in pairs]
    agreements = [agreement(steps) for steps in marked if len(steps) > 1 and steps.any()]  # of others there is none to learn
    return Calibration(
        threshold=round(threshold, 2),
        agreement=round(float(torch.stack(agreements).quantile(DISAGREE)), 3) if agreements else 0.0,
        min_area=SMALLEST * float(masks.float().mean(dim=(1, 2)).min()),
    )


def best_iou(means: Tensor, masks: Tensor) -> float:
    """The threshold with the best mean IoU of probabilities (n, H, W) and masks (n, H, W) bool; of several the middle one."""
    return _best(torch.stack([_iou(means > value, masks).mean() for value in CANDIDATES]))


def same_area(means: Tensor, masks: Tensor) -> float:
    """The threshold at which probabilities (n, H, W) have the median area that is nearest to that of masks (n, H, W) bool.

    Of several it is the middle one.
    """
    wanted = masks.sum(dim=(1, 2)).median()
    areas = torch.stack([(means > value).sum(dim=(1, 2)).median() for value in CANDIDATES])
    return _best(-(areas - wanted).abs().float())


def _best(scores: Tensor) -> float:
    """The threshold of the highest score (99,), the middle one of those that are as good."""
    best = (scores >= scores.max() - 1e-6).nonzero()[:, 0]
    return float(CANDIDATES[best[len(best) // 2]])


_CHOICES: Mapping[Criterion, Callable[[Tensor, Tensor], float]] = {"iou": best_iou, "area": same_area}


def agreement(masks: Tensor) -> Tensor:
    """IoU of masks (s, H, W) bool all together: what all mark over what any marks; 1 where none marks anything."""
    every, some = masks.all(dim=0).sum(), masks.any(dim=0).sum()
    return torch.where(some == 0, torch.ones(()), every / some.clamp(min=1))


def _iou(found: Tensor, masks: Tensor) -> Tensor:
    """IoU (n,) of masks (n, H, W) bool; two empty ones agree."""
    both, either = (found & masks).sum(dim=(1, 2)), (found | masks).sum(dim=(1, 2))
    return torch.where(either == 0, torch.ones(len(both)), both / either.clamp(min=1))
