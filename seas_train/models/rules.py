"""What a base's configs must say for the method to work, and what is said of those that say other things."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from seas_train.models.prediction import KINDS

V15, V21, V21_BASE = (
    "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "stabilityai/stable-diffusion-2-1",
    "stabilityai/stable-diffusion-2-1-base",
)
WORKS = "a text-to-image model of Stable Diffusion 1.x or 2.x, such as CompVis/stable-diffusion-v1-4, or one of `seas-train base`"
LEVELS = 4
TRAIN_STEPS = 1000
DOWN = ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D")
UP = ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D")
WIDTH_OF_2 = 1024  # of Stable Diffusion 2.x's text encoder

Config = Mapping[str, Any]

_FAMILIES = (  # words in a pipeline's class, what it is, what comes nearest to it among what works
    ("Inpaint", "an inpainting model", None),
    ("Depth2Img", "a depth-to-image model", V21_BASE),
    ("InstructPix2Pix", "an image-editing model", V15),
    ("Upscale", "an upscaler", V21),
    ("UnCLIP", "an image-variation model", V21),
    ("ImageVariation", "an image-variation model", V15),
    ("LatentConsistency", "a model distilled to few steps", V15),
    ("StableDiffusionXL", "Stable Diffusion XL", V21),
    ("StableDiffusion3", "Stable Diffusion 3", V21),
    ("Flux", "a Flux model", V21),
    ("StableCascade", "Stable Cascade", V21),
    ("PixArt", "a PixArt model", V21),
    ("Kandinsky", "a Kandinsky model", V21),
    ("Wuerstchen", "a Wuerstchen model", V21),
    ("AnimateDiff", "a video model", V15),
    ("Video", "a video model", V15),
    ("AltDiffusion", "AltDiffusion, whose text encoder is no CLIP", V15),
)


@dataclass(frozen=True)
class Configs:
    """A model's configs by part, as they lie on the disk; `index` is `model_index.json`, empty where there is none."""

    index: Config
    unet: Config
    vae: Config
    text: Config
    scheduler: Config


def nearest(width: object) -> str:
    """The plain base that an odd one was most likely made of, by the width of its prompts."""
    return V21_BASE if width == WIDTH_OF_2 else V15


def family(name: str, width: object = None) -> str | None:
    """What is said of a pipeline of this class; None where it is none of those: its parts decide."""
    for word, what, instead in _FAMILIES:
        if word in name:
            return _refused(f"{what} ({name})", instead or nearest(width))
    return None


def _refused(found: str, instead: str) -> str:
    return f"found {found}, expected a text-to-image model of Stable Diffusion 1.x or 2.x; give {instead}"


def wrong(configs: Configs) -> str | None:
    """Found, expected, and what to do; None where the model can be trained."""
    rules: tuple[Callable[[Configs], str | None], ...] = (_family, _channels, _unet, _vae, _text, _noise)
    return next((said for rule in rules if (said := rule(configs))), None)


def _family(configs: Configs) -> str | None:
    return family(str(configs.index.get("_class_name", "")), configs.unet.get("cross_attention_dim"))


def _channels(configs: Configs) -> str | None:
    latents = configs.vae.get("latent_channels", 4)
    inside, outside = configs.unet.get("in_channels", 4), configs.unet.get("out_channels", 4)
    if inside == outside == latents:
        return None
    kinds = {2 * latents + 1: "an inpainting model", latents + 1: "a depth-to-image model", 2 * latents: "an image-editing model"}
    kind = f" ({kinds[inside]})" if outside == latents and inside in kinds else ""
    instead = nearest(configs.unet.get("cross_attention_dim")) if kind else WORKS
    return (
        f"the VAE has {latents} latent channels, the U-Net {inside} in and {outside} out{kind}, expected one number; give {instead}"
    )


