"""What a run makes of its own training anomalies: its masks of them, and where its tokens look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from seas_runtime.dataset.sheet import overlay, sheet
from seas_runtime.sampling.defaults import PAPER
from seas_train import prompts, reference
from seas_train.calibrate import probabilities
from seas_train.data.dataset import ImageSet, step_generator, to_bytes
from seas_train.data.layouts import Record
from seas_train.models import components, taps
from seas_train.run_folder import ANOMALIES, Run, require_masks
from seas_train.training import tensorboard

MOST = 6
"""Anomalies of each type that are shown."""
NOISE = 0.25
"""The share of the noise schedule at which the tokens' attention is looked at."""


@dataclass(frozen=True)
class Look:
    """One training anomaly: image (3, H, W) in [-1, 1], its mask (H, W) bool and the branch's (H, W) bool."""

    defect: str
    image: Tensor
    mask: Tensor
    found: Tensor

    @property
    def iou(self) -> float:
        """Of both masks; 1 where both are empty."""
        either = (self.mask | self.found).sum()
        return float((self.mask & self.found).sum() / either) if either else 1.0


def anomalies(run: Run, most: int = MOST) -> ImageSet:
    """The first training anomalies of each type, as the run keeps them; none in a run of an earlier version.

    Raises:
        DataError: one cannot be read.
    """
    records = []
    for defect in run.facts.defects:
        folder = run.folder / ANOMALIES / defect
        marked = sorted(folder.glob("*_mask.png"))[:most]
        records += [Record(mask.with_name(f"{mask.stem.removesuffix('_mask')}.png"), mask, defect) for mask in marked]
    return ImageSet(records, run.model.image_size)


def place(run: Run) -> None:
    """Put a run's networks where its trainings would compute, in single precision."""
    device = "cuda" if torch.cuda.is_available() and run.facts.tune.device == "auto" else "cpu"
    for network in (*run.model.networks.values(), require_masks(run)):
        network.to(device)


@torch.no_grad()
def masks(run: Run, images: ImageSet) -> list[Look]:
    """Each anomaly noised again as the sampler's last steps find a latent, and the mask that is made of it.

    Args:
        run: tuned and with its mask branch.
        images: of `anomalies`.
    """
    looks = []
    for index, record in enumerate(images.records):
        image, mask = images[index]
        generator = step_generator(run.facts.tune.seed, index)
        defect = str(record.defect)
        known = run.facts.calibration.get(defect)
        threshold = PAPER.threshold if known is None else known.threshold
        mean = probabilities(run, images, index, reference.usual(run), generator).mean(dim=0)
        looks.append(Look(defect, image, mask[0] > 0, mean > threshold))
    return looks


def mask_sheet(looks: Sequence[Look]) -> Image.Image:
    """For each type a row of anomalies with their true masks over one with the masks that were found."""
    rows: list[list[Image.Image]] = []
    labels: list[str] = []
    for defect in dict.fromkeys(look.defect for look in looks):
        own = [look for look in looks if look.defect == defect]
        rows += [[_overlaid(look.image, look.mask) for look in own], [_overlaid(look.image, look.found) for look in own]]
        labels += [f"{defect}: true", f"{defect}: found"]
    return sheet(rows, labels=labels)


@torch.no_grad()
def attention(run: Run, images: ImageSet) -> Image.Image | None:
    """Where the product's and the anomaly's tokens look (eq. 2), for the first anomaly of each type; None without one.

    Changes the run's U-Net, which keeps its attention from then on.
    """
    first = {str(record.defect): index for index, record in reversed(list(enumerate(images.records)))}
    if not first:
        return None
    facts, model = run.facts, run.model
    tokenizer, texts = model.tokenizer, facts.prompts
    chosen = [defect for defect in facts.defects if defect in first]
    pictures = torch.stack([images[first[defect]][0] for defect in chosen])
    means = torch.cat([components.encode_moments(model.vae, picture[None])[0] for picture in pictures])
    noise = torch.randn(means.shape, generator=step_generator(facts.tune.seed, 0)).to(means.device)
    timesteps = torch.full((len(chosen),), int(NOISE * model.scheduler.config.num_train_timesteps), device=means.device)
    maps = taps.record_attention(model.unet, facts.tune.levels, facts.tune.attention)
    model.unet(model.scheduler.add_noise(means, noise, timesteps), timesteps, run.prompt(chosen))
    return tensorboard.attention_sheet(
        pictures,
        torch.stack([images[first[defect]][1] for defect in chosen]),
        {level: maps.level(level) for level in facts.tune.levels},
        [prompts.positions(tokenizer, texts.anomaly[defect], texts.product_tokens) for defect in chosen],
        [prompts.positions(tokenizer, texts.anomaly[defect], texts.anomaly_tokens[defect]) for defect in chosen],
    )


def _overlaid(image: Tensor, mask: Tensor) -> Image.Image:
    picture = Image.fromarray(to_bytes(image).permute(1, 2, 0).numpy())
    return overlay(picture, Image.fromarray(mask.byte().cpu().numpy() * 255))
