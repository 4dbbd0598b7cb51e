import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from seas_runtime.backends import backend_module, mnn_convert, open_backend
from seas_runtime.bundle.onnx_inline import external_bytes, write_inline
from seas_runtime.bundle.reader import read_bundle
from seas_runtime.errors import BackendError
from tests.runtime import small_bundle
from tests.runtime.engine_checks import (
    MNN,
    check_graphs,
    check_missing,
    check_parity,
    check_refuses_wrong_shapes,
    pairs,
)
from tests.runtime.own_process import printed
from tests.runtime.small_bundle import change_graph, two_sums


@pytest.fixture
def bundle(mnn_bundle):
    return mnn_bundle


def kept(cache):
    return sorted(path for path in cache.rglob("*") if path.is_file())


def half_weights(folder):
    """Store the decoder's weight as `seas-export --fp16` does: float16 in a file beside, cast in the graph."""
    raw = small_bundle.RGB.astype(np.float16).tobytes()
    (folder / "half.bin").write_bytes(b"\0" * 4 + raw)
    tensor = TensorProto(name="rgb.half", data_type=TensorProto.FLOAT16, dims=[3, 2, 1, 1])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "half.bin"), ("offset", 4), ("length", len(raw))):
        tensor.external_data.add(key=key, value=str(value))

    def change(model):
        rest = [entry for entry in model.graph.initializer if entry.name != "rgb"]
        del model.graph.initializer[:]
        model.graph.initializer.extend([*rest, tensor])
        model.graph.node.insert(0, helper.make_node("Cast", ["rgb.half"], ["rgb"], to=TensorProto.FLOAT))

    change_graph(folder, two_sums)
    change_graph(folder, change, "decoder.onnx")
    return read_bundle(folder)


def test_graphs_give_their_arithmetic(bundle, cache):
    check_graphs(open_backend("mnn", bundle, 1))


def test_pairs_are_those_of_onnxruntime(bundle, cache):
    check_parity(pairs(bundle, "mnn"), pairs(bundle, "cpu"))


def test_wrong_shapes_are_refused(bundle, cache):
    check_refuses_wrong_shapes(open_backend("mnn", bundle, 1))


def test_half_weights_keep_their_values(plan_folder, cache):
    """MNN's converter alone reads weights of 1e-5 to 1e4 where these lie."""
    latent = np.random.default_rng(0).normal(size=(2, 2, 4, 4)).astype(np.float32)
    backend = open_backend("mnn", half_weights(plan_folder), 1)
    expected = np.einsum("oc,nchw->nohw", small_bundle.RGB.astype(np.float16).astype(np.float32), latent)
    (image,) = backend.run("decoder", {"latent": latent}, ("image",)).values()
    np.testing.assert_allclose(image, expected.repeat(2, axis=2).repeat(2, axis=3), rtol=1e-5, atol=1e-6)


def test_the_file_with_weights_inside_is_what_onnx_reads(plan_folder, tmp_path):
    half_weights(plan_folder)
    for graph, sizes in (("decoder", (12, 0)), ("unet", (0, 16))):
        source = plan_folder / f"{graph}.onnx"
        assert external_bytes(source.read_bytes()) == sizes
        write_inline(source, tmp_path / "whole.onnx")
        ours, theirs = onnx.load(tmp_path / "whole.onnx"), onnx.load(source)
        onnx.checker.check_model(ours)
        for mine, his in zip(ours.graph.initializer, theirs.graph.initializer, strict=True):
            assert (mine.name, mine.data_type) == (his.name, his.data_type)
            np.testing.assert_array_equal(numpy_helper.to_array(mine), numpy_helper.to_array(his))
        del ours.graph.initializer[:], theirs.graph.initializer[:]
        assert ours == theirs


def test_weights_that_are_cut_short(plan_folder, tmp_path):
    half_weights(plan_folder)
    (plan_folder / "half.bin").write_bytes(b"\0" * 15)
    with pytest.raises(ValueError, match=r"half\.bin ends before byte 16"):
        write_inline(plan_folder / "decoder.onnx", tmp_path / "whole.onnx")


def test_what_is_converted_is_kept_and_used_again(bundle, cache, monkeypatch):
    open_backend("mnn", bundle, 1)
    files = kept(cache)
    folder = cache / "seas" / f"mnn-{MNN}" / bundle.manifest.digest
    assert [(file.parent, file.name.split("-")[0], file.suffix) for file in files] == [
        (folder, graph, ".mnn") for graph in ("decoder", "mask_branch", "unet")
    ]
    monkeypatch.setattr(mnn_convert, "_convert", lambda *_: pytest.fail("converted again"))
    check_graphs(open_backend("mnn", bundle, 1))
    assert kept(cache) == files


