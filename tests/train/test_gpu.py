"""Training on a CUDA device; run with -m gpu."""

import json

import pytest
import torch
from safetensors.torch import load_file

from seas_train import masks, run_folder, tune
from tests.train.small_stage import killed_at

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_run_on_the_gpu_is_near_the_one_on_the_cpu(base, product, tune_settings, mask_settings, tuned, tmp_path, precision):
    how = {"device": "auto", "precision": precision, "gradient_checkpointing": True, "cache_latents": True}
    torch.cuda.reset_peak_memory_stats()
    tune.train(product, str(base), tmp_path / "run", tune_settings.model_copy(update=how), {})
    del how["gradient_checkpointing"]
    masks.train(tmp_path / "run", product, mask_settings.model_copy(update=how))
    assert torch.cuda.max_memory_allocated() > 0
    logs = [[json.loads(x) for x in (f / "log.jsonl").read_text().splitlines()] for f in (tmp_path / "run", tuned)]
    for found, expected in zip(*logs, strict=True):
        for term in found.keys() & {"df", "ob", "fine", "coarse"}:  # the DA loss of a flat map is its rounding
            assert found[term] == pytest.approx(expected[term], rel=0.1)
    file = "unet/diffusion_pytorch_model.safetensors"
    assert all(v.dtype == torch.float32 and v.isfinite().all() for v in load_file(tmp_path / "run" / file).values())
    run_folder.require_masks(run_folder.load(tmp_path / "run"))


def test_8_bit_adamw_learns_and_resumes(base, product, tune_settings, tmp_path, monkeypatch):
    pytest.importorskip("bitsandbytes")
    settings = tune_settings.model_copy(update={"optimizer": "adamw8bit"})
    killed_at(monkeypatch, tune, 3, lambda: tune.train(product, str(base), tmp_path / "broken", settings, {}))
    for name in ("broken", "whole"):
        tune.train(product, str(base), tmp_path / name, settings, {})
    file = "unet/diffusion_pytorch_model.safetensors"
    broken, unbroken, start = (load_file(f / file) for f in (tmp_path / "broken", tmp_path / "whole", base))
    moved = max(float((unbroken[n] - start[n]).abs().max()) for n in start)
    assert moved > 0
    assert all(torch.allclose(broken[n], unbroken[n], atol=0.1 * moved) for n in start)
