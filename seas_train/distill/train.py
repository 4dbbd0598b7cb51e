"""Distillation of a fine-tuned U-Net, its guidance folded in, into a student of few steps.

Latent consistency distillation (Luo et al. 2023): the teacher's solver takes one guided step from z_t to z_s, and the student's
f(z_t, t) learns to be f(z_s, s) of the average of its weights. Guidance distillation (Meng et al. 2023, their first stage): the
student's output learns to be the teacher's guided one, at every timestep, for the ordinary solver.
"""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from seas_runtime.errors import DataError
from seas_train import run_folder
from seas_train.data import fitting
from seas_train.data.dataset import ImageSet, step_generator
from seas_train.data.layouts import Product
from seas_train.distill import latents
from seas_train.distill.consistency import Levels, at, clean_and_noise, levels_of, pseudo_huber
from seas_train.distill.latents import Pool
from seas_train.distill.settings import DistillSettings
from seas_train.losses import at_least_single
from seas_train.masks import find_records
from seas_train.models import components, lora
from seas_train.run_folder import Run
from seas_train.training import compute, kept, loop, tensorboard

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Batch:
    """Latents z_t (n, C, h, w), the number (n,) of each one's level, and that of its prompt."""

    latents: Tensor
    levels: Tensor
    prompts: Tensor


@dataclass(frozen=True)
class Learner:
    """What a step needs: the U-Net that learns, the teacher's weights of what learns of it, levels, and embeddings.

    embeddings (k + 2, L, D): of the normal prompt, of each defect type's, of the empty one.
    """

    unet: nn.Module
    teacher: Weights
    levels: Levels
    embeddings: Tensor
    prediction: str

    @property
    def learning(self) -> dict[str, nn.Parameter]:
        """What learns of the U-Net, by name."""
        return {name: weight for name, weight in self.unet.named_parameters() if weight.requires_grad}

    def guided(self, batch: Batch, guidance: float) -> Tensor:
        """The teacher's output with guidance (n, C, h, w), of its prompted half where guidance is 1."""
        prompt, timesteps = self.embeddings[batch.prompts], self.levels.timesteps[batch.levels]
        if guidance == 1:
            return self._called(self.teacher, batch.latents, timesteps, prompt)
        empty = self.embeddings[-1:].expand_as(prompt)
        both = self._called(
            self.teacher, torch.cat([batch.latents] * 2), torch.cat([timesteps] * 2), torch.cat([prompt, empty])
        )  # fmt: skip
        conditional, unconditional = both.chunk(2)
        return unconditional + guidance * (conditional - unconditional)

    def output(self, batch: Batch, weights: Weights | None = None) -> Tensor:
        """The student's output (n, C, h, w), or that of other weights."""
        timesteps = self.levels.timesteps[batch.levels]
        return self._called(weights, batch.latents, timesteps, self.embeddings[batch.prompts])

    def consistent(self, batch: Batch, weights: Weights | None = None) -> Tensor:
        """f(z_t, t), fp32."""
        alpha, sigma = at(self.levels.alpha, batch.levels), at(self.levels.sigma, batch.levels)
        clean, _ = clean_and_noise(self.output(batch, weights), batch.latents, alpha, sigma, self.prediction)
        return at(self.levels.c_skip, batch.levels) * batch.latents + at(self.levels.c_out, batch.levels) * clean

    def _called(self, weights: Weights | None, *given: Tensor) -> Tensor:
        made = self.unet(*given) if weights is None else functional_call(self.unet, weights, given)
        return at_least_single(made.sample)


def losses(learner: Learner, target: Weights, batch: Batch, settings: DistillSettings) -> loop.Losses:
    """The loss of one batch.

    Args:
        learner: student and teacher.
        target: the average of the student's weights, by name.
        batch: what both see.
        settings: method, guidance and loss.
    """
    levels = learner.levels
    # The teacher's guided output.
    with torch.no_grad():
        guided = learner.guided(batch, settings.guidance)
    if settings.method == "guidance":
        return {"loss": ((learner.output(batch) - guided) ** 2).mean()}
    with torch.no_grad():
        # One step of its solver, z_t to z_s.
        alpha, sigma = at(levels.alpha, batch.levels), at(levels.sigma, batch.levels)
        clean, noise = clean_and_noise(guided, batch.latents, alpha, sigma, learner.prediction)
        onward = at(levels.alpha, batch.levels + 1) * clean + at(levels.sigma, batch.levels + 1) * noise
        # f(z_s, s) of the average; where the run ends it is z_s.
        ends = batch.levels + 1 == len(levels)
        later = Batch(onward, (batch.levels + 1).clamp(max=len(levels) - 1), batch.prompts)
        expected = torch.where(ends.view(-1, 1, 1, 1), onward, learner.consistent(later, target))
    return {"loss": pseudo_huber(learner.consistent(batch), expected, settings.huber)}


