"""One step of each fine-tuning against the same step written out with plain PyTorch and the stock networks."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch.nn import functional as F  # noqa: N812

from seas_train import masks, run_folder, tune
from seas_train.config import TuneSettings
from seas_train.data.dataset import ImageSet, step_generator
from seas_train.models import components
from seas_train.models.rmp import RefinedMaskPredictor

UNET = "unet/diffusion_pytorch_model.safetensors"


def batch_of(folder, product):
    """The images of step 0, its generator left where noise is drawn, and the run's facts."""
    facts = run_folder.load_facts(folder)
    by_name = {r.image.relative_to(product.root).as_posix(): r for r in (*product.anomalies, *product.normals)}
    images = (ImageSet([by_name[n] for n in names], 64) for names in (facts.train, facts.normals))
    generator = step_generator(0, 0)
    return tune.sample_batch(*images, (2, 2), True, generator), generator, facts


def noised(model, images, generator):
    """Noisy latents of the images, by the formulas of the VAE's posterior and of DDPM."""
    with torch.no_grad():
        moments = model.vae.quant_conv(model.vae.encoder(images.to(model.vae.dtype)))
    mean, log_variance = moments.chunk(2, dim=1)
    noise, posterior = torch.randn(2, *mean.shape, generator=generator)
    latents = (mean + torch.exp(0.5 * log_variance) * posterior) * model.vae.config.scaling_factor
    t = torch.randint(1000, (4,), generator=generator)
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    alpha = torch.cumprod(1 - betas, 0)[t].view(-1, 1, 1, 1).double()
    return alpha.sqrt() * latents + (1 - alpha).sqrt() * noise, noise, t, alpha


def adamw(parameter, gradient, lr, decay=0.01):
    """The first step of AdamW: both moments are the gradient's own."""
    return parameter * (1 - lr * decay) - lr * gradient / (gradient.abs() + 1e-8)


def plain_tokens(model, facts):
    """A text encoder whose table simply has the new rows, and each image's token ids."""
    table = model.text_encoder.get_input_embeddings().weight.detach()
    old = model.tokenizer
    word = {w: table[old(w, add_special_tokens=False).input_ids].mean(0) for w in ("object", "defect")}
    tokens = facts.prompts.tokens
    old.add_tokens(list(tokens))
    rows = torch.stack([word["object" if token == "<ob>" else "defect"] for token in tokens])
    wide = torch.nn.Embedding.from_pretrained(torch.cat([table, rows]), freeze=False)
    model.text_encoder.set_input_embeddings(wide)
    return wide


def watched(unet):
    """Inputs of every cross-attention of the encoder's levels 2 and 3 in the next forward passes."""
    seen = {1: [], 2: []}
    for level, store in seen.items():
        for part in unet.down_blocks[level].attentions:
            layer = part.transformer_blocks[0].attn2
            layer.register_forward_pre_hook(
                lambda m, args, kwargs, s=store: s.append((m, args[0], kwargs["encoder_hidden_states"])),
                with_kwargs=True,
            )
    return seen


def attention(layer, hidden, prompt):
    q, k = (x.unflatten(-1, (layer.heads, -1)) for x in (layer.to_q(hidden), layer.to_k(prompt)))
    scores = torch.einsum("nqhd,nkhd->nhqk", q, k) / q.shape[-1] ** 0.5
    return scores.softmax(-1).mean(1)


