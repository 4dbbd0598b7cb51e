import hashlib
import json
import shutil

import numpy as np
import pytest
from conftest import DEFECTS, conditioning, manifest_fields, write_parts
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto
from safetensors.numpy import save_file

from seas_runtime.bundle import canonical_digest, read_bundle, write_manifest
from seas_runtime.errors import BundleError


def spoil_manifest(folder, change):
    """Edit the manifest and make its digest fit again."""
    file = folder / "manifest.json"
    content = json.loads(file.read_text())
    change(content)
    content["digest"] = canonical_digest(content)
    file.write_text(json.dumps(content, sort_keys=True, indent=1) + "\n")


def refused(folder, *words, **options):
    with pytest.raises(BundleError) as caught:
        read_bundle(folder, **options)
    message = caught.value.message
    assert caught.value.exit_code == 3
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_a_good_bundle_is_read(pristine):
    bundle = read_bundle(pristine)
    assert bundle.manifest.defect_names == DEFECTS
    assert set(bundle.manifest.files) == {
        "unet.onnx", "decoder.onnx", "mask_branch.onnx", "weights.bin", "conditioning.safetensors",
    }  # fmt: skip
    held, wrote = bundle.conditioning, conditioning()
    np.testing.assert_array_equal(held.prompts["hole"], wrote["prompt.hole"])
    np.testing.assert_array_equal(held.mean, wrote["normal.mean"].astype(np.float32))
    assert {array.dtype for array in (held.empty, held.normal, held.mean, held.std)} == {np.dtype(np.float32)}


def test_digest_is_the_hash_of_the_canonical_manifest(pristine):
    content = json.loads((pristine / "manifest.json").read_text())
    digest = content.pop("digest")
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    assert digest == hashlib.sha256(text.encode()).hexdigest()
    assert read_bundle(pristine, digest).manifest.digest == digest
    assert read_bundle(pristine, digest.upper()).manifest.digest == digest


def test_digest_of_a_manifest_worked_by_hand():
    expected = hashlib.sha256(b'{"a":[1,2.5],"b":{"c":"\\u00e9"}}').hexdigest()
    assert canonical_digest({"b": {"c": "é"}, "digest": "x", "a": [1, 2.5]}) == expected


def test_engines_beside_the_core_are_left_alone(plan_folder):
    (plan_folder / "engines" / "rtx").mkdir(parents=True)
    (plan_folder / "engines" / "rtx" / "unet.engine").write_bytes(b"x")
    (plan_folder / "engines" / "link").symlink_to("/etc")
    assert read_bundle(plan_folder).manifest.product == "tile"


def test_missing_folder_and_missing_manifest(tmp_path):
    refused(tmp_path / "none.plan", "no such bundle folder", "seas-export")
    (tmp_path / "file.plan").write_text("x")
    refused(tmp_path / "file.plan", "no such bundle folder")
    (tmp_path / "empty.plan").mkdir()
    refused(tmp_path / "empty.plan", "no manifest.json")


@pytest.mark.parametrize(
    "name", ["unet.onnx", "decoder.onnx", "mask_branch.onnx", "weights.bin", "conditioning.safetensors"]
)
@pytest.mark.parametrize("place", [0, 0.5, 1])
def test_a_byte_changed_is_seen(plan_folder, name, place):
    file = plan_folder / name
    data = bytearray(file.read_bytes())
    data[int(place * (len(data) - 1))] ^= 1
    file.write_bytes(data)
    refused(plan_folder, name, "another hash")


def test_any_byte_of_the_manifest_changed_is_seen(pristine, tmp_path):
    folder = shutil.copytree(pristine, tmp_path / "tile.plan")
    data = (pristine / "manifest.json").read_bytes()
    for place in range(0, len(data), 17):
        for bit in (1, 32):
            changed = bytearray(data)
            changed[place] ^= bit
            (folder / "manifest.json").write_bytes(changed)
            refused(folder)
    for changed in (
        data + b" ",
        data[:-1],
        b"",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        data.replace(b"\n", b"\r\n"),
    ):
        (folder / "manifest.json").write_bytes(changed)
        refused(folder)


