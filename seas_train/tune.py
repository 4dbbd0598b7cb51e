"""Separation and sharing fine-tuning: one U-Net per product, anomalies and normals mixed (paper sec. 3.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from seas_train import run_folder
from seas_train.config import TuneSettings
from seas_train.data import fitting, layouts
from seas_train.data.dataset import ImageSet, step_generator
from seas_train.data.layouts import Product
from seas_train.data.places import places
from seas_train.losses import da_loss, na_loss
from seas_train.models import bases, components, lora, prediction, taps
from seas_train.models.components import Components
from seas_train.models.origin import Origin
from seas_train.models.taps import AttentionMaps
from seas_train.prompts import (
    ExtendedEmbedding,
    Prompts,
    add_tokens,
    attach_rows,
    compose,
    initial_rows,
    positions,
    stacked,
    tokenize,
)
from seas_train.training import batches, compute, kept, loop, tensorboard
from seas_train.training.batches import Batch, Drawn, Draws, sample_batch


@dataclass
class Learner:
    """What a step needs: frozen and learning parts, prompts as token ids, positions of the placeholders, attention maps."""

    model: Components
    rows: ExtendedEmbedding
    ids: dict[str | None, Tensor]
    anomaly_positions: dict[str, Tensor]
    product_positions: dict[str, Tensor]
    maps: AttentionMaps
    encode: compute.Encoder

    @property
    def modules(self) -> dict[str, nn.Module]:
        """What learns, by its name in a checkpoint."""
        unet = list(self.model.unet.parameters())
        learning = [parameter for parameter in unet if parameter.requires_grad]
        if len(learning) == len(unet):
            return {"unet": self.model.unet, "rows": self.rows}
        return {"lora": nn.ParameterList(learning), "rows": self.rows} if learning else {"rows": self.rows}

    def prompt(self, defects: Sequence[str | None]) -> Tensor:
        """Embeddings (n, L, D) of the prompts of defect types; None is the normal prompt."""
        ids = torch.stack([self.ids[d] for d in defects])
        return self.model.text_encoder(ids.to(self.rows.weight.device)).last_hidden_state


def prepare(model: Components, prompts: Prompts, settings: TuneSettings, known: Mapping[str, Tensor] | None = None) -> Learner:
    """Add the token rows, those of `known` tokens as they were learned; freeze all but them and what is to learn of the U-Net.

    Raises:
        SettingsError: a prompt does not fit the text encoder, a level has no attention, peft is missing.
    """
    add_tokens(model.tokenizer, prompts)
    rows = attach_rows(model.text_encoder, initial_rows(model.tokenizer, model.text_encoder, prompts, settings, known))
    components.freeze(model.vae)
    model.text_encoder.eval()
    model.unet.train().requires_grad_(settings.unet == "full")
    if settings.unet == "lora":
        lora.attach(model.unet, settings.lora_rank, settings.seed)
    if settings.gradient_checkpointing:
        model.unet.enable_gradient_checkpointing()
    texts: dict[str | None, str] = {None: prompts.normal}
    texts.update(prompts.anomaly)
    tokens = prompts.anomaly_tokens
    return Learner(
        model,
        rows,
        ids={key: tokenize(model.tokenizer, [text])[0] for key, text in texts.items()},
        anomaly_positions={d: positions(model.tokenizer, t, tokens[d]) for d, t in prompts.anomaly.items()},
        product_positions={d: positions(model.tokenizer, t, prompts.product_tokens) for d, t in prompts.anomaly.items()},
        maps=taps.record_attention(model.unet, settings.levels, settings.attention),
        encode=compute.Encoder(model.vae, settings.cache_latents),
    )


def losses(learner: Learner, batch: Batch, drawn: Draws, settings: TuneSettings) -> loop.Losses:
    """L = L_df + L_ob (eq. 3 to 6) of one batch; a part of the batch that is empty has loss 0."""
    model, a = learner.model, len(batch.defects)
    # z_t, the latents with noise
    mean, std = learner.encode(batch.images, batch.views)
    drawn = drawn.to(mean.device)
    clean = mean + std * drawn.posterior
    noisy = model.scheduler.add_noise(clean, drawn.noise, drawn.timesteps)
    wanted = prediction.target(model.scheduler, clean, drawn.noise, drawn.timesteps)
    # eps_theta, and the attention maps of eq. 2 on the way
    prompt = learner.prompt([*batch.defects, *[None] * (len(batch.images) - a)])
    predicted = model.unet(noisy, drawn.timesteps, prompt).sample
    none = mean.new_zeros(())
    # L_DA, eq. 3
    da = _alignment(learner, batch, settings, mean.shape[-1]) if a else none
    # L_df, eq. 4
    anomaly = na_loss(wanted[:a], predicted[:a]) if a else none
    # L_ob, eq. 5
    normal = na_loss(wanted[a:], predicted[a:]) if a < len(batch.images) else none
    # L, eq. 6
    loss = settings.da_weight * da + anomaly + settings.na_weight * normal
    return {"loss": loss, "da": da, "df": anomaly, "ob": normal}


def _alignment(learner: Learner, batch: Batch, settings: TuneSettings, latent_side: int) -> Tensor:
    """DA loss of the maps that the latest forward pass left."""
    a, maps = len(batch.defects), learner.maps
    levels = [maps.level(level)[:a] for level in settings.levels]
    device = levels[0].device
    return da_loss(
        levels,
        batch.masks.to(device),
        stacked([learner.anomaly_positions[d] for d in batch.defects]).to(device),
        stacked([learner.product_positions[d] for d in batch.defects]).to(device),
        latent_side,
        "image" if settings.attention == "paper" else "batch",
        settings.product_term,
    )


def optimizer_for(learner: Learner, settings: TuneSettings) -> torch.optim.Optimizer:
    """AdamW over what learns of the U-Net and the new token rows, each with its own learning rate.

    Raises:
        SettingsError: the optimiser is not installed.
    """
    unet = [parameter for parameter in learner.model.unet.parameters() if parameter.requires_grad]
    rows = [learner.rows.rows] if len(learner.rows.rows) else []
    groups = [{"params": unet, "lr": settings.unet_lr}, {"params": rows, "lr": settings.embedding_lr}]
    return compute.optimizer([group for group in groups if group["params"]], settings)


def counts_of(step: int, steps: int, settings: TuneSettings) -> tuple[int, int]:
    """How many anomaly and normal images a step sees; as many together in every order of training (tab. 23)."""
    both = (settings.anomaly_batch, settings.normal_batch)
    if settings.order == "mixed":
        return both
    anomalies = (2 * step < steps) == (settings.order == "anomaly-normal")
    return (sum(both), 0) if anomalies else (0, sum(both))


def train(
    product: Product,
    source: str | Origin,
    out: Path,
    settings: TuneSettings,
    provenance: dict[str, object],
    say: Callable[[str], None] = lambda _line: None,
) -> None:
    """Fine-tune a base model on one product and write the run folder.

    A killed run continues at its last checkpoint when called again with the same arguments.

    Args:
        product: its data set, checked.
        source: base model, a folder, a file, a run or a hub name, with what is asked of it.
        out: the run folder.
        settings: see `TuneSettings`.
        provenance: base model, data set and licence, kept in the run and the bundle.
        say: told in a line how photographs are fitted, and of defects too small to be seen so.

    Raises:
        DataError, SettingsError, OutputError, TrainError: see the parts.
    """
    begun = begin(product, source, out, settings, provenance, say)
    out.mkdir(parents=True, exist_ok=True)
    if settings.cache_latents and begun.stage.machine.device.type != "cpu":
        begun.learner.encode.fill(begun.images, settings.augment)
    loop.run(begun.stage)
    if begun.stage.machine.main:
        _save(begun.learner, *begun.images, out, begun.facts)
        kept.clear(out)


@dataclass(frozen=True)
class Begun:
    """A training before its first step: what learns, anomaly and normal images, what the run will say of itself."""

    learner: Learner
    images: tuple[ImageSet, ImageSet]
    facts: run_folder.Facts
    stage: loop.Stage[Drawn]


def begin(
    product: Product,
    source: str | Origin,
    out: Path,
    settings: TuneSettings,
    provenance: dict[str, object],
    say: Callable[[str], None] = lambda _line: None,
) -> Begun:
    """Prepare what `train` does, and write nothing. Arguments and errors are those of `train`."""
    machine = compute.machine(settings)
    origin = Origin.of(source)
    asked = {name: value for name, value in origin.asked.items() if value is not None}
    product = layouts.only(product, settings.defects)
    split = layouts.split(product, settings.train_share, settings.split, settings.seed, settings.shots)
    normals = layouts.pick_normals(product, settings.normals, settings.seed)
    layouts.require_batch(split.train, settings.anomaly_batch, "anomaly")
    layouts.require_batch(normals, settings.normal_batch, "normal")
    base = bases.load(origin)
    model, known = base.model, base.rows if base.product == product.name else {}
    fit = fitting.decide(split.train, settings.fit, model.image_size, say)
    if warning := fitting.strange(origin.fit, fit):
        say(f"Warning: {warning}")
    seen = fitting.fitted(split.train, fit, model.image_size)
    pictures = fitting.pictures(normals, fit, model.image_size, settings.normals, settings.seed)
    facts = run_folder.Facts(
        product=product.name,
        prompts=compose(product.defects, settings),
        tune=settings,
        provenance={**provenance, "base": origin.name, **asked},
        train=_names(split.train, product),
        held_out=_names(split.held_out, product),
        normals=_names(normals, product),
        fit=fit,
        photograph=fitting.commonest([*split.train, *normals]),
        places=places(pictures, product.root),
    )
    task: dict[str, Any] = {
        "stage": "tune",
        "settings": settings.model_dump(mode="json", exclude={"fit"}),
        "base": origin.name,
        **asked,
        "weights": components.fingerprint(*model.networks.values()),
        "train": facts.train,
        "normals": facts.normals if fit == "stretch" else [f"{fit} {place.file} {place.box}" for place in facts.places],
    }
    learner = prepare(model, facts.prompts, settings, known)
    for network in model.networks.values():
        network.to(machine.device)
    images = ImageSet(seen, model.image_size), ImageSet(pictures, model.image_size)
    return Begun(learner, images, facts, _stage(learner, images, out, task, settings, machine))


def _save(learner: Learner, anomalies: ImageSet, normals: ImageSet, out: Path, facts: run_folder.Facts) -> None:
    """Write the run, its text encoder the base's own again."""
    model, rows = learner.model, learner.rows.rows.detach()
    model.text_encoder.set_input_embeddings(learner.rows.table)
    if facts.tune.unet == "lora":
        lora.merge(model.unet)
    images = [normals[i][0] for i in range(len(normals))]
    model.vae.to(model.unet.device)  # where it may have been put away
    by_type: dict[str, list[run_folder.Anomaly]] = {}
    for record, pair in zip(anomalies.records, (anomalies[i] for i in range(len(anomalies))), strict=True):
        by_type.setdefault(str(record.defect), []).append(pair)
    run_folder.save_tuned(out, facts, model, rows, components.encode_each(model.vae, images), images, by_type)