def plain_mask(mask, side):
    """Bilinear to the latent's 8 x 8, max-pooled, cut at half of the maximum."""
    image = Image.fromarray(mask.numpy()).resize((8, 8), Image.Resampling.BILINEAR)
    soft = torch.from_numpy(np.array(image)).view(side, 8 // side, side, 8 // side).amax((1, 3))
    return ((soft >= soft.max() / 2) & (soft > 0)).float()


def plain_da(seen, ids, masks_, tokens, ob):
    total = 0
    for store in seen.values():
        maps = torch.stack([attention(*given) for given in store]).mean(0)
        side = int(maps.shape[1] ** 0.5)
        for i in range(2):
            place = [ids[i].tolist().index(token) for token in tokens[i]]
            df, look = maps[i][:, place].mean(1), maps[i][:, ids[i].tolist().index(ob)]
            df, look = ((m - m.min()) / (m.max() - m.min() + 1e-8) for m in (df, look))
            target = plain_mask(masks_[i, 0], side).flatten()
            total = total + ((df - target) ** 2).mean() / 2
            total = total + (look * target).square().sum() / target.sum() / 2
    return total


@pytest.fixture
def double(monkeypatch):
    """Networks in fp64: eq. 3 stretches nearly flat maps to [0, 1], and fp32's rounding with them."""
    load = components.load

    def loaded(source):
        model = load(source)
        for network in model.networks.values():
            network.double()
        return model

    monkeypatch.setattr(components, "load", loaded)


def test_a_step_of_tune(base, double, product, tmp_path, monkeypatch):
    settings = TuneSettings(steps=1, normals=2)
    found, whole = {}, tune.optimizer_for

    def keeping(learner, settings):
        optimizer = whole(learner, settings)
        found.update(unet=dict(learner.model.unet.named_parameters()), rows=learner.rows.rows)
        return optimizer

    monkeypatch.setattr(tune, "optimizer_for", keeping)
    tune.train(product, str(base), tmp_path / "run", settings, {})

    model = components.load(base)
    batch, generator, facts = batch_of(tmp_path / "run", product)
    wide = plain_tokens(model, facts)
    size = len(wide.weight) - len(facts.prompts.tokens)
    texts = [facts.prompts.anomaly[d] for d in batch.defects] + [facts.prompts.normal] * 2
    ids = model.tokenizer(texts, padding="max_length", return_tensors="pt").input_ids
    noisy, noise, t, _ = noised(model, batch.images, generator)
    seen = watched(model.unet)
    predicted = model.unet(noisy, t, model.text_encoder(ids).last_hidden_state).sample
    number = {token: size + i for i, token in enumerate(facts.prompts.tokens)}
    tokens = [[number[token] for token in facts.prompts.anomaly_tokens[d]] for d in batch.defects]
    da = plain_da(seen, ids, batch.masks, tokens, number["<ob>"])
    loss = da + (predicted[:2] - noise[:2]).square().mean() + (predicted[2:] - noise[2:]).square().mean()
    loss.backward()

    largest = 0.0
    saved = load_file(tmp_path / "run" / UNET)
    for name, parameter in model.unet.named_parameters():
        torch.testing.assert_close(found["unet"][name].grad, parameter.grad, rtol=0, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")
        after = adamw(parameter.detach(), parameter.grad, 4e-6)
        torch.testing.assert_close(saved[name], after, rtol=0, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")
        largest = max(largest, float(parameter.grad.abs().max()))
    assert largest > 1e-3
    gradient = wide.weight.grad[size:]
    torch.testing.assert_close(found["rows"].grad, gradient, rtol=0, atol=1e-6)
    assert saved["conv_in.weight"].dtype == torch.float64
    rows = load_file(tmp_path / "run" / "tokens.safetensors")["rows"]
    after = adamw(wide.weight.detach()[size:], gradient, 4e-5)
    torch.testing.assert_close(rows, after, rtol=0, atol=1e-6)
    assert (rows != wide.weight[size:]).any()


def focal(logits, mask):
    p = logits.softmax(1)[:, 1]
    p = torch.where(mask == 1, p, 1 - p)
    return (-((1 - p) ** 2) * p.log()).mean()


def test_a_step_of_masks(tuned, double, product, mask_settings, tmp_path, monkeypatch):
    settings = mask_settings.model_copy(update={"steps": 1})
    folder = shutil.copytree(tuned, tmp_path / "run")
    shutil.rmtree(folder / "rmp")
    made, whole = [], masks.RefinedMaskPredictor
    monkeypatch.setattr(masks, "RefinedMaskPredictor", lambda config: made.append(whole(config).double()) or made[0])
    masks.train(folder, product, settings)

    loaded = run_folder.load(tuned)
    batch, generator, facts = batch_of(tuned, product)
    model = loaded.model
    noisy, _, t, alpha = noised(model, batch.images, generator)
    taps = {}
    for level in (1, 2):
        block = model.unet.up_blocks[level]
        block.register_forward_hook(lambda _m, _i, out, key=level: taps.update({key: out}))
    decoded = []
    for block in model.vae.decoder.up_blocks[:3]:
        block.register_forward_hook(lambda _m, _i, out: decoded.append(out))
    with torch.no_grad():
        texts = [facts.prompts.anomaly[d] for d in batch.defects] + [facts.prompts.normal] * 2
        noise = model.unet(noisy, t, loaded.embed(texts)).sample
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
        before = torch.cat([torch.ones(1), torch.cumprod(1 - betas, 0)])[t].view(-1, 1, 1, 1).double()
        clean = (noisy - (1 - alpha).sqrt() * noise) / alpha.sqrt()
        entering = before.sqrt() * clean + (1 - before).sqrt() * noise
        model.vae.decode(entering[:2] / model.vae.config.scaling_factor)

    torch.manual_seed(0)
    rmp = RefinedMaskPredictor(made[0].config).double()
    x = torch.cat([F.interpolate(rmp.coarse.up2(taps[1]), scale_factor=2, mode="bilinear"), rmp.coarse.up3(taps[2])], 1)
    coarse = rmp.coarse.fuse(x).sample
    d = coarse[:2]
    for module, v in zip(rmp.refine, decoded, strict=True):
        up = F.interpolate(d, scale_factor=2, mode="bilinear")
        a = module.first(up)
        d = module.fuse(module.feature(v) * (a + module.second(a) + module.local(up)) + up)

    def head(norm, x):
        return rmp.head(norm(x).clamp(min=0))

    cover = F.avg_pool2d(batch.masks, 8)
    small = torch.stack([(c >= min(0.5, float(c.max()) / 2)).float() for c in cover])
    low = head(rmp.coarse_norm, coarse)
    raised = F.interpolate(coarse[2:], size=(64, 64), mode="bilinear")
    loss = focal(low[:2], small[:, 0]) + focal(head(rmp.fine_norm, d), batch.masks[:, 0])
    loss = loss + focal(low[2:], torch.zeros(2, 8, 8)) + focal(head(rmp.coarse_norm, raised), torch.zeros(2, 64, 64))
    loss.backward()

    saved = load_file(folder / "rmp" / "model.safetensors")
    learned = dict(made[0].named_parameters())
    assert max(float(p.grad.abs().max()) for p in rmp.parameters()) > 1e-3
    for name, parameter in rmp.named_parameters():
        torch.testing.assert_close(learned[name].grad, parameter.grad, rtol=0, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")
        after = adamw(parameter.detach(), parameter.grad, settings.lr)
        torch.testing.assert_close(saved[name], after, rtol=0, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")
