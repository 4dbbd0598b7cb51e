"""Conditioning and manifest fields that do not fit."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from seas_runtime.bundle.digest import stored_form
from seas_runtime.bundle.manifest import Manifest
from seas_runtime.bundle.reader import read_bundle, write_manifest
from seas_runtime.errors import BundleError
from tests.runtime.small_bundle import DEFECTS, conditioning, manifest_fields, seal, write_parts
from tests.runtime.spoiled import refused


def drop(name):
    return lambda arrays: arrays.pop(name)


def put(name, value):
    return lambda arrays: arrays.update({name: value})


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (drop("prompt.hole"), "prompt.hole"),
        (drop("normal.mean"), "normal.mean"),
        (put("prompt.other", np.zeros((3, 5), np.float32)), "prompt.other"),
        (put("prompt.empty", np.zeros((3, 4), np.float32)), "prompt.empty"),
        (put("normal.std", np.zeros((5, 2, 4, 4), np.float32)), "normal.std"),
        (put("normal.mean", np.array(1, np.float32)), "normal.mean"),
        (put("prompt.empty", np.zeros((3, 5), np.float64)), "float64"),
        (put("prompt.crack", np.full((3, 5), np.nan, np.float32)), "NaN"),
    ],
)
def test_conditioning_that_does_not_fit(plan_folder, change, word):
    arrays = conditioning()
    change(arrays)
    save_file(arrays, plan_folder / "conditioning.safetensors")
    write_manifest(plan_folder, manifest_fields())
    refused(plan_folder, "conditioning.safetensors", word)


def test_conditioning_that_is_no_safetensors(plan_folder):
    (plan_folder / "conditioning.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0garbage!")
    write_manifest(plan_folder, manifest_fields())
    refused(plan_folder, "conditioning.safetensors", "not readable")


def nested(fields, path, value):
    *parents, last = path
    for key in parents:
        fields = fields[key]
    fields[last] = value


@pytest.mark.parametrize(
    ("path", "value", "word"),
    [
        (("product",), "../x", "product"),
        (("product",), "", "product"),
        (("defects",), [], "defects"),
        (("defects", 0, "name"), "empty", "empty"),
        (("defects", 0, "name"), "HOLE", "share a name"),
        (("defects", 0, "name"), "a/b", "folder"),
        (("surprise",), 1, "surprise"),
        (("schedule", "spacing"), "leading", "spacing"),
        (("schedule", "final"), "other", "final"),
        (("schedule", "beta_start"), 0.5, "beta_start"),
        (("start", "noise"), float("nan"), "noise"),
        (("defaults", "steps"), 1, "mask_steps"),
        (("defaults", "threshold"), 1.0, "threshold"),
        (("geometry", "latent_channels"), 3, "expected"),
        (("geometry", "image_size"), 16, "image"),
        (("graphs", "unet", "files"), {"int8": "unet.onnx"}, "int8"),
        (("graphs", "unet", "files"), {"fp32": "other.onnx"}, "other.onnx"),
        (("graphs", "unet", "inputs"), [], "tensors"),
        (("graphs", "unet", "inputs", 1, "dtype"), "float32", "timestep"),
        (("graphs",), {}, "unet"),
    ],
)
def test_fields_that_do_not_fit_are_not_sealed(tmp_path, path, value, word):
    write_parts(tmp_path / "tile.plan")
    fields = manifest_fields()
    nested(fields, path, value)
    with pytest.raises(BundleError, match=word):
        write_manifest(tmp_path / "tile.plan", fields)
    assert not (tmp_path / "tile.plan" / "manifest.json").exists()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = ["product", "defects", "geometry", "schedule", "graphs", "files", "defaults", "parity", "digest"]


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(KEYS), JSON)
def test_wild_values_are_refused_or_read(pristine, tmp_path_factory, key, value):
    folder = tmp_path_factory.mktemp("wild") / "tile.plan"
    shutil.copytree(pristine, folder)
    content = json.loads((folder / "manifest.json").read_text())
    content[key] = value
    (folder / "manifest.json").write_text(json.dumps(content, sort_keys=True, indent=1) + "\n")
    refused(folder)
    shutil.rmtree(folder)


def without_seal(content):
    """What a manifest says but for its files, as an exporter would give it."""
    return {name: value for name, value in content.items() if name not in ("files", "digest")}


def test_a_manifest_from_before_types_had_limits_is_sealed_to_the_same_bytes(pristine, plan_folder):
    written = (pristine / "manifest.json").read_bytes()
    for word in (b"photographs", b"agreement", b"min_area"):
        assert word not in written
    manifest = read_bundle(pristine).manifest
    assert stored_form(manifest.model_dump(mode="json")) == written
    (plan_folder / "manifest.json").unlink()
    write_manifest(plan_folder, without_seal(manifest.model_dump(mode="json")))
    assert (plan_folder / "manifest.json").read_bytes() == written


def test_the_shipped_manifest_stays_as_it_is():
    written = (Path(__file__).parents[3] / "engines/bottle.plan/manifest.json").read_bytes()
    manifest = Manifest.model_validate_json(written)
    assert stored_form(manifest.model_dump(mode="json")) == written


SHARE = st.floats(0, 1)
LIMITS = st.fixed_dictionaries({}, optional={"threshold": st.floats(0.01, 0.99), "agreement": SHARE, "min_area": SHARE})


@settings(max_examples=25)
@given(st.tuples(LIMITS, LIMITS, LIMITS), st.booleans())
def test_what_is_known_of_types_is_kept_and_nothing_is_put_in(photographed, tmp_path_factory, known, photographs):
    folder = tmp_path_factory.mktemp("known") / "tile.plan"
    shutil.copytree(photographed, folder)
    names = [path.relative_to(folder).as_posix() for path in sorted((folder / "photographs").iterdir())]
    more = {"photographs": names} if photographs else {}
    found = [{"name": name, "prompt": name} | of_type for name, of_type in zip(DEFECTS, known, strict=True)]
    seal(folder, defects=found, **more)
    written = (folder / "manifest.json").read_bytes()
    content = json.loads(written)
    assert content["defects"] == found
    assert content.get("photographs") == (names if photographs else None)
    assert ("photographs" in content) == photographs
    manifest = read_bundle(folder).manifest
    seal(folder, **without_seal(manifest.model_dump()))
    assert (folder / "manifest.json").read_bytes() == written
    shutil.rmtree(folder)
