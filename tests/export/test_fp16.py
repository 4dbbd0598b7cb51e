"""The fp16 form of a graph: which nodes compute in what, on hand-made graphs with values known from NumPy."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from seas_export import fp16, fp16_ranges, fp16_rounding
from seas_export.session import open_graph

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def save(folder, nodes, outputs, constants=(), inputs=("x",), name="graph.onnx"):
    """A graph over inputs (n, 4) float32."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(i, FLOAT, ["n", 4]) for i in inputs],
        [helper.make_tensor_value_info(o, FLOAT, ["n", 4]) for o in outputs],
        [numpy_helper.from_array(np.asarray(value, np.float32), key) for key, value in dict(constants).items()],
    )
    model = onnx.shape_inference.infer_shapes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10))
    onnx.save(model, folder / name)
    return folder / name


def run(path, **feeds):
    """The fp16 graph with every rounding, as it is measured."""
    return open_graph(fp16_rounding.spell_out(path), path.parent).run(None, feeds)


def dtype_of(path, tensor):
    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    known = {v.name: v.type.tensor_type.elem_type for v in (*model.graph.value_info, *model.graph.output, *model.graph.input)}
    return known[tensor]


SCALE_AND_SHIFT = [
    helper.make_node("Mul", ["x", "w"], ["y"], name="a/Mul"),
    helper.make_node("Add", ["y", "b"], ["z"], name="b/Add"),
]
CONSTANTS = {"w": [3.0, 1 / 3, 0.1, 7.0], "b": [0.1, 0.2, 0.3, 0.4]}


def test_arithmetic_is_that_of_float16(tmp_path):
    source = save(tmp_path, SCALE_AND_SHIFT, ["z"], CONSTANTS)
    fp16.convert(source, tmp_path / "half.onnx", set())
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    (found,) = run(tmp_path / "half.onnx", x=x)
    w, b = (np.asarray(CONSTANTS[key], np.float16) for key in "wb")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, (x.astype(np.float16) * w + b).astype(np.float32))
    assert dtype_of(tmp_path / "half.onnx", "y") == HALF


def test_kept_modules_compute_in_fp32(tmp_path):
    source = save(tmp_path, SCALE_AND_SHIFT, ["z"], CONSTANTS)
    kept = fp16.convert(source, tmp_path / "half.onnx", {"a", "elsewhere"})
    assert kept == {"a"}
    assert dtype_of(tmp_path / "half.onnx", "y") == FLOAT
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    (found,) = run(tmp_path / "half.onnx", x=x)
    y = x * np.asarray(CONSTANTS["w"], np.float32)
    np.testing.assert_array_equal(found, (y.astype(np.float16) + np.asarray(CONSTANTS["b"], np.float16)).astype(np.float32))


def test_angles_stay_in_fp32(tmp_path):
    nodes = [
        helper.make_node("Mul", ["x", "w"], ["angle"], name="time/Mul"),
        helper.make_node("Sin", ["angle"], ["s"], name="time/Sin"),
        helper.make_node("Mul", ["s", "b"], ["z"], name="later/Mul"),
    ]
    source = save(tmp_path, nodes, ["z"], CONSTANTS)
    assert fp16.convert(source, tmp_path / "half.onnx", set()) == {"time"}
    x = np.full((1, 4), 977.0, np.float32)
    (found,) = run(tmp_path / "half.onnx", x=x)
    exact = np.sin(x * np.asarray(CONSTANTS["w"], np.float32)) * np.asarray(CONSTANTS["b"])
    np.testing.assert_allclose(found, exact, atol=1e-3)  # an angle in fp16 would be wrong in the first digit


def test_scales_of_a_resize_stay_float32(tmp_path):
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["image"], name="up/Reshape"),
        helper.make_node("Resize", ["image", "", "scales"], ["big"], name="up/Resize", mode="linear"),
        helper.make_node("ReduceMean", ["big", "axes"], ["z"], name="up/ReduceMean", keepdims=0),
    ]
    path = save(tmp_path, nodes, ["z"], {"scales": [1.0, 1.0, 2.0, 2.0]})
    model = onnx.load(path)
    for name, value in (("shape", [-1, 4, 1, 1]), ("axes", [2, 3])):
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value, np.int64), name))
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    fp16.convert(path, tmp_path / "half.onnx", set())
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    (found,) = run(tmp_path / "half.onnx", x=x)
    np.testing.assert_array_equal(found, x)
    onnx.checker.check_model(str(tmp_path / "half.onnx"), full_check=True)


def test_magnitudes_are_those_of_every_tensor(tmp_path):
    source = save(tmp_path, SCALE_AND_SHIFT, ["z"], CONSTANTS)
    inputs = [{"x": torch.tensor([[1.0, 2.0, -4.0, 3.0]])}, {"x": torch.tensor([[-100.0, 0.0, 0.0, 0.0]])}]
    found = fp16_ranges.largest(source, inputs)
    assert found == {"a": pytest.approx(300.0), "b": pytest.approx(300.0)}  # |3 * -100|, made by a and read by b
    assert sorted(p.name for p in tmp_path.iterdir()) == ["graph.onnx"]


def test_magnitude_of_what_is_no_number_is_infinite(tmp_path):
    nodes = [helper.make_node("Log", ["x"], ["z"], name="a/Log")]
    found = fp16_ranges.largest(save(tmp_path, nodes, ["z"]), [{"x": torch.tensor([[-1.0, 1.0, 1.0, 1.0]])}])
    assert found == {"a": np.inf}
    assert fp16_ranges.overflowing(found) == {"a": np.inf}


def test_a_module_that_would_overflow_is_found_and_survives(tmp_path):
    """x^2 of 300 is 90,000: beyond fp16 inside the chain, harmless after it."""
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["square"], name="mrm/Mul"),
        helper.make_node("Sqrt", ["square"], ["root"], name="mrm/Sqrt"),
        helper.make_node("Mul", ["root", "w"], ["z"], name="after/Mul"),
    ]
    source = save(tmp_path, nodes, ["z"], {"w": [0.5, 0.5, 0.5, 0.5]})
    x = torch.tensor([[300.0, 200.0, 2.0, 1.0]])
    places = set(fp16_ranges.overflowing(fp16_ranges.largest(source, [{"x": x}])))
    assert places == {"mrm"}
    for name, kept in (("careless", set()), ("careful", places)):
        fp16.convert(source, tmp_path / f"{name}.onnx", kept)
    assert np.isinf(run(tmp_path / "careless.onnx", x=x.numpy())[0][0, 0])
    np.testing.assert_allclose(run(tmp_path / "careful.onnx", x=x.numpy())[0], x.numpy() / 2)


def test_headroom_is_sixteen():
    assert fp16_ranges.overflowing({"below": 65504 / 16, "above": 65504 / 16 + 1}) == {"above": 65504 / 16 + 1}
