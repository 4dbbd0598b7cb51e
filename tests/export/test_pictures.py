"""Pictures that a bundle takes along: photographs of normal images, and composites."""

import shutil

import numpy as np
import torch
from click.testing import CliRunner
from PIL import Image
from scipy import ndimage

import seas_runtime
from seas_export.cli import main as export_command
from seas_runtime.bundle.photographs import read_patches, read_photographs
from seas_runtime.bundle.reader import read_bundle
from seas_train import run_folder
from seas_train.data import placing
from seas_train.data.dataset import ImageSet
from seas_train.data.layouts import pick_normals
from seas_train.data.layouts import split as divided


def export(run, out, *words):
    return CliRunner().invoke(export_command, [str(run), "--out", str(out), "--guidance", "2", "--steps", "4", *words])


def test_a_bundle_takes_the_training_pictures_along_and_pairs_start_from_them(tuned, product, tmp_path):
    result = export(tuned, tmp_path / "x.plan", "--photographs", "--composites", "5")
    assert result.exit_code == 0, result.output
    stages = [line.partition(" s  ")[2] for line in result.stderr.splitlines()]
    assert {"reading the run", "exporting vae_decoder", "comparing graphs with PyTorch", "sealing the bundle"} <= set(stages)
    assert result.stderr.endswith(f"next: seas-gen --engine {tmp_path / 'x.plan'} --per-type 10 --out out/x --sheet\n")
    bundle, model = read_bundle(tmp_path / "x.plan"), run_folder.load(tuned)
    facts, side = model.facts, model.model.image_size

    normals = ImageSet(pick_normals(product, facts.tune.normals, facts.tune.seed), side)
    expected = np.stack([((normals[i][0] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy() for i in range(len(normals))])
    np.testing.assert_array_equal(read_photographs(bundle), expected)

    assert bundle.manifest.composites == 5
    vae = model.model.vae
    for defect in facts.defects:
        latents = bundle.conditioning.composites[defect]
        assert latents.shape == (5, *bundle.conditioning.mean.shape[1:])
        for number, latent in enumerate(latents):  # nearest to the normal image that it is on
            distances = ((bundle.conditioning.mean - latent) ** 2).sum(axis=(1, 2, 3))
            assert distances.argmin() == number % len(normals)
        with torch.no_grad():
            decoded = vae.decode(torch.from_numpy(latents) / vae.config.scaling_factor).sample
        assert torch.isfinite(decoded).all()

    count = f"({len(normals)} photographs and {5 * len(facts.defects)} composites, "
    assert count in result.stdout

    masks = {defect: np.unpackbits(bundle.conditioning.composite_masks[defect], axis=-1) for defect in facts.defects}
    for defect, of_type in masks.items():
        assert of_type.shape == (5, side, side)
        cells = of_type.reshape(5, side // 8, 8, side // 8, 8).any(axis=(2, 4))
        for number, latent in enumerate(bundle.conditioning.composites[defect]):  # it differs most where the anomaly is
            change = np.abs(latent - bundle.conditioning.mean[number % len(normals)]).mean(axis=0)
            assert change[cells[number]].mean() > change[~ndimage.binary_dilation(cells[number], iterations=2)].mean()

    images, anomalies = run_folder.require_pictures(model)
    patches = read_patches(bundle)
    for defect in facts.defects:
        again = placing.composites(images, anomalies[defect], 5, facts.tune.augment, facts.tune.seed)
        for number, composite in enumerate(again):  # to the bit, and but for the anomaly
            seen = ((composite.image + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
            np.testing.assert_array_equal(patches[defect][number].on(expected[number % len(normals)]), seen)
            np.testing.assert_array_equal(masks[defect][number] > 0, composite.mask[0].numpy() > 0)

    with seas_runtime.open(bundle, "cpu") as generator:
        pairs = generator.pairs(12, init="composite", background="real", threshold=0.05, max_area=1.0, retries=0)
        made = list(pairs)
        assert made
        assert len(made) + len(pairs.refused) == 12
        for pair in made:  # the edge is 2 pixels wide at this side
            np.testing.assert_array_equal(pair.mask > 0, masks[pair.defect][pair.draw.composite] > 0)
            far = ndimage.binary_dilation(pair.mask > 0, np.ones((5, 5))) == 0
            np.testing.assert_array_equal(pair.image[far], expected[pair.draw.composite % len(normals)][far])


def test_the_run_keeps_the_training_anomalies(tuned, product):
    facts = run_folder.load_facts(tuned)
    found = divided(product, facts.tune.train_share, facts.tune.split, facts.tune.seed, facts.tune.shots)
    images = ImageSet(found.train, 64)
    for defect in facts.defects:
        numbers = [i for i, record in enumerate(found.train) if record.defect == defect]
        files = sorted((tuned / "anomalies" / defect).glob("*_mask.png"))
        assert len(files) == len(numbers)
        for number, file in zip(numbers, files, strict=True):
            np.testing.assert_array_equal(np.asarray(Image.open(file)) > 0, images[number][1][0].numpy() > 0)


def test_a_run_of_before_has_no_anomalies_to_place(tuned, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(tuned, old)
    shutil.rmtree(old / "anomalies")
    result = export(old, tmp_path / "x.plan", "--composites", "5")
    assert result.exit_code == 3
    assert "found no training anomalies; tune the run again, or export it without composites" in result.output
    assert not (tmp_path / "x.plan").exists()
