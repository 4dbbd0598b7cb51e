"""A base in a single file, as the first code of Stable Diffusion wrote it: what it is, and its parts by diffusers' own conversion.

The configs are read off the tensors' shapes, so nothing is downloaded. What shapes do not tell is told by the file's own
description (modelspec), by the user, or is as in every Stable Diffusion: heads, groups, betas, the VAE's scaling factor.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import create_diffusers_clip_model_from_ldm
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPTextModel

from seas_runtime.errors import DataError
from seas_train.models import weights
from seas_train.models.origin import Origin
from seas_train.models.rules import V15, V21, WORKS, Configs

Shapes = Mapping[str, tuple[int, ...]]

UNET, VAE = "model.diffusion_model.", "first_stage_model."
CLIP, OPEN_CLIP = "cond_stage_model.transformer.text_model.", "cond_stage_model.model."
HEADS_OF_1, HEAD_WIDTH = 8, 64
_STRANGERS = (  # how names of tensors begin or what is in them, what the file is, what to do
    (r"^lora_|\.lora_|lora_[AB]\.|\.hada_|\.lokr_", "a LoRA", "give the base with --base and this file with --lora"),
    (r"^control_model\.|^controlnet_", "a ControlNet", f"give {V15}"),
    (r"^conditioner\.embedders\.", "Stable Diffusion XL", f"give {V21}"),
    (r"joint_blocks\.", "Stable Diffusion 3", f"give {V21}"),
    (r"double_blocks\.|single_transformer_blocks\.", "a Flux model", f"give {V21}"),
    (r"^string_to_param|^emb_params", "an embedding of textual inversion", "give the folder of the model it was learned with"),
    (r"^down_blocks\.", "the U-Net alone", "give the folder of the whole model"),
    (r"^encoder\.(down|conv_in)|^decoder\.(up|conv_in)", "an autoencoder alone", "give a whole model"),
    (r"^text_model\.", "a text encoder alone", "give the folder of the whole model"),
)


def read(path: Path, tensors: bool = True) -> dict[str, Any]:
    """Tensors of a file by name, or their shapes: pickles hold no code that would be run, or are refused.

    Raises:
        DataError: the file is missing, not whole, or no state dict.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file. Give a base model's folder, a single file, or a hub name like owner/model.")
    if wrong := weights.fault(path):
        raise DataError(f"{path}: {wrong}")
    try:
        if path.suffix == weights.SAFETENSORS:
            return dict(load_file(path)) if tensors else dict(weights.shapes(path))
        found = _unpickle(path)
        while isinstance(found.get("state_dict"), dict):
            found = found["state_dict"]
        kept = {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
        return kept if tensors else {name: tuple(value.shape) for name, value in kept.items()}
    except UnpicklingError as error:
        raise DataError(
            f"{path}: found a pickle that runs code when it is read, which is not done; give the model as .safetensors"
        ) from error
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError, EOFError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(f"{path}: cannot be read ({reason}); copy or download it again, whole") from error


def _unpickle(path: Path) -> dict[str, Any]:
    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError:  # written before there were zip files: cannot be mapped
        found = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(found, dict):
        raise TypeError(f"holds a {type(found).__name__}, not tensors by name")
    return found


def configs(origin: Origin) -> Configs:
    """Configs of the parts, read off the shapes.

    Raises:
        DataError: the file is no Stable Diffusion 1.x or 2.x, or what its U-Net predicts is not known.
    """
    shapes: Shapes = read(origin.path, tensors=False)
    about = weights.metadata(origin.path) if origin.path.suffix == weights.SAFETENSORS else {}
    if said := _stranger(shapes):
        raise DataError(f"{origin.source}: {said}")
    second = f"{OPEN_CLIP}token_embedding.weight" in shapes
    prediction = _prediction(origin, shapes, about, second)
    try:
        return Configs(
            index={},
            unet=_unet(shapes, second, _side(about, second, prediction)),
            vae=_vae(shapes),
            text=_open_clip(shapes) if second else _clip(shapes),
            scheduler={
                "beta_start": 0.00085,
                "beta_end": 0.012,
                "beta_schedule": "scaled_linear",
                "num_train_timesteps": 1000,
                "prediction_type": prediction,
                "rescale_betas_zero_snr": "ztsnr" in shapes,
            },
        )
    except (KeyError, IndexError) as error:
        raise DataError(f"{origin.source}: found no tensor {error} in it, so it is no whole model; give {WORKS}") from error


def _stranger(shapes: Shapes) -> str | None:
    """What a file is that is no Stable Diffusion 1.x or 2.x; None where it is one."""
    for pattern, what, remedy in _STRANGERS:
        if any(re.search(pattern, name) for name in shapes):
            return f"found {what}, expected a whole model of Stable Diffusion 1.x or 2.x; {remedy}"
    for prefix, part in ((UNET, "U-Net"), (VAE, "VAE"), ("cond_stage_model.", "text encoder")):
        if not any(name.startswith(prefix) for name in shapes):
            return f"found {len(shapes)} tensors and no {part} ({prefix}*), expected a whole model; give {WORKS}"
    if f"{UNET}label_emb.0.0.weight" in shapes or f"{UNET}label_emb.weight" in shapes:
        return f"found a U-Net with classes (an upscaler or image-variation model), expected a text-to-image model; give {V21}"
    return None


def _prediction(origin: Origin, shapes: Shapes, about: Mapping[str, str], second: bool) -> str:
    if origin.prediction is not None:
        return origin.prediction
    stated = about.get("modelspec.prediction_type", "v" if "v_pred" in shapes else "")
    if stated:
        return "v_prediction" if stated.startswith("v") else stated
    if second:
        raise DataError(
            f"{origin.source}: found Stable Diffusion 2.x in a file that does not say what its U-Net predicts; give --prediction "
            "v_prediction (the model of 768 pixels) or --prediction epsilon (the base of 512)"
        )
    return "epsilon"


def _side(about: Mapping[str, str], second: bool, prediction: str) -> int:
    """Side of the latents: of the resolution stated, else of the model's family."""
    stated = re.match(r"(\d+)", about.get("modelspec.resolution", ""))
    pixels = int(stated[1]) if stated else 768 if second and prediction == "v_prediction" else 512
    return pixels // 8


def _unet(shapes: Shapes, second: bool, side: int) -> dict[str, Any]:
    blocks = _count(shapes, rf"{re.escape(UNET)}input_blocks\.(\d+)\.")
    ends = [i for i in range(blocks) if f"{UNET}input_blocks.{i}.0.op.weight" in shapes]
    firsts = [1, *(end + 1 for end in ends)]
    channels = [shapes[f"{UNET}input_blocks.{first}.0.out_layers.3.weight"][0] for first in firsts]
    attended = [f"{UNET}input_blocks.{first}.1.norm.weight" in shapes for first in firsts]
    down = ["CrossAttnDownBlock2D" if there else "DownBlock2D" for there in attended]
    return {
        "_class_name": "UNet2DConditionModel",
        "sample_size": side,
        "in_channels": shapes[f"{UNET}input_blocks.0.0.weight"][1],
        "out_channels": shapes[f"{UNET}out.2.weight"][0],
        "block_out_channels": channels,
        "layers_per_block": (ends[0] if ends else blocks) - 1,
        "down_block_types": down,
        "up_block_types": [name.replace("Down", "Up") for name in reversed(down)],
        "cross_attention_dim": shapes[f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"][1],
        "attention_head_dim": [width // HEAD_WIDTH for width in channels] if second else HEADS_OF_1,
        "use_linear_projection": len(shapes[f"{UNET}input_blocks.1.1.proj_in.weight"]) == 2,
    }


def _vae(shapes: Shapes) -> dict[str, Any]:
    levels = _count(shapes, rf"{re.escape(VAE)}encoder\.down\.(\d+)\.")
    return {
        "_class_name": "AutoencoderKL",
        "block_out_channels": [shapes[f"{VAE}encoder.down.{i}.block.0.conv1.weight"][0] for i in range(levels)],
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "layers_per_block": _count(shapes, rf"{re.escape(VAE)}encoder\.down\.0\.block\.(\d+)\."),
        "latent_channels": shapes[f"{VAE}post_quant_conv.weight"][0],
        "scaling_factor": 0.18215,
    }


def _clip(shapes: Shapes) -> dict[str, Any]:
    rows, width = shapes[f"{CLIP}embeddings.token_embedding.weight"]
    layers = _count(shapes, rf"{re.escape(CLIP)}encoder\.layers\.(\d+)\.")
    inner = shapes[f"{CLIP}encoder.layers.0.mlp.fc1.weight"][0]
    length = shapes[f"{CLIP}embeddings.position_embedding.weight"][0]
    return _text(rows, width, layers, inner, length, "quick_gelu")


def _open_clip(shapes: Shapes) -> dict[str, Any]:
    """OpenCLIP's encoder without its last layer, which Stable Diffusion 2.x does not use."""
    rows, width = shapes[f"{OPEN_CLIP}token_embedding.weight"]
    layers = _count(shapes, rf"{re.escape(OPEN_CLIP)}transformer\.resblocks\.(\d+)\.") - 1
    inner = shapes[f"{OPEN_CLIP}transformer.resblocks.0.mlp.c_fc.weight"][0]
    return _text(rows, width, layers, inner, shapes[f"{OPEN_CLIP}positional_embedding"][0], "gelu")


def _text(rows: int, width: int, layers: int, inner: int, length: int, activation: str) -> dict[str, Any]:
    return {
        "model_type": "clip_text_model",
        "architectures": ["CLIPTextModel"],
        "vocab_size": rows,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // HEAD_WIDTH,
        "intermediate_size": inner,
        "max_position_embeddings": length,
        "projection_dim": width,
        "hidden_act": activation,
        "bos_token_id": rows - 2,
        "eos_token_id": rows - 1,
    }


def _count(shapes: Shapes, pattern: str) -> int:
    """How many numbers stand at a place in the names."""
    return len({found[1] for name in shapes if (found := re.match(pattern, name))})


def load(origin: Origin, found: Configs) -> tuple[UNet2DConditionModel, AutoencoderKL, CLIPTextModel]:
    """U-Net, VAE and text encoder of a file in fp32, converted by diffusers.

    Raises:
        DataError: the file cannot be read, or lacks weights.
    """
    state = read(origin.path)
    with tempfile.TemporaryDirectory(prefix="seas-") as folder:
        for part, config in (("unet", found.unet), ("vae", found.vae), ("text_encoder", found.text)):
            (Path(folder) / part).mkdir()
            (Path(folder) / part / "config.json").write_text(json.dumps(config), encoding="utf-8")
        where = {"config": folder, "local_files_only": True, "torch_dtype": torch.float32}

        def of(reader: Callable[..., Any], part: str, *first: Any) -> Any:
            try:
                made = reader(*first, state, subfolder=part, **where)
            except (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError, IndexError) as error:
                reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                raise DataError(f"{origin.source}: its {part} cannot be converted ({reason}); copy it again, whole") from error
            if missing := [name for name, value in made.state_dict().items() if value.is_meta]:
                raise DataError(
                    f"{origin.source}: found no weights for {len(missing)} tensors of its {part}, such as {missing[0]}; "
                    "copy the file again, whole"
                )
            return made

        return (
            of(UNet2DConditionModel.from_single_file, "unet"),
            of(AutoencoderKL.from_single_file, "vae"),
            of(create_diffusers_clip_model_from_ldm, "text_encoder", CLIPTextModel),
        )
