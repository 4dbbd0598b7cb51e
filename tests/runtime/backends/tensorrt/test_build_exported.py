"""What seas-export makes today, in the real TensorRT-RTX: the fp16 graphs of a small trained run."""

import re
import shutil

import onnx

from seas_runtime.backends.tensorrt.build import build, preflight
from seas_runtime.bundle.reader import read_bundle
from tests.runtime.building import GENERATIONS, GRAPHS, check_engine


def test_an_exported_fp16_bundle_becomes_engines_for_three_generations(plan, tmp_path):
    folder = shutil.copytree(plan, tmp_path / "small.plan")
    bundle = read_bundle(folder)
    assert {tuple(sorted(graph.files)) for graph in bundle.manifest.graphs.values()} == {("fp16", "fp32")}
    assert len(bundle.manifest.graphs) == 5
    assert preflight(bundle) == ()
    engines = build(folder, "rtx", GENERATIONS, batches=[2])
    for graph in GRAPHS:
        assert engines.facts.graphs[graph].precision == "fp16"
        data = engines.file(graph).read_bytes()
        check_engine(data, GENERATIONS)
        model = onnx.load(folder / f"{graph}.fp16.onnx", load_external_data=False)
        modules = {node.name.rpartition("/")[0].encode() for node in model.graph.node} - {b""}
        named = {name.rpartition(b"/")[0] for name in re.findall(rb"\[ONNX Layer: ([^\]]+)\]", data)}
        assert len(named & modules) > len(modules) / 2  # an engine's layers still tell the module they came from