def draw_batch(
    pools: tuple[Pool, Pool],
    normals: Pool,
    levels: Levels,
    start: tuple[float, float],
    settings: DistillSettings,
    index: int,
    machine: compute.Machine,
) -> Batch:
    """Batch `index`: latents of images or of the teacher, noised to random levels; every process keeps its own rows of all.

    At the first level a latent is what a run starts from, a normal image's under the prompt that was drawn.

    Args:
        pools: of images, and of the teacher.
        normals: what runs start from.
        levels: those to be drawn.
        start: factors of the normal image's latent and of the noise.
        settings: size, share of the teacher's latents, seed.
        index: of the batch.
        machine: the process.
    """
    generator, count = step_generator(settings.seed, index), settings.batch * machine.processes
    own = torch.rand(count, generator=generator) < settings.generated_share
    picks, others = torch.rand(2, count, generator=generator, dtype=torch.float64)
    level = torch.randint(len(levels), (count,), generator=generator)
    posterior, noise = torch.randn(2, count, *normals.mean.shape[1:], generator=generator)
    rows = []
    for row in range(settings.batch * machine.rank, settings.batch * (machine.rank + 1)):
        pool = pools[1] if own[row] and len(pools[1].mean) else pools[0]
        number = int(picks[row] * len(pool.mean))
        prompt, signal, spread = pool.prompts[number], levels.alpha[level[row]], levels.sigma[level[row]]
        if level[row] == 0:
            pool, number, (signal, spread) = normals, int(others[row] * len(normals.mean)), torch.tensor(start)
        clean = pool.mean[number] + pool.std[number] * posterior[row]
        rows.append((signal * clean + spread * noise[row], level[row], prompt))
    return Batch(*(torch.stack(part).to(machine.device) for part in zip(*rows, strict=True)))


def prepare(run: Run, settings: DistillSettings) -> Learner:
    """Freeze a run's networks but what is to learn of its U-Net, and keep that as it is for the teacher.

    Raises:
        SettingsError: peft is missing, or more solver steps than the schedule has.
    """
    model, prompts = run.model, run.facts.prompts
    embeddings = run.embed([prompts.normal, *prompts.anomaly.values(), ""])
    levels = levels_of(model.scheduler, settings.solver_steps if settings.method == "consistency" else None)
    model.unet.train().requires_grad_(settings.unet == "full")
    if settings.unet == "lora":
        lora.attach(model.unet, settings.lora_rank, settings.seed)
    if settings.gradient_checkpointing:
        model.unet.enable_gradient_checkpointing()
    learner = Learner(model.unet, {}, levels.to(embeddings.device), embeddings, model.scheduler.config.prediction_type)
    teacher = {name: weight.detach().clone() for name, weight in learner.learning.items()}
    return dataclasses.replace(learner, teacher=teacher)


def train(folder: Path, product: Product | None, out: Path, settings: DistillSettings) -> None:
    """Distil a run into a student, and write the student's own run folder.

    Args:
        folder: the teacher's run.
        product: its data set, for the training anomalies; None to do without.
        out: the student's folder. A killed training continues there when called again with the same arguments.
        settings: see `DistillSettings`.

    Raises:
        DataError: the run is a student itself, or its images are not in the data set.
        TrainError, OutputError, SettingsError: see the parts.
    """
    machine = compute.machine(settings)
    if settings.unet == "lora":
        lora.require()  # before hours of work hang on it
    run = run_folder.load(folder, own_decoder=True)
    if run.facts.distill is not None:
        raise DataError(f"{folder}: is a student already, so it has no guidance to be distilled; give the run it was made from")
    task: dict[str, Any] = {
        "stage": "distill",
        "settings": settings.model_dump(mode="json"),
        "weights": components.fingerprint(*run.model.networks.values()),
        "anomalies": list(run.facts.train) if product else [],
    }
    side = run.model.image_size
    anomalies = ImageSet(fitting.fitted(find_records(run.facts.train, product), run.facts.fit, side), side) if product else None
    for network in run.model.networks.values():
        network.to(machine.device)
    out.mkdir(parents=True, exist_ok=True)
    if machine.main:  # of several processes one generates, and all read
        latents.generated(run, out, settings)
    machine.wait()
    pools = latents.of_images(run, anomalies), latents.generated(run, out, settings)
    learner = prepare(run, settings)
    loop.run(_stage(learner, run, pools, out, task, settings, machine))
    if machine.main:
        _save(run, learner, out, settings)
        kept.clear(out)
        shutil.rmtree(out / latents.FOLDER, ignore_errors=True)


def _stage(
    learner: Learner,
    run: Run,
    pools: tuple[Pool, Pool],
    out: Path,
    task: dict[str, Any],
    settings: DistillSettings,
    machine: compute.Machine,
) -> loop.Stage[Batch]:
    """What `train` runs."""
    names, weights = list(learner.learning), nn.ParameterList(learner.learning.values())
    average = loop.Average(weights, settings.ema)
    normals = latents.normals_of(run)
    start, levels = (run.facts.tune.signal, run.facts.tune.noise), learner.levels.to(torch.device("cpu"))

    def losses_of(batch: Batch) -> loop.Losses:
        return losses(learner, dict(zip(names, average.module.parameters(), strict=True)), batch, settings)

    return loop.Stage(
        out,
        task,
        settings.train_steps,
        {"unet": weights},
        compute.optimizer([{"params": list(weights), "lr": settings.lr}], settings),
        lambda index: draw_batch(pools, normals, levels, start, settings, index, machine),
        losses_of,
        settings,
        lr=loop.warm_up,
        accumulation=settings.accumulation,
        machine=machine,
        average=average,
        watch=tensorboard.watcher(out, "distill", settings, machine, lambda _batch: None),
        watch_every=settings.watch_every,
    )


def _save(run: Run, learner: Learner, out: Path, settings: DistillSettings) -> None:
    """Write the student as a run of its own: the teacher's but for the U-Net, and without a mask branch."""
    model, facts = run.model, run.facts
    if settings.unet == "lora":
        lora.merge(model.unet)
    embedding = model.text_encoder.get_input_embeddings()
    model.text_encoder.set_input_embeddings(embedding.table)
    weights = components.fingerprint(learner.unet)
    provenance = {**facts.provenance, "teacher": run.folder.resolve().name, "student": weights}
    facts = facts.model_copy(update={"distill": settings, "masks": None, "calibration": {}, "provenance": provenance})
    normals = run.normal_mean, run.normal_std
    run_folder.save_tuned(out, facts, model, embedding.rows.detach(), normals, *run_folder.pictures(run))
