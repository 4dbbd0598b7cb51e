"""What a student learns from: latents of the run's own images, and latents that its teacher generates, kept on the way."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from seas_runtime import voice
from seas_train import reference, samples
from seas_train.data.dataset import ImageSet, view
from seas_train.distill.settings import DistillSettings
from seas_train.models import components
from seas_train.run_folder import Run

FOLDER = "teacher"
TOGETHER = 8
"""Latents that the teacher generates at once."""


@dataclass(frozen=True)
class Pool:
    """Posteriors mean, std (m, C, h, w) of scaled latents, and the number (m,) of each one's prompt; 0 is the normal prompt."""

    mean: Tensor
    std: Tensor
    prompts: Tensor


def of_images(run: Run, anomalies: ImageSet | None) -> Pool:
    """Latents of the run's normal images and, where they are at hand, of its training anomalies, turned and flipped as in tuning.

    Args:
        run: the teacher, whose VAE encodes them.
        anomalies: its training anomalies, or None.
    """
    parts = [normals_of(run), *(_anomalies(run, anomalies) if anomalies is not None else ())]
    return Pool(*(torch.cat(part) for part in zip(*((p.mean, p.std, p.prompts) for p in parts), strict=True)))


def normals_of(run: Run) -> Pool:
    """Latents of the run's normal images, which its sampling starts from."""
    return Pool(run.normal_mean, run.normal_std, torch.zeros(len(run.normal_mean), dtype=torch.int64))


def _anomalies(run: Run, anomalies: ImageSet) -> Iterator[Pool]:
    views = range(8 if run.facts.tune.augment else 1)
    for index, record in enumerate(anomalies.records):
        moments = components.encode_each(run.model.vae, (view(anomalies[index][0], symmetry) for symmetry in views))
        yield Pool(*moments, torch.full((len(views),), 1 + run.facts.defects.index(str(record.defect))))


def generated(run: Run, out: Path, settings: DistillSettings) -> Pool:
    """Final latents of the teacher, made in parts that stay in OUT/teacher, so that a killed run does not make them again.

    Args:
        run: the teacher.
        out: the student's folder.
        settings: their count, guidance, solver steps and seed.

    Returns:
        Latents without spread; prompts in turn, of each defect type and the normal one.
    """
    folder, key = out / FOLDER, _key(run, settings)
    parts: list[Tensor] = []
    with voice.progress(settings.generated, "teacher", "latent") as bar:
        for first in range(0, settings.generated, TOGETHER):
            indices = range(first, min(first + TOGETHER, settings.generated))
            path = folder / f"{first:06}.safetensors"
            latents = _kept(path, key, len(indices))
            if latents is None:
                latents = _generate(run, indices, settings)
                _keep(path, key, latents)
            parts.append(latents)
            bar.update(len(indices))
    mean = torch.cat(parts) if parts else run.normal_mean[:0]
    prompts = torch.tensor([_prompt(run, index) for index in range(len(mean))], dtype=torch.int64)
    return Pool(mean, torch.zeros_like(mean), prompts)


def _prompt(run: Run, index: int) -> int:
    """The number of the prompt of the teacher's latent `index`."""
    return (index + 1) % (1 + len(run.facts.defects))


def _generate(run: Run, indices: Sequence[int], settings: DistillSettings) -> Tensor:
    """Final latents (n, C, h, w) of these indices, each from its own random stream; kinds in turn, as `_prompt` numbers them."""
    sampling = reference.SampleSettings(settings.teacher_steps, settings.guidance)
    return samples.final_latents(run, (*run.facts.defects, None), indices, settings.seed, sampling)


def _key(run: Run, settings: DistillSettings) -> str:
    """Tells the teacher's latents from those of another one, or of other settings."""
    made = {name: getattr(settings, name) for name in ("seed", "guidance", "teacher_steps")}
    weights = components.fingerprint(*run.model.networks.values())
    return hashlib.sha256(json.dumps([made, weights, run.facts.prompts.model_dump()]).encode()).hexdigest()


def _kept(path: Path, key: str, count: int) -> Tensor | None:
    """The latents of a part, if they are there, whole and the ones meant."""
    try:
        with safe_open(path, framework="pt") as stored:
            latents = stored.get_tensor("latents")
            return latents if (stored.metadata() or {}).get("key") == key and len(latents) == count else None
    except (OSError, SafetensorError):
        return None


def _keep(path: Path, key: str, latents: Tensor) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".part")
    save_file({"latents": latents.contiguous()}, fresh, {"key": key})
    os.replace(fresh, path)  # noqa: PTH105  # over one that is damaged
