"""Headings of the options of `seas-train`: names of parameters by the heading that their help stands under.

What is not named here is what people use first, and comes first.
"""

_LOGS = ("checkpoint_every", "log_every")
_SPEED = ("precision", "optimizer", "accumulation", "cache_latents")
_SOURCE = ("layout", "anomalies_folder", "masks_folder", "normals_folder", "product_name")
_BASE = ("revision", "variant", "loras", "tokenizer", "prediction", "size")

ALL = {
    "Data": (*_SOURCE, "train_share", "licence"),
    "Base model": _BASE,
    "Bundle": ("fp16", "photographs", "composites", "count"),
}
CHECK = {
    "Data": (*_SOURCE, "normals", "train_share", "split", "shots"),
    "Base model": _BASE,
}
BASE = {
    "Data": ("defects", "symmetries", "licence"),
    "Autoencoder": (
        *("vae_start", "vae_steps", "vae_batch", "vae_crop", "vae_focus", "vae_whole", "vae_lr", "vae_edges"),
        *("vae_anomaly_weight", "vae_kl", "vae_precision"),
    ),
    "Sharper decoder": ("sharpen_steps", "sharpen_weight", "sharpen_lr"),
    "U-Net and text encoder": (
        *("align_steps", "batch", "lr", "lr_schedule", "ema", "anomaly_weight", "max_noise_weight", "prompt_dropout", "generic"),
        "weight_decay",
    ),
    "Checkpoints and logs": (*_LOGS, "keep_every"),
}
TUNE = {
    "Data": (*_SOURCE, "licence", "normals", "train_share", "split", "shots", "defects", "augment"),
    "Base model": _BASE,
    "Prompts and tokens": (
        *("words", "anomaly_tokens", "product_tokens", "prompt", "normal_prompt", "df_separator", "init_product", "init_anomaly"),
    ),
    "Losses": ("attention", "levels", "da_weight", "product_term", "na_weight"),
    "Learning": (
        *("anomaly_batch", "normal_batch", "order", "unet", "lora_rank", "ema", "unet_lr", "embedding_lr", "weight_decay"),
        *("signal", "noise"),
    ),
    "Speed and memory": (*_SPEED, "gradient_checkpointing"),
    "Checkpoints and logs": (*_LOGS, "watch_every"),
}
MASKS = {
    "Data": (*_SOURCE, "augment"),
    "Mask branch": (*("up2_width", "up3_width", "layers", "heads", "groups", "fuse", "taps", "features", "mrm", "refinement"),),
    "What it sees": ("max_timestep", "look", "look_timestep"),
    "Small decoder": ("decoder", "decoder_channels", "decoder_steps", "decoder_latents", "decoder_lr"),
    "Losses": ("coarse_supervision", "normal_supervision", "gamma"),
    "Learning": ("anomaly_batch", "normal_batch", "lr", "weight_decay"),
    "Speed and memory": (*_SPEED, "gradient_checkpointing"),
    "Checkpoints and logs": (*_LOGS, "watch_every"),
}
DISTILL = {
    "Data": _SOURCE,
    "Learning": (
        *("method", "solver_steps", "huber", "batch", "lr", "ema", "unet", "lora_rank", "weight_decay"),
        *("generated", "generated_share", "teacher_steps"),
    ),
    "Speed and memory": ("precision", "optimizer", "accumulation", "gradient_checkpointing"),
    "Checkpoints and logs": (*_LOGS, "watch_every"),
}
