"""A checkpoint of the published implementation, with its base and its data set, as today's and as old libraries write it."""

import json
import shutil

import pytest
import torch
from diffusers import PNDMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel

from seas_train.data import demo
from seas_train.models import components
from tests.export.published_checkpoint import LOW, MID, TOKENS, load, published_shapes, random_state
from tests.smallest import GEOMETRY


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def state():
    return random_state(published_shapes(24, 16, LOW, MID, (16, 12, 8), layers=2))


@pytest.fixture(scope="session")
def root(tmp_path_factory, state):
    """The folder of a data set, a base model and a checkpoint, in the layout that today's libraries write. Read only."""
    root = tmp_path_factory.mktemp("published")
    demo.write(root / "data", "bottle", 64, normals=3, per_defect=2, test_normals=1)
    torch.manual_seed(0)
    model = components.build(GEOMETRY, ["a bottle", "an object with defect"])
    model.save(root / "base")
    model.tokenizer.add_tokens(TOKENS)
    model.text_encoder.resize_token_embeddings(len(model.tokenizer), mean_resizing=False)
    generation = root / "checkpoint" / "generation-checkpoint"
    for part in ("unet", "text_encoder", "tokenizer", "scheduler"):
        getattr(model, part).save_pretrained(generation / part)
    (generation / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    (root / "checkpoint" / "mask-checkpoint").mkdir()
    torch.save(state, root / "checkpoint" / "mask-checkpoint" / "rmp")
    return root


@pytest.fixture(scope="session")
def run(root):
    return load(root)


@pytest.fixture
def copy(root, tmp_path):
    """A copy of everything, to be spoiled."""
    return shutil.copytree(root, tmp_path / "copy")


@pytest.fixture
def old(copy):
    """Weights in half precision and as pickles, text encoder below `text_model.`, tokenizer as vocabulary and merges."""
    generation = copy / "checkpoint" / "generation-checkpoint"
    text = CLIPTextModel.from_pretrained(generation / "text_encoder").half().state_dict()
    text = {f"text_model.{name.removeprefix('text_model.')}": value for name, value in text.items()}
    text["text_model.embeddings.position_ids"] = torch.arange(24)[None]
    unet = UNet2DConditionModel.from_pretrained(generation / "unet").half()
    for part, weights, name in (
        ("text_encoder", text, "pytorch_model.bin"),
        ("unet", unet.state_dict(), "diffusion_pytorch_model.bin"),
    ):
        for file in (generation / part).glob("*.safetensors"):
            file.unlink()
        torch.save(weights, generation / part / name)
    tokenizer = generation / "tokenizer"
    whole = json.loads((tokenizer / "tokenizer.json").read_text())
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in whole["model"]["merges"]]
    (tokenizer / "tokenizer.json").unlink()
    (tokenizer / "vocab.json").write_text(json.dumps(whole["model"]["vocab"]))
    (tokenizer / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    added = {token["content"]: token["id"] for token in whole["added_tokens"] if not token["special"]}
    (tokenizer / "added_tokens.json").write_text(json.dumps(added))
    special = {"bos_token": "<|startoftext|>", "pad_token": "<|endoftext|>"}
    special.update({"eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"})
    (tokenizer / "special_tokens_map.json").write_text(json.dumps(special))
    config = {"model_max_length": 24, "tokenizer_class": "CLIPTokenizer", "add_prefix_space": False, **special}
    (tokenizer / "tokenizer_config.json").write_text(json.dumps(config))
    PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
    ).save_pretrained(generation / "scheduler")
    return copy
