"""Bases as other programs leave them: single files with the first code's names, fp16 variants, pickles, a hub cache, LoRA files."""

import hashlib
import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel

from seas_train.models import components
from seas_train.models.components import Geometry

FIRST = Geometry(  # what a single file does not tell is as in every Stable Diffusion: 8 heads, groups of 32, heads of text 64 wide
    image_size=64,
    latent_channels=4,
    unet_channels=(32, 32, 64, 64),
    unet_layers=1,
    unet_heads=8,
    unet_groups=32,
    vae_channels=(32, 32, 32, 64),
    vae_layers=1,
    vae_groups=32,
    text_width=64,
    text_layers=2,
    text_heads=1,
    prompt_length=24,
)
SECOND = FIRST.model_copy(
    update={
        "unet_channels": (64, 64, 128, 128),
        "unet_heads": (1, 1, 2, 2),
        "linear_projection": True,
        "text_activation": "gelu",
    }
)
CAPTIONS = ("a bottle", "a bottle with crack", "a object", "an object with defect")
UNET_NAMES = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}
RESNET_NAMES = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
ATTENTION_NAMES = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def build(geometry=FIRST, **how):
    torch.manual_seed(0)
    return components.build(geometry, CAPTIONS, **how)


def _renamed(rest, names):
    return next((rest.replace(old, new, 1) for old, new in names.items() if rest.startswith(old + ".")), rest)


def unet_state(unet: UNet2DConditionModel):
    layers = unet.config.layers_per_block
    found = {}
    for name, value in unet.state_dict().items():
        kind, *rest = name.split(".", 4)
        if kind not in ("down_blocks", "up_blocks"):
            new = _renamed(name, UNET_NAMES)
            if ".resnets" not in name and name.startswith("mid_block.att"):
                found[new] = value
            else:
                head, _, tail = new.partition(".")
                inner = tail.split(".", 1)
                found[f"{head}.{inner[0]}.{_renamed(inner[1], RESNET_NAMES)}" if head == "middle_block" else new] = value
            continue
        level, part, index, tail = int(rest[0]), rest[1], int(rest[2]), rest[3]
        if kind == "down_blocks":
            number = level * (layers + 1) + (layers + 1 if part == "downsamplers" else index + 1)
            place = {"resnets": "0", "attentions": "1", "downsamplers": "0"}[part]
            block = f"input_blocks.{number}.{place}"
            tail = tail.replace("conv.", "op.") if part == "downsamplers" else tail
        else:
            number = level * (layers + 1) + (layers if part == "upsamplers" else index)
            attended = hasattr(unet.up_blocks[level], "attentions")
            place = {"resnets": "0", "attentions": "1", "upsamplers": "2" if attended else "1"}[part]
            block = f"output_blocks.{number}.{place}"
        found[f"{block}.{_renamed(tail, RESNET_NAMES) if part == 'resnets' else tail}"] = value
    return {f"model.diffusion_model.{name}": value for name, value in found.items()}


def vae_state(vae: AutoencoderKL):
    found = {}
    for name, value in vae.state_dict().items():
        new = name
        for old, short in (("down_blocks", "down"), ("up_blocks", "up")):
            if f".{old}." in name:
                side, _, level, part, index, tail = name.split(".", 5)
                number = int(level) if short == "down" else 3 - int(level)
                inner = f"block.{index}" if part == "resnets" else "downsample" if short == "down" else "upsample"
                new = f"{side}.{short}.{number}.{inner}.{tail}"
        for index in (0, 1):
            new = new.replace(f"mid_block.resnets.{index}", f"mid.block_{index + 1}")
        if "mid_block.attentions.0." in new:
            side, tail = new.split(".mid_block.attentions.0.")
            new = f"{side}.mid.attn_1.{_renamed(tail, ATTENTION_NAMES)}"
        new = new.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
        found[f"first_stage_model.{new}"] = value[:, :, None, None] if ".attn_1." in new and value.ndim == 2 else value
    return found


