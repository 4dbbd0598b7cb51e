import hashlib
import json
import shutil

import numpy as np
import pytest
from onnx import TensorProto

from seas_runtime.bundle.digest import canonical_digest
from seas_runtime.bundle.reader import read_bundle, write_manifest
from tests.runtime.small_bundle import DEFECTS, conditioning, manifest_fields
from tests.runtime.spoiled import refused, spoil_manifest


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
    refused(tmp_path / "file.plan", "is a file, a bundle is a folder")
    (tmp_path / "empty.plan").mkdir()
    refused(tmp_path / "empty.plan", "no manifest.json")


@pytest.mark.parametrize("name", ["unet.onnx", "decoder.onnx", "mask_branch.onnx", "weights.bin", "conditioning.safetensors"])
@pytest.mark.parametrize("place", [0, 0.5, 1])
def test_a_byte_changed_is_seen(plan_folder, name, place):
    file = plan_folder / name
    data = bytearray(file.read_bytes())
    data[int(place * (len(data) - 1))] ^= 1
    file.write_bytes(data)
    header = (name, place) == ("conditioning.safetensors", 0)  # whose length says how much may be read
    refused(plan_folder, name, "not readable" if header else "another hash")


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


@pytest.mark.parametrize("value", [0, 2, "1", None, 1.5, [1], True, 1.0])
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
    refused(plan_folder, "manifest.json is a link", "seas-engine copy")


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
        "*/_ORT_MEM_ADDR_/*",
        "a b",
        "a\nb",
        "weights.bin\n",
        "wei\u0455hts",
        "-rf",
        ".hidden",
        "/".join("abcdefghi"),
        "x" * 201,
    ],
)
def test_paths_that_leave_the_bundle(plan_folder, path):
    def change(content):
        content["files"][path] = content["files"]["weights.bin"]

    spoil_manifest(plan_folder, change)
    refused(plan_folder, "files")


@pytest.mark.parametrize(
    "path",
    [
        "../weights.bin",
        "/etc/passwd",
        "sub/../../x",
        "other.bin",
        "engines/x",
        "..\\x",
        "*/_ORT_MEM_ADDR_/*",
        "/weights.bin",
        "./weights.bin",
        "weights.bin\0",
    ],
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


def test_sealing_twice_gives_the_same_bytes(plan_folder):
    before = (plan_folder / "manifest.json").read_bytes()
    assert write_manifest(plan_folder, manifest_fields()) == read_bundle(plan_folder).manifest
    assert (plan_folder / "manifest.json").read_bytes() == before