def _stage(
    learner: Learner,
    images: tuple[ImageSet, ImageSet],
    out: Path,
    task: dict[str, Any],
    settings: TuneSettings,
    machine: compute.Machine,
) -> loop.Stage[Drawn]:
    """What `train` runs; weights in `learner` are the learned ones afterwards."""
    model, optimizer = learner.model, optimizer_for(learner, settings)
    steps = settings.steps or settings.steps_per_type * len(learner.anomaly_positions)
    timesteps = model.scheduler.config.num_train_timesteps
    weights = nn.ParameterList(parameter for group in optimizer.param_groups for parameter in group["params"])

    def batch_of(index: int) -> Drawn:
        generator = step_generator(settings.seed, index)
        counts = counts_of(index // settings.accumulation, steps, settings)
        batch = sample_batch(*images, counts, settings.augment, generator, machine.rank, machine.processes)
        return batch, batches.draws(batch, model.latent_shape, timesteps, generator)

    def picture(drawn: Drawn) -> Image.Image | None:
        batch = drawn[0]  # of the latest forward pass, as the maps are
        return tensorboard.attention_sheet(
            batch.images,
            batch.masks,
            {level: learner.maps.level(level) for level in settings.levels},
            *([positions[d] for d in batch.defects] for positions in (learner.product_positions, learner.anomaly_positions)),
        )

    return loop.Stage(
        out,
        task,
        steps,
        learner.modules,
        optimizer,
        batch_of,
        lambda drawn: losses(learner, *drawn, settings),
        settings,
        accumulation=settings.accumulation,
        machine=machine,
        average=loop.Average(weights, settings.ema) if settings.ema else None,
        describe=batches.named,
        watch=tensorboard.watcher(out, "tune", settings, machine, picture),
        watch_every=settings.watch_every,
    )


def _names(records: Sequence[layouts.Record], product: Product) -> tuple[str, ...]:
    return tuple(record.image.relative_to(product.root).as_posix() for record in records)
