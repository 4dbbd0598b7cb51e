"""Separation and sharing fine-tuning: one U-Net per product, anomalies and normals mixed (paper sec. 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from seas_train import checkpoint, loop, run
from seas_train import prompts as ua
from seas_train.config import TuneSettings
from seas_train.data import layouts
from seas_train.data.dataset import ImageSet, augment, draw, step_generator
from seas_train.data.layouts import Product
from seas_train.losses import da_loss, na_loss
from seas_train.models import components, taps
from seas_train.models.components import Components
from seas_train.prompts import ExtendedEmbedding, Prompts


@dataclass(frozen=True)
class Batch:
    """Anomaly images first, normal images after them.

    images (n, 3, H, W) in [-1, 1]; masks (a, 1, H, W) of the a anomaly images; defects, their types.
    """

    images: Tensor
    masks: Tensor
    defects: tuple[str, ...]


@dataclass
class Learner:
    """What a step needs: the frozen and the learning parts, prompts as token ids, positions of the placeholders."""

    model: Components
    rows: ExtendedEmbedding
    ids: dict[str | None, Tensor]
    anomaly_positions: dict[str, Tensor]
    product_positions: dict[str, Tensor]

    def prompt(self, defects: Sequence[str | None]) -> Tensor:
        """Embeddings (n, L, D) of the prompts of defect types; None is the normal prompt."""
        return self.model.text_encoder(torch.stack([self.ids[d] for d in defects])).last_hidden_state


def prepare(model: Components, prompts: Prompts, settings: TuneSettings) -> Learner:
    """Add the token rows, freeze all but them and the U-Net.

    Raises:
        SettingsError: a prompt does not fit the text encoder.
    """
    ua.add_tokens(model.tokenizer, prompts)
    rows = ua.attach_rows(
        model.text_encoder, ua.initial_rows(model.tokenizer, model.text_encoder, prompts, settings)
    )
    components.freeze(model.vae)
    model.text_encoder.eval()
    model.unet.train().requires_grad_(True)
    texts: dict[str | None, str] = {None: prompts.normal}
    texts.update(prompts.anomaly)
    tokens = prompts.anomaly_tokens
    return Learner(
        model,
        rows,
        ids={key: ua.tokenize(model.tokenizer, [text])[0] for key, text in texts.items()},
        anomaly_positions={d: ua.positions(model.tokenizer, t, tokens[d]) for d, t in prompts.anomaly.items()},
        product_positions={
            d: ua.positions(model.tokenizer, t, prompts.product_tokens) for d, t in prompts.anomaly.items()
        },
    )


def sample_batch(
    anomalies: ImageSet, normals: ImageSet, counts: tuple[int, int], turn: bool, generator: torch.Generator
) -> Batch:
    """Draw anomaly images of any type and normal images, with replacement, each turned and flipped at random."""
    items = [(anomalies, i) for i in draw(len(anomalies), counts[0], generator)]
    items += [(normals, i) for i in draw(len(normals), counts[1], generator)]
    pairs = [augment(*images[i], generator) if turn else images[i] for images, i in items]
    return Batch(
        images=torch.stack([image for image, _ in pairs]),
        masks=torch.stack([mask for _, mask in pairs])[: counts[0]],
        defects=tuple(str(anomalies.records[i].defect) for _, i in items[: counts[0]]),
    )


def losses(learner: Learner, batch: Batch, settings: TuneSettings, generator: torch.Generator) -> loop.Losses:
    """L = L_df + L_ob (eq. 3 to 6) of one mixed batch."""
    model, a = learner.model, len(batch.defects)
    n = len(batch.images)
    mean, std = components.encode_moments(model.vae, batch.images)
    noise, posterior = torch.randn(2, *mean.shape, generator=generator)
    latents = mean + std * posterior
    timesteps = torch.randint(model.scheduler.config.num_train_timesteps, (n,), generator=generator)
    noisy = model.scheduler.add_noise(latents, noise, timesteps)
    with taps.cross_attention(model.unet, settings.levels, settings.attention) as maps:
        predicted = model.unet(noisy, timesteps, learner.prompt([*batch.defects, *[None] * (n - a)])).sample
        da = da_loss(
            [maps.level(level)[:a] for level in settings.levels],
            batch.masks,
            torch.stack([learner.anomaly_positions[d] for d in batch.defects]),
            torch.stack([learner.product_positions[d] for d in batch.defects]),
            latents.shape[-1],
            "image" if settings.attention == "paper" else "batch",
        )
    anomaly, normal = na_loss(noise[:a], predicted[:a]), na_loss(noise[a:], predicted[a:])
    loss = settings.da_weight * da + anomaly + settings.na_weight * normal
    return {"loss": loss, "da": da, "df": anomaly, "ob": normal}


def optimizer_for(learner: Learner, settings: TuneSettings) -> torch.optim.AdamW:
    """AdamW over the U-Net and the new token rows, each with its own learning rate."""
    return torch.optim.AdamW(
        [
            {"params": list(learner.model.unet.parameters()), "lr": settings.unet_lr},
            {"params": [learner.rows.rows], "lr": settings.embedding_lr},
        ],
        weight_decay=settings.weight_decay,
    )


def train(product: Product, source: str, out: Path, settings: TuneSettings, provenance: dict[str, object]) -> None:
    """Fine-tune a base model on one product and write the run folder.

    A killed run continues at its last checkpoint when called again with the same arguments.

    Args:
        product: its data set, checked.
        source: base model, a folder or a hub name.
        out: the run folder.
        settings: see `TuneSettings`.
        provenance: base model, data set and licence, kept in the run and the bundle.

    Raises:
        DataError, SettingsError, OutputError, TrainError: see the parts.
    """
    split = layouts.split(product, settings.train_share, settings.split, settings.seed, settings.shots)
    normal_records = layouts.pick_normals(product, settings.normals, settings.seed)
    layouts.require_batch(split.train, settings.anomaly_batch, "anomaly")
    layouts.require_batch(normal_records, settings.normal_batch, "normal")
    model = components.load(source)
    anomalies = ImageSet(split.train, model.image_size)
    normals = ImageSet(normal_records, model.image_size)
    prompts = ua.compose(product.defects, settings)
    learner = prepare(model, prompts, settings)
    optimizer = optimizer_for(learner, settings)
    counts = (settings.anomaly_batch, settings.normal_batch)

    def losses_of(step: int) -> loop.Losses:
        generator = step_generator(settings.seed, step)
        parts = [
            losses(learner, sample_batch(anomalies, normals, counts, settings.augment, generator), settings, generator)
            for _ in range(settings.accumulation)
        ]
        return {key: torch.stack([part[key] for part in parts]).mean() for key in parts[0]}

    out.mkdir(parents=True, exist_ok=True)
    steps = settings.steps or settings.steps_per_type * len(product.defects)
    task = {"stage": "tune", "settings": settings.model_dump(mode="json"), "train": _names(split.train, product)}
    modules = {"unet": model.unet, "rows": learner.rows}
    loop.run(loop.Stage(out, task, steps, modules, optimizer, settings.checkpoint_every, settings.log_every), losses_of)

    rows = learner.rows.rows.detach()
    model.text_encoder.set_input_embeddings(learner.rows.table)
    facts = run.Facts(
        product=product.name,
        prompts=prompts,
        tune=settings,
        provenance={**provenance, "base": components.base_name(source)},
        train=_names(split.train, product),
        held_out=_names(split.held_out, product),
        normals=_names(normal_records, product),
    )
    images = (normals[i][0] for i in range(len(normals)))
    run.save_tuned(out, facts, model, rows, components.encode_each(model.vae, images))
    checkpoint.clear(out)


def _names(records: Sequence[layouts.Record], product: Product) -> tuple[str, ...]:
    return tuple(record.image.relative_to(product.root).as_posix() for record in records)
