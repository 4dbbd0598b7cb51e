"""Engines from the real TensorRT-RTX builder, which needs no GPU; how far they can be read back without one."""

import hashlib
import json
import re
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import onnx
import pytest
import tensorrt_rtx
from onnx import TensorProto, helper, numpy_helper

from seas_runtime import device
from seas_runtime.backends.tensorrt import library
from seas_runtime.backends.tensorrt.build import build, precision_of, preflight, profiles
from seas_runtime.backends.tensorrt.compiler import _late_interrupt
from seas_runtime.backends.tensorrt.engine_set import find_engines, read_engines
from seas_runtime.bundle.reader import read_bundle, write_manifest
from seas_runtime.errors import OutputError
from seas_runtime.files import TEMPORARY_SUFFIX, locked
from tests.runtime.building import BOTTLE, GENERATIONS, GRAPHS, RTX, check_engine, seas_engine, start_build
from tests.runtime.own_process import FORBIDDEN, loaded
from tests.runtime.small_bundle import RGB, manifest_fields


@pytest.fixture(scope="module")
def built(pristine, tmp_path_factory):
    """The small bundle with engines for every default batch, and what the build said."""
    folder = shutil.copytree(pristine, tmp_path_factory.mktemp("built") / "tile.plan")
    said = []
    return build(folder, "rtx", GENERATIONS, progress=said.append), said


@pytest.fixture(scope="module")
def bottle(tmp_path_factory):
    """The shipped bundle with engines."""
    folder = shutil.copytree(BOTTLE, tmp_path_factory.mktemp("built") / "bottle.plan", ignore=shutil.ignore_patterns("engines"))
    build(folder, "rtx", GENERATIONS, batches=(2,))
    return folder


def test_the_shipped_bundle_becomes_engines_for_three_generations(bottle):
    engines = read_engines(read_bundle(bottle), "rtx", RTX)
    assert engines.facts.gpus == GENERATIONS
    for graph in GRAPHS:
        data = engines.file(graph).read_bytes()
        check_engine(data, GENERATIONS)
        model = onnx.load(BOTTLE / f"{graph}.onnx", load_external_data=False)
        for value in (*model.graph.input, *model.graph.output):
            assert value.name.encode() in data
        weights = sum(np.prod(tensor.dims) * 4 for tensor in model.graph.initializer if tensor.external_data)
        assert len(data) > weights  # the engine carries them, in fp32


