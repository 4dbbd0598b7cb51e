"""Seconds and peak memory of a training step, random weights.

    python -m benchmarks.train_step                                            # tiny, on the CPU
    python -m benchmarks.train_step --geometry sd14 --gradient-checkpointing   # v1-4 at 512 x 512: many minutes on a CPU
    python -m benchmarks.train_step --geometry sd14 --device auto --precision bf16 --steps 5

Every case (fine-tuning, mask branch) runs in a process of its own, so that its peak memory is its own: resident memory on a
CPU (with PyTorch itself), allocated memory on a GPU. A step is what `seas-train tune` or `masks` does: a batch of 2 + 2 images,
losses, gradients, optimiser; the first one, which allocates the optimiser's state, is stated apart. Saves
train_step_GEOMETRY_DEVICE.json and .md.
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmarks import common

if TYPE_CHECKING:
    from seas_train.training.batches import Drawn


@dataclass(frozen=True)
class Case:
    """What is measured."""

    stage: str
    geometry: str
    device: str
    precision: str
    checkpointing: bool
    unet: str
    optimizer: str
    steps: int
    threads: int
    settings: tuple[tuple[str, Any], ...] = ()  # more of them, by name
    unload: bool = False  # the VAE, once its latents are cached
    slicing: bool = False  # attention a head at a time


def measure(case: Case) -> dict[str, Any]:
    """Losses, seconds of every step and peak memory in GiB."""
    import torch

    from seas_train.models import components
    from seas_train.training import loop

    if case.threads:
        torch.set_num_threads(case.threads)
    torch.manual_seed(0)
    model = components.build(components.GEOMETRIES[case.geometry], ["an object with a defect"])
    if case.slicing:
        model.unet.set_attention_slice("max")
    stage = (_tune if case.stage == "tune" else _masks)(case, model)
    on_gpu = stage.machine.device.type == "cuda"
    seconds, loss = [], 0.0
    for step in range(case.steps):
        began = time.perf_counter()
        losses, _ = loop.optimise(stage, step)
        if on_gpu:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
        loss = float(losses["loss"])
    peak = torch.cuda.max_memory_allocated() if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "stage": case.stage,
        "device": torch.cuda.get_device_name() if on_gpu else f"CPU, {torch.get_num_threads()} threads",
        "learning_parameters": sum(p.numel() for p in stage.parameters),
        "seconds": seconds,
        "peak_gib": peak / 2**30,
        "loss": loss,
        "torch": torch.__version__,
    }


def _batch(model: Any, defect: str, timesteps: int, settings: Any) -> Callable[[int], Drawn]:
    """The same images at every step, with other noise."""
    import torch

    from seas_train.data.dataset import step_generator
    from seas_train.data.layouts import Record
    from seas_train.training import batches

    side, anomalies = model.image_size, settings.anomaly_batch
    count = anomalies + settings.normal_batch
    masks = torch.zeros(anomalies, 1, side, side)
    masks[:, :, side // 4 : side // 2, side // 4 : side // 2] = 1
    views = tuple((Record(Path(f"{i}.png")), 0) for i in range(count))
    batch = batches.Batch(torch.rand(count, 3, side, side) * 2 - 1, masks, (defect,) * anomalies, views)
    return lambda index: (batch, batches.draws(batch, model.latent_shape, timesteps, step_generator(0, index)))


def _tune(case: Case, model: Any) -> Any:
    from seas_train import prompts, tune
    from seas_train.config import TuneSettings
    from seas_train.training import compute, loop

    settings = TuneSettings(
        device=case.device,
        precision=case.precision,
        gradient_checkpointing=case.checkpointing,
        unet=case.unet,
        optimizer=case.optimizer,
        **dict(case.settings),
    )
    learner = tune.prepare(model, prompts.compose(["defect"], settings), settings)
    machine = compute.machine(settings)
    for network in model.networks.values():
        network.to(machine.device)
    batch_of = _batch(model, "defect", model.scheduler.config.num_train_timesteps, settings)
    if case.unload:
        _unload(learner, batch_of(0)[0].views)
    return loop.Stage(
        Path(),
        {"stage": case.stage},
        case.steps,
        learner.modules,
        tune.optimizer_for(learner, settings),
        batch_of,
        lambda drawn: tune.losses(learner, *drawn, settings),
        settings,
        machine=machine,
    )


def _unload(learner: Any, views: tuple[Any, ...]) -> None:
    """As after `Encoder.fill`: latents of every view are known, and the VAE holds no memory."""
    import torch

    encode = learner.encode
    encode.device = learner.model.unet.device
    encode.kept = {view: (torch.randn(learner.model.latent_shape), torch.ones(learner.model.latent_shape)) for view in views}
    learner.model.vae.to("meta")


def _masks(case: Case, model: Any) -> Any:
    import torch

    from seas_train import masks, prompts, run_folder
    from seas_train.config import MaskSettings, TuneSettings, resolve
    from seas_train.models import components
    from seas_train.models.rmp import RefinedMaskPredictor
    from seas_train.training import compute, loop

    preset = "tiny" if case.geometry == "tiny" else "paper"
    how = {"device": case.device, "precision": case.precision, "optimizer": case.optimizer, **dict(case.settings)}
    settings = resolve(MaskSettings, preset, None, how)
    tuned = TuneSettings()
    texts = prompts.compose(["defect"], tuned)
    prompts.add_tokens(model.tokenizer, texts)
    prompts.attach_rows(model.text_encoder, prompts.initial_rows(model.tokenizer, model.text_encoder, texts, tuned))
    facts = run_folder.Facts(product="random", prompts=texts, tune=tuned, provenance={}, train=(), held_out=(), normals=())
    frozen = run_folder.Run(Path(), facts, model, torch.empty(0), torch.empty(0))
    machine = compute.machine(settings)
    components.freeze(*model.networks.values())
    for network in model.networks.values():
        network.to(machine.device)
    rmp = RefinedMaskPredictor(masks.config_for(frozen, settings)).to(machine.device)
    if case.checkpointing:
        rmp.enable_gradient_checkpointing()
    return loop.Stage(
        Path(),
        {"stage": case.stage},
        case.steps,
        {"rmp": rmp},
        compute.optimizer([{"params": list(rmp.parameters()), "lr": settings.lr}], settings),
        _batch(model, "defect", settings.max_timestep, settings),
        lambda drawn: masks.losses(rmp, frozen, *drawn, settings),
        settings,
        machine=machine,
    )


def table(found: list[dict[str, Any]], how: str) -> str:
    """The figures as Markdown."""
    lines = ["# One training step, batch of 2 + 2 images", "", how, ""]
    lines += ["| step of | device | learning | first, s | median of the others, s | peak memory, GiB |"]
    lines += ["|---|---|---:|---:|---:|---:|"]
    for row in found:
        others = row["seconds"][1:]
        median = f"{statistics.median(others):.3f}" if others else "-"
        lines.append(
            f"| {row['stage']} | {row['device']} | {row['learning_parameters'] / 1e6:.1f} M | {row['seconds'][0]:.3f} "
            f"| {median} | {row['peak_gib']:.2f} |"
        )
    return "\n".join(lines) + "\n"


@click.command(context_settings={"show_default": True})
@click.option("--geometry", type=click.Choice(["tiny", "sd14"]), default="tiny")
@click.option("--stage", "stages", type=click.Choice(["tune", "masks"]), multiple=True, default=("tune", "masks"))
@click.option("--steps", type=click.IntRange(1), default=None, help="10 for tiny, 1 for sd14.")
@click.option("--device", type=click.Choice(["auto", "cpu"]), default="cpu")
@click.option("--precision", type=click.Choice(["fp32", "bf16", "fp16"]), default="fp32")
@click.option("--gradient-checkpointing", is_flag=True)
@click.option("--unet", type=click.Choice(["full", "lora", "frozen"]), default="full")
@click.option("--optimizer", type=click.Choice(["adamw", "adamw8bit"]), default="adamw")
@click.option("--threads", type=click.IntRange(0), default=0, help="PyTorch's threads, 0 for its own choice.")
@click.option("--out", type=click.Path(path_type=Path), default=common.RESULTS, help="Folder of the tables.")
def main(geometry: str, stages: tuple[str, ...], steps: int | None, gradient_checkpointing: bool, out: Path, **how: Any) -> None:
    """Measure one training step after another and save the table."""
    steps = steps or (10 if geometry == "tiny" else 1)
    found = []
    for stage in stages:
        case = Case(stage, geometry, checkpointing=gradient_checkpointing, steps=steps, **how)
        try:
            found.append(common.alone(measure, case))
        except MemoryError as error:
            raise click.ClickException(f"{stage}: {error}") from None
    words = ", ".join(f"{key} {value}" for key, value in how.items() if key != "threads")
    options = {**how, "steps": steps, **({"stage": stages[0]} if len(stages) == 1 else {})}
    shown = " ".join([f"--{key} {value}" for key, value in options.items()] + ["--gradient-checkpointing"] * gradient_checkpointing)
    where = {**common.machine(), "command": f"python -m benchmarks.train_step --geometry {geometry} {shown}"}
    checkpointing = "on" if gradient_checkpointing else "off"
    text = table(found, f"{geometry}, {words}, gradient checkpointing {checkpointing}.")
    text += "\n".join(["", *common.listed(where, *where), ""])
    click.echo(text)
    name = f"train_step_{geometry}_{'cpu' if found[0]['device'].startswith('CPU') else 'gpu'}"
    facts = {"geometry": geometry, "gradient_checkpointing": gradient_checkpointing, **how, **where, "stages": found}
    common.save(out / name, facts, text)


if __name__ == "__main__":
    main()