def _unet(configs: Configs) -> str | None:
    unet = configs.unet
    kind = unet.get("_class_name", "UNet2DConditionModel")
    if kind != "UNet2DConditionModel":
        return f"found a U-Net of class {kind}, expected UNet2DConditionModel; give {WORKS}"
    more = ("addition_embed_type", "class_embed_type", "num_class_embeds", "time_cond_proj_dim", "encoder_hid_dim")
    for name in more:
        if unet.get(name) is not None:
            what = {
                "addition_embed_type": "Stable Diffusion XL or alike",
                "time_cond_proj_dim": "a model distilled to few steps",
            }.get(name, "an upscaler, image-variation or other model")
            return _refused(f"a U-Net with {name} {unet[name]!r} ({what})", nearest(unet.get("cross_attention_dim")))
    down, up = tuple(unet.get("down_block_types", DOWN)), tuple(unet.get("up_block_types", UP))
    if (down, up) != (DOWN, UP):
        return f"found a U-Net of {len(down)} levels down ({', '.join(down)}), expected {LEVELS} ({', '.join(DOWN)}); give {WORKS}"
    side = unet.get("sample_size")
    if not isinstance(side, int) or isinstance(side, bool) or side < 8 or side % 8:
        return f"found a U-Net with sample_size {side!r}, expected the side of square latents, a multiple of 8; give {WORKS}"
    return None


def _vae(configs: Configs) -> str | None:
    vae = configs.vae
    kind = vae.get("_class_name", "AutoencoderKL")
    if kind != "AutoencoderKL":
        return f"found an autoencoder of class {kind}, expected AutoencoderKL; give {WORKS}"
    levels = len(vae.get("block_out_channels", ()))
    if levels != LEVELS:
        return f"found an autoencoder of {levels} levels, expected {LEVELS}, latents of an eighth of the image's side; give {WORKS}"
    scaling = vae.get("scaling_factor", 0.18215)
    if not isinstance(scaling, int | float) or not 0 < scaling < float("inf"):
        return f"found an autoencoder with scaling_factor {scaling!r}, expected a positive number; copy the model again"
    for name in ("shift_factor", "latents_mean"):
        if vae.get(name) is not None:
            return _refused(f"an autoencoder with {name}, as newer models have", V21)
    return None


def _text(configs: Configs) -> str | None:
    kind = configs.text.get("model_type", "clip_text_model")
    if kind not in ("clip_text_model", "clip"):
        return f"found a text encoder of type {kind!r}, expected 'clip_text_model'; give {WORKS}"
    width, expected = configs.text.get("hidden_size", 512), configs.unet.get("cross_attention_dim", 1280)
    if width != expected:
        return (
            f"the text encoder is {width} wide, the U-Net expects {expected}, expected one number; copy both from one model, "
            f"or give {WORKS}"
        )
    return None


def _noise(configs: Configs) -> str | None:
    noise = configs.scheduler
    predicts = noise.get("prediction_type", "epsilon")
    if predicts not in KINDS:
        return (
            f"found prediction_type {predicts!r}, expected {' or '.join(map(repr, KINDS))}, a U-Net that predicts noise or v; "
            f"give {WORKS}"
        )
    betas = noise.get("beta_schedule", "linear")
    if betas not in ("scaled_linear", "linear") or noise.get("trained_betas") is not None:
        found = "betas of its own" if noise.get("trained_betas") is not None else f"beta_schedule {betas!r}"
        return f"found {found}, expected beta_schedule 'scaled_linear' or 'linear'; give {WORKS}"
    start, end = noise.get("beta_start", 0.0001), noise.get("beta_end", 0.02)
    if not all(isinstance(beta, int | float) for beta in (start, end)) or not 0 < start <= end < 1:
        return f"found betas from {start!r} to {end!r}, expected rising numbers between 0 and 1; copy scheduler/ again"
    steps = noise.get("num_train_timesteps", TRAIN_STEPS)
    if steps != TRAIN_STEPS:
        return f"found a noise schedule of {steps!r} steps, expected {TRAIN_STEPS}; give {WORKS}"
    if noise.get("rescale_betas_zero_snr") and predicts == "epsilon":
        return (
            "found rescale_betas_zero_snr with prediction_type 'epsilon', expected 'v_prediction': noise says nothing of the "
            f"image where there is no signal; give --prediction v_prediction, or {WORKS}"
        )
    return None