def test_engines_json_says_what_was_built(built):
    engines, said = built
    facts = json.loads((engines.path / "engines.json").read_text())
    assert engines.path.name == f"rtx-{RTX}"
    assert sorted(path.name for path in engines.path.iterdir()) == sorted(
        ["engines.json", *(f"{graph}.engine" for graph in GRAPHS)]
    )
    assert (facts["flavour"], facts["version"], facts["device"]) == ("rtx", tensorrt_rtx.__version__, None)
    assert facts["gpus"] == list(GENERATIONS)
    assert facts["batches"] == [1, 4, 8, 16]
    assert facts["core"] == json.loads((engines.path.parents[1] / "manifest.json").read_text())["digest"]
    for graph, entry in facts["graphs"].items():
        data = (engines.path / entry["file"]).read_bytes()
        assert (entry["bytes"], entry["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
        assert entry["precision"] == "fp32"
        assert entry["settings"] == {
            "strongly_typed": True, "refit": False, "tf32": False, "timing_cache": False,
        }  # fmt: skip
        tuned = [2, 8, 16, 32] if graph == "unet" else [1, 4, 8, 16]
        assert [profile["opt"] for profile in entry["profiles"]] == tuned
        check_engine(data, GENERATIONS)
        assert set(re.findall(rb"\[profile (\d+)\]", data)) == {b"1", b"2", b"3"}  # beside the first
    assert find_engines(read_bundle(engines.path.parents[1]))[0].engines == engines
    assert said[0] == "preflight"
    assert [line.split(":")[0].split(" (")[0] for line in said[1:]] == [name for name in GRAPHS for _ in "12"]
    assert all(re.fullmatch(r"\w+: \d+\.\d s, \d+\.\d MB", line) for line in said[2::2])


@pytest.mark.parametrize("batches", [(1, 4, 8, 16), (16,), (1,), (2, 3, 7), (5, 256)])
def test_profiles_take_every_number_of_pairs_once(batches):
    for graph, rows_of_a_pair in (("unet", 2), ("unet", 1), ("decoder", 1), ("mask_branch", 1)):
        made = profiles(graph, batches)
        assert len(made) == len(batches)
        for pairs in range(1, batches[-1] + 1):
            rows = pairs * rows_of_a_pair
            assert sum(profile.min <= rows <= profile.max for profile in made) == 1
    for pairs in batches:
        assert 2 * pairs in [profile.opt for profile in profiles("unet", batches)]


def test_an_engine_cannot_be_opened_without_a_driver(built):
    """With a GPU it is opened, and has the inputs and profiles of engines.json."""
    engines, _ = built
    runtime = tensorrt_rtx.Runtime(library.load("rtx").logger)
    opened = runtime.deserialize_cuda_engine(engines.file("unet").read_bytes())
    if device.current_gpu() is None:
        assert opened is None
    else:
        assert opened.num_optimization_profiles == 4
        assert opened.get_tensor_profile_shape("timestep", 3) == [(17,), (32,), (32,)]


def test_default_and_all_gpus(plan_folder):
    first = build(plan_folder, batches=[1])
    assert first.facts.gpus == ("sm80", "sm86", "sm89", "sm120", "sm121")
    again = build(plan_folder, gpus=["sm120", "ALL"], batches=[1], replace=True)
    assert again.facts.gpus == ("sm75", "sm80", "sm86", "sm89", "sm120", "sm121")
    check_engine(again.file("decoder").read_bytes(), again.facts.gpus)
    assert [path.name for path in (plan_folder / "engines").iterdir()] == [f"rtx-{RTX}"]


def test_fp16_graphs_are_taken_where_there_are_some(plan_folder):
    """The decoder in half precision, its nodes named after a module."""
    node = helper.make_node
    values = [
        helper.make_tensor_value_info(spec["name"], TensorProto.FLOAT, spec["shape"])
        for key in ("inputs", "outputs")
        for spec in manifest_fields()["graphs"]["decoder"][key]
    ]
    rgb = numpy_helper.from_array(RGB[:, :, None, None].astype(np.float16), "rgb16")
    scales = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")
    nodes = [
        node("Cast", ["latent"], ["half"], "decoder.cast/Cast_0", to=TensorProto.FLOAT16),
        node("Conv", ["half", "rgb16"], ["small"], "decoder.rgb/Conv_1"),
        node("Resize", ["small", "", "scales"], ["big"], "decoder.up/Resize_2", mode="nearest"),
        node("Cast", ["big"], ["image"], "decoder.cast/Cast_3", to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(nodes, "decoder", values[:1], values[1:], [rgb, scales])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, plan_folder / "decoder.fp16.onnx")
    fields = manifest_fields()
    fields["graphs"]["decoder"]["files"]["fp16"] = "decoder.fp16.onnx"
    manifest = write_manifest(plan_folder, fields)
    assert {name: precision_of(graph) for name, graph in manifest.graphs.items()} == {
        "unet": "fp32", "decoder": "fp16", "mask_branch": "fp32",
    }  # fmt: skip
    engines = build(plan_folder, batches=[2])
    entries = engines.facts.graphs
    assert (entries["decoder"].precision, entries["decoder"].settings.tf32) == ("fp16", True)
    assert (entries["unet"].precision, entries["unet"].settings.tf32) == ("fp32", False)
    assert b"decoder.rgb/Conv_1" in engines.file("decoder").read_bytes()


def test_every_graph_of_the_shipped_bundle_parses():
    bundle = read_bundle(BOTTLE)
    assert len(bundle.manifest.graphs) == 5
    assert preflight(bundle) == ()


def test_engines_there_already_stay_unless_replaced(built, tmp_path):
    folder = shutil.copytree(built[0].path.parents[1], tmp_path / "tile.plan")
    before = (folder / "engines" / f"rtx-{RTX}" / "unet.engine").read_bytes()
    result = seas_engine("build", folder)
    assert result.exit_code == 5
    assert "exists already; --replace builds it again" in result.output
    assert (folder / "engines" / f"rtx-{RTX}" / "unet.engine").read_bytes() == before
    (folder / "engines" / f"rtx-{RTX}" / "unet.engine").write_bytes(b"spoiled")
    assert "unfit: unet.engine has 7 bytes" in seas_engine("inspect", folder).output
    result = seas_engine("build", folder, "--replace", "--batch", "2", "--gpu", "sm89")
    assert result.exit_code == 0, result.output
    assert read_engines(read_bundle(folder), "rtx", RTX).facts.batches == (2,)
    assert [path.name for path in (folder / "engines").iterdir()] == [f"rtx-{RTX}"]


def test_a_failing_rebuild_keeps_the_old_engines(built, tmp_path):
    folder = shutil.copytree(built[0].path.parents[1], tmp_path / "tile.plan")
    with pytest.raises(OutputError, match="another run is writing here"), locked(folder / "engines"):
        build(folder, replace=True)
    assert read_engines(read_bundle(folder), "rtx", RTX).facts == built[0].facts


def test_what_a_killed_build_left_is_cleared(plan_folder):
    left = plan_folder / "engines" / f"rtx-1.6.0{TEMPORARY_SUFFIX}"
    left.mkdir(parents=True)
    (left / "unet.engine").write_bytes(b"half")
    (plan_folder / "engines" / f"rtx-1.5.0.old{TEMPORARY_SUFFIX}").symlink_to("nowhere")
    assert find_engines(read_bundle(plan_folder)) == []
    build(plan_folder, batches=[1], gpus=["sm89"])
    assert [path.name for path in (plan_folder / "engines").iterdir()] == [f"rtx-{RTX}"]


def test_an_interrupt_waits_for_the_builder():
    went_on = []

    def interrupted():
        with _late_interrupt() as stop:
            signal.raise_signal(signal.SIGINT)
            went_on.append(stop.is_set())

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert went_on == [True]
        with _late_interrupt() as stop:
            pass
        assert not stop.is_set()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in a shell's background job
        with _late_interrupt() as stop:
            signal.raise_signal(signal.SIGINT)
        assert not stop.is_set()
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_build_outside_the_main_thread(plan_folder):
    """Where no signal handler can be set."""
    with ThreadPoolExecutor(1) as pool:
        engines = pool.submit(build, plan_folder, gpus=["sm89"], batches=[1]).result()
    check_engine(engines.file("unet").read_bytes(), ["sm89"])


def test_an_interrupt_leaves_nothing(plan_folder):
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background job ignores it
    process = start_build(plan_folder, "--batch", ",".join(map(str, range(1, 17))), before=heed)
    limit = time.monotonic() + 30
    while not list(plan_folder.glob(f"engines/*{TEMPORARY_SUFFIX}")) and time.monotonic() < limit:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "")
    assert errors.endswith("Interrupted: nothing unfinished was left behind.\n")
    assert errors.count("Interrupted") == 1
    assert not (plan_folder / "engines").exists()


BUILD = """
import json, sys
before = set(sys.modules)
from seas_runtime.backends.tensorrt.build import build
build({folder!r}, batches=[2])
loaded = {{name for name, module in sys.modules.items() if module is not None}}  # None stands for one that is kept out
new = {{name.split(".")[0] for name in loaded - before}} - set(sys.stdlib_module_names)
print(json.dumps(sorted(name for name in new if not name.startswith("_sysconfigdata"))))
"""


def test_a_build_needs_the_base_packages_and_tensorrt_alone(plan_folder):
    modules = set(loaded(BUILD.format(folder=str(plan_folder))))
    assert not modules & set(FORBIDDEN)
    assert {"tensorrt_rtx", "tensorrt_rtx_bindings", "tensorrt_rtx_libs", "seas_runtime"} <= modules
    base = {"annotated_types", "click", "numpy", "pydantic", "pydantic_core", "safetensors"}
    assert modules - base - {"typing_extensions", "typing_inspection", "seas_runtime"} == {
        "tensorrt_rtx", "tensorrt_rtx_bindings", "tensorrt_rtx_libs",
    }  # fmt: skip


def test_reading_engines_and_importing_the_builder_load_no_tensorrt():
    modules = loaded("import json, sys, seas_runtime.backends.tensorrt.build; print(json.dumps(sorted(sys.modules)))")
    assert [name for name in modules if name.split(".")[0] in (*FORBIDDEN, "tensorrt", "tensorrt_rtx")] == []


def test_the_command(plan_folder):
    result = seas_engine("build", plan_folder, "--gpu", "sm86, SM89", "--batch", "4,1,4")
    assert result.exit_code == 0, result.output
    folder = plan_folder / "engines" / f"rtx-{RTX}"
    size = sum(file.stat().st_size for file in folder.glob("*.engine")) / 1e6
    line = rf"{folder}: sm86 sm89, fp32, batches 1 4, {size:.1f} MB, \d+ s\n"
    assert re.fullmatch(line, result.stdout)
    assert f"engines     rtx-{RTX}: sm86 sm89, fp32" in seas_engine("inspect", plan_folder).output
    assert f"TensorRT-RTX {RTX}" in seas_engine("doctor").output
    assert read_bundle(plan_folder)  # the core is as it was


def test_help_has_examples():
    shown = seas_engine("build", "--help").output
    for word in ("Examples:", "--gpu sm86,sm89,sm120", "--variant tensorrt", "1,4,8,16", "--replace"):
        assert word in shown
