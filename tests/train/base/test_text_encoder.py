"""The contrastive start of a base's text encoder."""

import json
import math

import torch
from torch.nn import functional as F  # noqa: N812

from seas_train import prompts
from seas_train.base import text_encoder
from seas_train.base.settings import BaseSettings


def test_contrastive_loss_by_loops():
    generator = torch.Generator().manual_seed(0)
    images, texts = torch.randn(2, 4, 5, generator=generator).double()
    captions = ["a", "b", "a", "c"]

    def direction(own, other):
        total = 0.0
        for i in range(4):
            scores = [float(torch.cosine_similarity(own[i], other[j], dim=0)) / 0.07 for j in range(4)]
            norm = math.log(sum(math.exp(s) for s in scores))
            right = [j for j in range(4) if captions[j] == captions[i]]
            total += sum(norm - scores[j] for j in right) / len(right)
        return total / 4

    expected = (direction(images, texts) + direction(texts, images)) / 2
    assert math.isclose(float(text_encoder.contrastive(images, texts, captions)), expected, rel_tol=1e-9)


def test_captions_of_images_that_differ_come_apart(model, tmp_path):
    """Bright latents are called one thing and dark ones another: their captions end further apart than they began."""
    latents = torch.randn(40, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    latents[:20] += 1
    latents[20:] -= 1
    captions = ["a bottle", "a bottle with crack"]
    model.text_encoder.requires_grad_(True)

    def likeness():
        with torch.no_grad():
            first, second = prompts.embed(model.tokenizer, model.text_encoder, captions)
        ends = [len(model.tokenizer(text).input_ids) - 1 for text in captions]
        return float(F.cosine_similarity(first[ends[0]], second[ends[1]], dim=0))

    before = likeness()
    text_encoder.train(model, latents, lambda i, _: captions[i // 20], tmp_path, BaseSettings(align_steps=40, log_every=1))
    losses = [json.loads(line)["loss"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert len(losses) == 40
    assert losses[-1] < losses[0] - 0.5
    assert likeness() < before - 0.2
