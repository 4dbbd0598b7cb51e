"""A run folder of random weights: what a training leaves, without one."""

from __future__ import annotations

from pathlib import Path

import torch

from seas_train import run_folder
from seas_train.config import MaskSettings
from seas_train.models import components
from seas_train.models.components import Geometry
from seas_train.models.rmp import RefinedMaskPredictor
from seas_train.prompts import add_tokens, compose, initial_rows
from tests.smallest import CAPTIONS, GEOMETRY, MASKS, TUNE

DEFECTS = ("crack", "hole")


def write(folder: Path, geometry: Geometry = GEOMETRY, masks: MaskSettings = MASKS) -> Path:
    """Write it, of two defect types."""
    from seas_train.masks import config_for

    torch.manual_seed(0)
    model = components.build(geometry, CAPTIONS)
    prompts = compose(DEFECTS, TUNE)
    add_tokens(model.tokenizer, prompts)
    rows = initial_rows(model.tokenizer, model.text_encoder, prompts, TUNE)
    facts = run_folder.Facts(
        product="tile", prompts=prompts, tune=TUNE, provenance={"licence": "CC0"}, train=("a.png",), held_out=(), normals=("b.png",)
    )
    moments = torch.randn(1, *model.latent_shape), torch.rand(1, *model.latent_shape)
    run_folder.save_tuned(folder, facts, model, rows, moments, [torch.zeros(3, model.image_size, model.image_size)])
    run = run_folder.load(folder)
    run_folder.save_masks(folder, facts.model_copy(update={"masks": masks}), RefinedMaskPredictor(config_for(run, masks)))
    return folder