def text_state(text: CLIPTextModel, second: bool):
    state = {name.removeprefix("text_model."): value for name, value in text.state_dict().items()}
    if not second:
        found = {f"cond_stage_model.transformer.text_model.{name}": value for name, value in state.items()}
        length = len(state["embeddings.position_embedding.weight"])
        return {**found, "cond_stage_model.transformer.text_model.embeddings.position_ids": torch.arange(length)[None]}
    prefix = "cond_stage_model.model."
    found = {
        f"{prefix}token_embedding.weight": state["embeddings.token_embedding.weight"],
        f"{prefix}positional_embedding": state["embeddings.position_embedding.weight"],
        f"{prefix}ln_final.weight": state["final_layer_norm.weight"],
        f"{prefix}ln_final.bias": state["final_layer_norm.bias"],
        f"{prefix}logit_scale": torch.ones(()),
        f"{prefix}text_projection": torch.randn(text.config.hidden_size, text.config.hidden_size),
    }
    layers = text.config.num_hidden_layers
    names = {
        "layer_norm1": "ln_1",
        "layer_norm2": "ln_2",
        "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj",
        "self_attn.out_proj": "attn.out_proj",
    }
    for i in range(layers + 1):  # the last one is there and not used
        old, new = f"encoder.layers.{min(i, layers - 1)}.", f"{prefix}transformer.resblocks.{i}."
        for kind in ("weight", "bias"):
            found[f"{new}attn.in_proj_{kind}"] = torch.cat([state[f"{old}self_attn.{p}_proj.{kind}"] for p in "qkv"])
            found.update({f"{new}{theirs}.{kind}": state[f"{old}{ours}.{kind}"] for ours, theirs in names.items()})
    return found


def single_file(model, path: Path, second=False, metadata=None):
    """Write a model as one file, and its tokenizer beside it."""
    state = {**unet_state(model.unet), **vae_state(model.vae), **text_state(model.text_encoder, second)}
    state = {name: value.contiguous().clone() for name, value in state.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    model.tokenizer.save_pretrained(path.parent / "tokenizer")
    if path.suffix == ".safetensors":
        save_file(state, path, metadata=metadata)
    else:
        torch.save({"state_dict": state, "global_step": 5}, path)
    return path


def half_variant(folder: Path):
    """A folder whose weights are there in half precision alone, named as a variant."""
    for file in [*folder.glob("unet/*.safetensors"), *folder.glob("vae/*.safetensors"), *folder.glob("text_encoder/*.safetensors")]:
        save_file(
            {k: v.half() if v.is_floating_point() else v for k, v in load_file(file).items()},
            file.with_suffix(".fp16.safetensors"),
            {"format": "pt"},
        )
        file.unlink()
    return folder


def pickled(folder: Path):
    """The same folder, its weights as pickles."""
    for file in list(folder.glob("*/*.safetensors")):
        torch.save(
            load_file(file),
            file.with_name(
                file.name.replace("model.safetensors", "model.bin") if "diffusion" in file.name else "pytorch_model.bin"
            ),
        )
        file.unlink()
    return folder


def hub_cache(folder: Path, cache: Path, name: str, branch="main"):
    """What the hub's client leaves of a branch of a model that was downloaded."""
    commit = hashlib.sha1(branch.encode()).hexdigest()
    home = cache / f"models--{name.replace('/', '--')}"
    (home / "refs").mkdir(parents=True, exist_ok=True)
    (home / "refs" / branch).write_text(commit)
    shutil.copytree(folder, home / "snapshots" / commit)


def lora_layers(model, seed=0, rank=2):
    """Halves of a LoRA: by network and layer, (down, up)."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for network, words in (
        ("unet", ("attn2.to_q", "attn1.to_out.0", "ff.net.2", "proj_in")),
        ("text_encoder", ("self_attn.q_proj", "mlp.fc1")),
    ):
        for name, module in getattr(model, network).named_modules():
            if name.endswith(words) and hasattr(module, "weight"):
                outside, inside = module.weight.flatten(1).shape
                down, up = (torch.randn(shape, generator=generator) * 0.1 for shape in ((rank, inside), (outside, rank)))
                found[network, name.removeprefix("text_model.")] = down, up
    return found


def lora_file(layers, path: Path, style: str, alpha=1.0, **more):
    """Write a LoRA as kohya's trainer or as diffusers with peft does."""
    state = {}
    for (network, name), (down, up) in layers.items():
        full = f"text_model.{name}" if network == "text_encoder" else name
        if style == "kohya":
            key = f"lora_{'te' if network == 'text_encoder' else 'unet'}_{full.replace('.', '_')}"
            conv = (slice(None), slice(None), None, None) if name.endswith("proj_in") else (slice(None), slice(None))
            state.update(
                {f"{key}.lora_down.weight": down[conv], f"{key}.lora_up.weight": up[conv], f"{key}.alpha": torch.tensor(alpha)}
            )
        elif style in ("peft", "stated"):
            state.update({f"{network}.{full}.lora_A.weight": down, f"{network}.{full}.lora_B.weight": up})
        else:
            state.update({f"{network}.{full}.lora.down.weight": down, f"{network}.{full}.lora.up.weight": up})
    about = {f"{network}.lora_alpha": alpha for network in ("unet", "text_encoder")} if style == "stated" else {}
    metadata = {"format": "pt", "lora_adapter_metadata": json.dumps({**about, **more})} if about or more else None
    save_file({k: v.contiguous() for k, v in state.items()}, path, metadata)
    return path
