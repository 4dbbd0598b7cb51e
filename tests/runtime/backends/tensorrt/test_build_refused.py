"""Builds that must not be: nodes that TensorRT does not know, bad bundles, options and disks."""

import resource
import shutil
from functools import partial

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from seas_runtime.backends.tensorrt.build import build, preflight
from seas_runtime.bundle.reader import read_bundle, write_manifest
from seas_runtime.errors import BackendError, BundleError, OutputError, SettingsError
from tests.runtime.building import BOTTLE, build_refused, seas_engine, start_build


@pytest.mark.usefixtures("any_operator")
def test_preflight_names_every_unsupported_node_and_its_module(edit_graph, plan_folder):
    def add(model):
        name = "unet.down_blocks.0.resnets.1.conv1/Unique_12"
        model.graph.node.append(helper.make_node("Unique", ["sample"], ["u"], name=name))
        model.graph.node.append(helper.make_node("Det", ["sample"], ["v"], name="node_det_3"))
        model.graph.node.append(helper.make_node("Bend", ["sample"], ["w"], domain="own"))
        model.opset_import.append(helper.make_opsetid("own", 1))

    edit_graph(add)
    found = preflight(read_bundle(plan_folder))
    assert [str(node) for node in found[:2]] == [
        "unet: node 'unet.down_blocks.0.resnets.1.conv1/Unique_12' "
        "(Unique, module unet.down_blocks.0.resnets.1.conv1): not supported",
        "unet: node 'node_det_3' (Det): not supported",
    ]
    assert found[2].node == "number 11"
    assert "Plugin not found" in found[2].reason
    build_refused(BackendError, plan_folder, *map(str, found), "cannot read this bundle", "--backend cuda")


@pytest.mark.usefixtures("any_operator")
def test_preflight_reads_the_graphs_of_which_no_engine_is_built(tmp_path):
    folder = shutil.copytree(BOTTLE, tmp_path / "bottle.plan", ignore=shutil.ignore_patterns("engines"))
    model = onnx.load(folder / "mask_head.fp16.onnx", load_external_data=False)
    model.graph.node.append(helper.make_node("Det", ["up2"], ["odd"], name="masks.coarse/Det_9"))
    (folder / "mask_head.fp16.onnx").write_bytes(model.SerializeToString())
    fields = read_bundle(BOTTLE).manifest.model_dump(mode="json", exclude={"files", "digest"})
    write_manifest(folder, fields)
    build_refused(BackendError, folder, "mask_head: node 'masks.coarse/Det_9' (Det, module masks.coarse)")


def test_a_failure_of_the_builder_names_the_module(edit_graph, plan_folder):
    """Turing has no matrix product in fp32."""

    def multiply(model):
        name = "unet.mid_block.attentions.0.to_q/MatMul_7"
        model.graph.node.insert(0, helper.make_node("MatMul", ["prompt", "square"], ["turned"], name=name))
        next(node for node in model.graph.node if node.input[0] == "prompt" and node.op_type != "MatMul").input[0] = "turned"
        square = np.random.default_rng(0).normal(size=(5, 5)).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(square, "square"))

    edit_graph(multiply)
    words = ("unet, module unet.mid_block.attentions.0.to_q:", "Turing", "leave sm75 out of --gpu", "--fp16")
    build_refused(BackendError, plan_folder, *words, gpus=["sm75"], batches=[1])


@pytest.mark.parametrize("gpu", ["sm70", "sm90", "sm100", "foo", "86", "", "current", "none"])
def test_an_unknown_gpu(plan_folder, gpu):
    known = "sm75, sm80, sm86, sm89, sm120, sm121 or all expected"
    words = (repr(gpu), known, "for sm90 and sm100 use --variant tensorrt on that GPU itself")
    build_refused(SettingsError, plan_folder, *words, gpus=["sm86", gpu])


@pytest.mark.parametrize("batches", [(), (0,), (4, -1), (257,)])
def test_batches_out_of_range(plan_folder, batches):
    build_refused(SettingsError, plan_folder, str(list(batches)), "1 to 256", batches=batches)


def test_bad_bundles(plan_folder, tmp_path):
    with pytest.raises(BundleError, match="no such bundle folder"):
        build(tmp_path / "none.plan")
    assert not (tmp_path / "none.plan").exists()
    (plan_folder / "weights.bin").write_bytes(b"x")
    build_refused(BundleError, plan_folder, "weights.bin")


def test_places_that_cannot_be_written(plan_folder, tmp_path):
    engines = plan_folder / "engines"
    engines.write_text("x")
    with pytest.raises(OutputError, match="engines: File exists"):
        build(plan_folder)
    engines.unlink()
    engines.symlink_to(tmp_path)
    with pytest.raises(OutputError, match="engines: a link"):
        build(plan_folder)
    assert [path.name for path in tmp_path.iterdir()] == ["tile.plan"]


def test_a_full_disk(plan_folder):
    """No file may grow beyond 200 kB: the first engine does not fit."""
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (200_000, 200_000))
    process = start_build(plan_folder, "--batch", "1", "--gpu", "sm89", before=limit)
    said, errors = process.communicate(timeout=60)
    assert (process.returncode, said) == (5, "")
    *stages, last = errors.splitlines()
    assert last.startswith("Error: ")
    assert "File too large" in last
    assert not any("Error" in line for line in stages)
    assert not (plan_folder / "engines").exists()


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        (("--variant", "onnx"), 2, "--variant"),
        (("--batch", "1,x"), 2, "numbers and commas expected, as in 1,4,8"),
        (("--batch", ""), 2, "numbers and commas expected"),
        (("--batch", "0"), 2, "1 to 256"),
        (("--gpu", "sm90"), 2, "sm75, sm80, sm86"),
        (("--gpu", "sm86,"), 2, "''"),
        (("--surprise",), 2, "--surprise"),
    ],
)
def test_wrong_options(plan_folder, words, code, named):
    result = seas_engine("build", plan_folder, *words)
    assert result.exit_code == code
    assert named in result.output
    assert not (plan_folder / "engines").exists()