@pytest.mark.parametrize("spoil", [lambda data: data[:-1], lambda data: data[:-9] + b"\xff" + data[-8:], lambda _: b""])
def test_a_damaged_cache_is_made_again(bundle, cache, spoil):
    open_backend("mnn", bundle, 1)
    files = kept(cache)
    whole = files[0].read_bytes()
    files[0].write_bytes(spoil(whole))
    check_graphs(open_backend("mnn", bundle, 1))
    assert len(kept(cache)) == 3
    assert all(file.stem.endswith(mnn_convert._sha256(file)) for file in kept(cache))


def test_another_bundle_gets_its_own(bundle, cache):
    open_backend("mnn", bundle, 1)
    other = shutil.copytree(bundle.path, cache.parent / "other.plan")
    change_graph(other, lambda model: setattr(model.graph.node[-1], "op_type", "Neg"), "decoder.onnx")
    latent = np.ones((1, 2, 4, 4), np.float32)
    (image,) = open_backend("mnn", read_bundle(other), 1).run("decoder", {"latent": latent}, ("image",)).values()
    np.testing.assert_allclose(image, -small_bundle.decoder(latent), rtol=1e-5)


def test_a_graph_that_it_gets_wrong_is_refused(pristine, cache):
    """MNN does not broadcast in a sum of three tensors and does not say so."""
    with pytest.raises(BackendError, match=r"unet: MNN computes another noise than ONNX Runtime") as caught:
        open_backend("mnn", read_bundle(pristine), 1)
    assert caught.value.exit_code == 4
    assert kept(cache) == []


def test_a_new_graph_cannot_be_checked_without_onnxruntime(bundle, cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BackendError, match="pip install onnxruntime"):
        open_backend("mnn", bundle, 1)
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    open_backend("mnn", bundle, 1)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    check_graphs(open_backend("mnn", bundle, 1))


def test_a_cache_that_cannot_be_written_costs_only_time(bundle, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    check_graphs(open_backend("mnn", bundle, 1))


def test_no_room_for_the_model(bundle, cache, monkeypatch):
    def full(_source, _scratch):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mnn_convert, "_convert", full)
    with pytest.raises(BackendError, match="No space left on device; make room in ") as caught:
        open_backend("mnn", bundle, 1)
    assert caught.value.exit_code == 4
    assert kept(cache) == []


def test_a_graph_too_large_for_its_format(bundle, cache, monkeypatch):
    """Its files have offsets of 31 bits; the converter would work for minutes and leave an empty file."""
    monkeypatch.setattr(mnn_convert, "MAX_BYTES", 15)
    with pytest.raises(BackendError, match=r"unet\.onnx: .* GB of fp32 weights found.*use --backend cpu\+mnn"):
        open_backend("mnn", bundle, 1)
    assert kept(cache) == []


@pytest.mark.usefixtures("any_operator")
def test_a_graph_that_it_does_not_know(plan_folder, edit_graph, cache):
    def change(model):
        model.graph.node[0].op_type = "NoSuchOperator"

    edit_graph(change)
    with pytest.raises(BackendError, match=r"unet\.onnx: MNN cannot convert it: .*NoSuchOperator") as caught:
        open_backend("mnn", read_bundle(plan_folder))
    assert "\n" not in caught.value.message
    assert kept(cache) == []


def test_without_the_package(bundle, monkeypatch):
    assert backend_module("mnn").missing("mnn") is None
    check_missing("mnn", "MNN", "pip install MNN", bundle, monkeypatch)
    assert "pip install MNN" in backend_module("mnn").missing("mnn")


def test_it_prints_nothing_and_its_command_line_is_not_loaded(bundle, cache):
    """That command line installs a package with pip and reports each use to its makers."""
    code = f"""
import sys
from seas_runtime.backends import open_backend
from seas_runtime.bundle.reader import read_bundle
open_backend("mnn", read_bundle({str(bundle.path)!r}), 1)
print([name for name in sys.modules if name.startswith(("MNN.tools", "aliyun"))])
"""
    assert printed(code) == "[]\n"


def test_a_user_without_a_home(bundle, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert mnn_convert.cache_folder(MNN, "0" * 64) is None
    check_graphs(open_backend("mnn", bundle, 1))


def test_the_cache_is_the_users_alone(bundle, cache):
    open_backend("mnn", bundle, 1)
    (folder,) = (cache / "seas" / f"mnn-{MNN}").iterdir()
    assert folder.stat().st_mode & 0o077 == 0
    shutil.rmtree(folder)
