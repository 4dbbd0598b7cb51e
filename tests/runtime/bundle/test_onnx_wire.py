"""External data hidden in every place an ONNX file has room for it."""

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from seas_runtime.bundle.onnx_wire import MAX_DEPTH, graph_values, survey


def outside(path="../../etc/passwd"):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="offset", value="0")
    tensor.external_data.add(key="location", value=path)
    return tensor


def sparse():
    return onnx.SparseTensorProto(values=outside(), indices=outside("indices"), dims=[4])


def constant(**attribute):
    node = onnx.NodeProto(op_type="Constant", output=["c"])
    node.attribute.add(name="value", **attribute)
    return node


def graph(*nodes, **fields):
    return onnx.GraphProto(name="g", node=nodes, **fields)


ESCAPE = "../../etc/passwd"
PLACES = {
    "initializer": (onnx.ModelProto(graph=graph(initializer=[outside()])), {ESCAPE}),
    "sparse initializer": (onnx.ModelProto(graph=graph(sparse_initializer=[sparse()])), {ESCAPE, "indices"}),
    "attribute tensor": (onnx.ModelProto(graph=graph(constant(t=outside()))), {ESCAPE}),
    "attribute tensors": (
        onnx.ModelProto(graph=graph(constant(tensors=[outside("a"), outside()]))),
        {ESCAPE, "a"},
    ),
    "attribute sparse": (onnx.ModelProto(graph=graph(constant(sparse_tensor=sparse()))), {ESCAPE, "indices"}),
    "attribute sparse list": (
        onnx.ModelProto(graph=graph(constant(sparse_tensors=[sparse()]))),
        {ESCAPE, "indices"},
    ),
    "subgraph": (
        onnx.ModelProto(graph=graph(constant(g=graph(constant(t=outside()), initializer=[outside("b")])))),
        {ESCAPE, "b"},
    ),
    "subgraphs": (
        onnx.ModelProto(graph=graph(constant(graphs=[graph(), graph(initializer=[outside()])]))),
        {ESCAPE},
    ),
    "function": (
        onnx.ModelProto(functions=[onnx.FunctionProto(name="f", node=[constant(t=outside())])]),
        {ESCAPE},
    ),
    "function default": (
        onnx.ModelProto(functions=[onnx.FunctionProto(name="f", attribute_proto=[onnx.AttributeProto(name="a", t=outside())])]),
        {ESCAPE},
    ),
    "training": (
        onnx.ModelProto(
            training_info=[
                onnx.TrainingInfoProto(initialization=graph(initializer=[outside()]), algorithm=graph(constant(t=outside("z"))))
            ]
        ),
        {ESCAPE, "z"},
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_external_data_is_found(place):
    model, expected = PLACES[place]
    assert survey(model.SerializeToString()).locations == expected


def test_a_location_counts_even_where_the_tensor_says_it_is_inline():
    tensor = outside()
    tensor.data_location = TensorProto.DEFAULT
    assert survey(onnx.ModelProto(graph=graph(initializer=[tensor])).SerializeToString()).locations == {ESCAPE}


def test_every_copy_of_a_repeated_field_is_seen():
    """Protobuf merges copies of one message, so that a path may hide in the second."""
    first = onnx.ModelProto(graph=graph(initializer=[outside("a")])).SerializeToString()
    second = onnx.ModelProto(graph=graph(initializer=[outside("b")])).SerializeToString()
    assert survey(first + second).locations == {"a", "b"}


def test_nothing_is_found_where_nothing_is():
    tensor = helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0])
    assert survey(onnx.ModelProto(graph=graph(initializer=[tensor])).SerializeToString()).locations == set()


def test_deep_nesting_is_refused():
    data = graph(initializer=[outside()]).SerializeToString()
    for _ in range(MAX_DEPTH // 3 + 1):
        for field in (6, 5, 1):  # a graph in an attribute in a node in a graph
            size = len(data)
            data = bytes([field << 3 | 2, size & 0x7F | 0x80, size >> 7]) + data
    size = len(data)
    with pytest.raises(ValueError, match="nested deeper"):
        survey(bytes([7 << 3 | 2, size & 0x7F | 0x80, size >> 7]) + data)


def test_keys_that_other_readers_cut_to_32_bits_are_refused():
    payload = graph(initializer=[outside()]).SerializeToString()
    key = (1 << 32) | (7 << 3) | 2
    varint = bytes([(key >> shift) & 0x7F | 0x80 for shift in (0, 7, 14, 21)]) + bytes([key >> 28])
    size = bytes([len(payload)])
    assert len(payload) < 128
    with pytest.raises(ValueError, match="field key"):
        survey(varint + size + payload)


@given(st.binary(max_size=200))
def test_any_bytes_give_an_answer_or_a_value_error(data):
    for read in (survey, graph_values):
        try:
            read(data)
        except ValueError:
            continue


@given(st.data())
def test_a_damaged_model_gives_an_answer_or_a_value_error(data):
    raw = bytearray(PLACES["subgraph"][0].SerializeToString())
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        survey(bytes(raw[: data.draw(st.integers(0, len(raw)))]))
    except ValueError:
        return


def test_values_are_read_as_onnx_reads_them():
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT16, ["n", 4, None]),
        helper.make_tensor_value_info("t", TensorProto.INT64, []),
    ]
    model = helper.make_model(helper.make_graph([], "g", inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, [0, 300])]))
    (x, t), (y,) = graph_values(model.SerializeToString())
    assert (x.name, x.dtype, x.shape) == ("x", "float16", ("n", 4, None))
    assert (t.name, t.dtype, t.shape) == ("t", "int64", ())
    assert (y.dtype, y.shape) == ("float32", (0, 300))