def test_missing_extra_and_short_files(plan_folder):
    (plan_folder / "more.bin").write_text("x")
    refused(plan_folder, "more.bin", "not in the manifest")
    (plan_folder / "more.bin").unlink()
    (plan_folder / "sub").mkdir()
    (plan_folder / "sub" / ".hidden").write_text("x")
    refused(plan_folder, "sub/.hidden", "not in the manifest")
    shutil.rmtree(plan_folder / "sub")
    weights = plan_folder / "weights.bin"
    weights.write_bytes(weights.read_bytes()[:-1])
    refused(plan_folder, "weights.bin", "bytes", "expected")
    weights.unlink()
    refused(plan_folder, "weights.bin missing")


@pytest.mark.parametrize("value", [0, 2, "1", None, 1.5, [1]])
def test_unknown_format(plan_folder, value):
    spoil_manifest(plan_folder, lambda content: content.update(format=value))
    refused(plan_folder, "format", "1 expected")


def test_links_are_refused(plan_folder, tmp_path):
    weights = plan_folder / "weights.bin"
    shutil.move(weights, tmp_path / "weights.bin")
    weights.symlink_to(tmp_path / "weights.bin")
    refused(plan_folder, "weights.bin is a link")
    weights.unlink()
    shutil.move(tmp_path / "weights.bin", weights)
    (plan_folder / "out").symlink_to(tmp_path)
    refused(plan_folder, "out is a link")
    (plan_folder / "out").unlink()
    shutil.move(plan_folder / "manifest.json", tmp_path)
    (plan_folder / "manifest.json").symlink_to(tmp_path / "manifest.json")
    refused(plan_folder, "manifest.json")


@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "/etc/passwd",
        "a/../../b",
        "C:/x",
        "a\\b",
        "./weights.bin",
        "engines/x",
        "manifest.json",
        "",
    ],
)
def test_paths_that_leave_the_bundle(plan_folder, path):
    def change(content):
        content["files"][path] = content["files"]["weights.bin"]

    spoil_manifest(plan_folder, change)
    refused(plan_folder, "files")


@pytest.mark.parametrize(
    "path", ["../weights.bin", "/etc/passwd", "sub/../../x", "other.bin", "engines/x", "..\\x"]
)
def test_external_data_that_leaves_the_bundle(plan_folder, edit_graph, path):
    def change(model):
        mix = next(tensor for tensor in model.graph.initializer if tensor.name == "mix")
        next(entry for entry in mix.external_data if entry.key == "location").value = path

    edit_graph(change)
    refused(plan_folder, "unet.onnx", repr(path), "no core file")


def test_shapes_of_a_graph_must_be_the_manifests(plan_folder, edit_graph):
    def narrow(model):
        model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 3

    edit_graph(narrow)
    refused(plan_folder, "unet.onnx", "noise", "the manifest says")


def test_a_fixed_batch_is_refused(plan_folder, edit_graph):
    def fix(model):
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4

    edit_graph(fix)
    refused(plan_folder, "sample", "the manifest says")


def test_another_name_of_the_batch_is_fine(plan_folder, edit_graph):
    def rename(model):
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"

    edit_graph(rename)
    assert read_bundle(plan_folder)


def test_names_and_types_of_a_graph_must_be_the_manifests(plan_folder, edit_graph):
    def rename(model):
        model.graph.input[0].name = "x"

    edit_graph(rename)
    refused(plan_folder, "unet.onnx", "'x'")

    def retype(model):
        model.graph.input[0].name = "sample"
        model.graph.input[1].type.tensor_type.elem_type = TensorProto.INT32

    edit_graph(retype)
    refused(plan_folder, "timestep is int32", "int64")


def test_a_file_that_is_no_onnx(plan_folder):
    (plan_folder / "unet.onnx").write_bytes(b"\xff" * 40)
    write_manifest(plan_folder, manifest_fields())
    refused(plan_folder, "unet.onnx is not an ONNX file")


def test_expect_catches_a_bundle_that_was_sealed_again(plan_folder):
    origin = read_bundle(plan_folder).manifest.digest
    weights = bytearray((plan_folder / "weights.bin").read_bytes())
    weights[5] ^= 1
    (plan_folder / "weights.bin").write_bytes(weights)
    write_manifest(plan_folder, manifest_fields())
    assert read_bundle(plan_folder).manifest.digest != origin
    refused(plan_folder, origin, "expected", expect=origin)


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
        (("schedule", "spacing"), "trailing", "spacing"),
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


def test_sealing_twice_gives_the_same_bytes(plan_folder):
    before = (plan_folder / "manifest.json").read_bytes()
    assert write_manifest(plan_folder, manifest_fields()) == read_bundle(plan_folder).manifest
    assert (plan_folder / "manifest.json").read_bytes() == before


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
