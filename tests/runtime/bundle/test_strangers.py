"""A bundle that a stranger sealed: bounded work, and nothing that our export does not write."""

import os
import re
import subprocess
import time
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from safetensors.numpy import save

from seas_runtime.bundle import graph_rules
from seas_runtime.bundle.manifest import FileEntry
from seas_runtime.bundle.onnx_wire import MAX_NODES, external_tensors, survey
from seas_runtime.bundle.reader import read_bundle, write_manifest
from tests.runtime.building import BOTTLE
from tests.runtime.small_bundle import conditioning, manifest_fields
from tests.runtime.spoiled import refused, spoil_manifest

ZEROS = "0" * 64


@pytest.fixture(autouse=True)
def _soon():
    """Nothing here may take long, however large a bundle says it is."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < 10


def hole(folder, name, size):
    """Make a core file a hole of a size, and say so in the manifest, with a hash that nobody shall wait for."""
    os.truncate(folder / name, size)
    spoil_manifest(folder, lambda content: content["files"].update({name: FileEntry(bytes=size, sha256=ZEROS).model_dump()}))


@pytest.mark.parametrize("name", ["weights.bin", "unet.onnx", "conditioning.safetensors"])
def test_a_hole_of_a_terabyte_is_not_read(plan_folder, name):
    hole(plan_folder, name, 1 << 40)
    refused(plan_folder, name, f"{1 << 40} bytes", "at most")


def test_weights_end_where_the_graphs_weights_end(plan_folder):
    hole(plan_folder, "weights.bin", 1 << 33)
    refused(plan_folder, "weights.bin", "the graphs use 40")  # two by two and three by two floats


def test_a_hole_in_the_conditioning_is_not_read(plan_folder):
    hole(plan_folder, "conditioning.safetensors", 1 << 23)
    refused(plan_folder, "conditioning.safetensors", f"{1 << 23} bytes")


@pytest.mark.parametrize(
    ("name", "shape", "word"),
    [("prompt.crack", (3, 6), "prompt.crack"), ("normal.std", (7, 2, 4, 4), "normal.std"), ("more", (1,), "more")],
)
def test_the_header_of_the_conditioning_is_enough_to_refuse_it(plan_folder, name, shape, word, monkeypatch):
    arrays = conditioning()
    arrays[name] = arrays["normal.mean"].ravel()[:1].repeat(int.__mul__(*(*shape, 1)[:2]) if len(shape) < 3 else 224).reshape(shape)
    (plan_folder / "conditioning.safetensors").write_bytes(save(arrays))
    write_manifest(plan_folder, manifest_fields())
    monkeypatch.setattr("seas_runtime.bundle.conditioning.load", None)
    refused(plan_folder, "conditioning.safetensors", word)


@pytest.mark.parametrize("size", [0, 4, 1 << 30, 1 << 63])
def test_a_header_that_is_none(plan_folder, size):
    (plan_folder / "conditioning.safetensors").write_bytes(size.to_bytes(8, "little") + b"{{{}")
    write_manifest(plan_folder, manifest_fields())
    refused(plan_folder, "conditioning.safetensors")


def test_nested_empty_folders(plan_folder, monkeypatch):
    monkeypatch.chdir(plan_folder)
    for _ in range(1300):
        Path("d").mkdir()
        monkeypatch.chdir("d")
    monkeypatch.undo()
    try:
        refused(plan_folder, "folders more than 8 deep")
    finally:
        subprocess.run(["rm", "-rf", plan_folder / "d"], check=True)  # Python's own removal would recurse too deep


def test_a_pipe_in_the_core(plan_folder):
    (plan_folder / "weights.bin").unlink()
    os.mkfifo(plan_folder / "weights.bin")
    refused(plan_folder, "weights.bin is neither a file nor a folder")
    (plan_folder / "manifest.json").unlink()
    os.mkfifo(plan_folder / "manifest.json")
    refused(plan_folder, "manifest.json")


@pytest.mark.parametrize("change", [("steps", True), ("steps", "5"), ("steps", 5.0), ("guidance", "2"), ("threshold", False)])
def test_a_number_of_the_manifest_is_a_number(plan_folder, change):
    spoil_manifest(plan_folder, lambda content: content["defaults"].update([change]))
    refused(plan_folder, f"defaults.{change[0]}")


def endless():
    """A node that loops for ever: no number of rounds, and a condition that stays true."""
    inner = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["still"])],
        "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []), helper.make_tensor_value_info("c", TensorProto.BOOL, [])],
        [helper.make_tensor_value_info("still", TensorProto.BOOL, [])],
    )
    return helper.make_node("Loop", ["", "yes"], [], body=inner)


def allowed(**attribute):
    return helper.make_node("Constant", [], ["c"], **attribute)


STRANGE = {
    "loop": (lambda model: model.graph.node.append(endless()), "operator 'Loop'"),
    "a graph in an allowed operator": (
        lambda model: model.graph.node.append(allowed(inner=helper.make_graph([], "g", [], []))),
        "2 graphs",
    ),
    "if": (lambda model: model.graph.node.append(helper.make_node("If", ["c"], [])), "operator 'If'"),
    "domain": (lambda model: model.graph.node.append(helper.make_node("Add", ["a", "b"], ["d"], domain="com.microsoft")), "domain"),
    "expand": (lambda model: model.graph.node.append(helper.make_node("Expand", ["a", "b"], ["d"])), "operator 'Expand'"),
    "no operator": (lambda model: model.graph.node.append(onnx.NodeProto(op_type="")), "operator ''"),
    "function": (lambda model: model.functions.add(name="f"), "a function"),
    "training": (lambda model: model.training_info.add(), "a training"),
    "sparse": (lambda model: model.graph.sparse_initializer.add(), "a sparse"),
    "external data of a node": (
        lambda model: model.graph.node.append(allowed(value=model.graph.initializer[0])),
        "a stray",
    ),
    "nodes": (lambda model: model.graph.node.extend([onnx.NodeProto()] * (MAX_NODES + 1)), f"more than {MAX_NODES} nodes"),
    "weights after their file": (
        lambda model: next(entry for entry in model.graph.initializer[0].external_data if entry.key == "offset").MergeFrom(
            onnx.StringStringEntryProto(value="4096")
        ),
        "end after their file",
    ),
    "weights of another size": (lambda model: model.graph.initializer[0].dims.append(1000), "has 16 bytes"),
}


@pytest.mark.parametrize("what", STRANGE)
def test_what_our_export_does_not_write_is_refused(plan_folder, edit_graph, what):
    change, word = STRANGE[what]
    edit_graph(change)
    refused(plan_folder, "unet.onnx", word)


def test_every_operator_of_the_shipped_bundle_is_on_the_list_and_no_control_flow_is():
    written = set()
    for file in BOTTLE.glob("*.onnx"):
        seen = survey(file.read_bytes())
        model = onnx.load(file, load_external_data=False)
        assert seen.operators == {node.op_type for node in model.graph.node}
        assert seen.kinds["node"] == len(model.graph.node)
        written |= seen.operators
    assert written == set(graph_rules._WRITTEN.split())
    assert not graph_rules.OPERATORS & {"Loop", "If", "Scan", "SequenceMap", "Expand", "Tile", "Range", "ConstantOfShape"}


def test_initializers_outside_are_read_as_onnx_reads_them():
    for file in (BOTTLE / "unet.onnx", BOTTLE / "unet.fp16.onnx"):
        tensors = [
            t for t in onnx.load(file, load_external_data=False).graph.initializer if t.data_location == TensorProto.EXTERNAL
        ]
        found = external_tensors(file.read_bytes())
        assert [(t.name, t.shape) for t in found] == [(t.name, tuple(t.dims)) for t in tensors]
        for ours, theirs in zip(found, tensors, strict=True):
            entries = {entry.key: entry.value for entry in theirs.external_data}
            assert entries == {"location": ours.location, "offset": str(ours.offset), "length": str(ours.length)}
            assert re.sub("float", "FLOAT", ours.dtype).replace("32", "") == TensorProto.DataType.Name(theirs.data_type)


def test_the_shipped_bundle_opens():
    assert read_bundle(BOTTLE).manifest.product == "bottle"
