"""From a run folder to a bundle: what is written, and what is refused without leaving anything behind."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from click.testing import CliRunner
from polygraphy.tools import main as polygraphy

from seas_export import bundle, parity, to_onnx
from seas_export.cli import main as export_command
from seas_export.graphs import wrappers
from seas_runtime.bundle.manifest import Defaults
from seas_runtime.bundle.reader import read_bundle
from seas_runtime.errors import DataError
from seas_train import run_folder as run
from seas_train.models import components
from tests.limits import files_of_at_most


def test_bundle_is_small_and_carries_no_folder_names(plan):
    manifest = read_bundle(plan).manifest
    assert manifest.provenance["licence"] == "CC0"
    errors = {
        precision: max(worst["relative_l2"] for outputs in graphs.values() for worst in outputs.values())
        for precision, graphs in manifest.parity.items()
    }
    assert errors["fp32"] <= 1e-4
    assert errors["fp16"] <= 1e-2
    stored = sum(file.stat().st_size for file in plan.glob("*.onnx"))
    assert str(Path.home()).encode() not in b"".join(file.read_bytes() for file in plan.glob("*.onnx"))
    assert stored < 3_000_000


def test_graphs_made_of_others_hold_what_they_need_and_no_more(plan):
    names = {
        graph: [node.name for node in onnx.load(plan / f"{graph}.onnx", load_external_data=False).graph.node]
        for graph in ("vae_decoder", "mask_head", "decoder", "mask_branch")
    }
    assert sorted(names["decoder"]) == sorted(names["vae_decoder"])
    image_only = ("up_blocks.3", "decoder.conv_norm_out", "decoder.conv_act", "decoder.conv_out")
    assert all(any(part in name for name in names["decoder"]) for part in image_only)
    first_three = [name for name in names["vae_decoder"] if not any(part in name for part in image_only)]
    assert sorted(names["mask_branch"]) == sorted([*first_three, *names["mask_head"]])


def test_weights_are_stored_once(plan, tuned):
    model = run.load(tuned)
    modules = [model.model.unet, model.model.vae.decoder, model.model.vae.post_quant_conv, model.rmp]
    weights = sum(p.numel() for m in modules for p in m.parameters()) * 2
    assert (plan / "weights.bin").stat().st_size <= 1.25 * weights  # 64-byte alignment of many small tensors


def test_full_precision_graph_matches_pytorch_on_unseen_inputs(tuned, tmp_path):
    model = run.load(tuned)
    wrapper = wrappers(model)["decoder"]
    with to_onnx.WeightStore(tmp_path) as store:
        to_onnx.export(wrapper, tmp_path, store, half=False)
    latent = torch.randn(5, 4, 8, 8, generator=torch.Generator().manual_seed(9))
    session = ort.InferenceSession(tmp_path / "decoder.onnx", providers=["CPUExecutionProvider"])
    (image,) = session.run(None, {"latent": latent.numpy()})
    vae = model.model.vae
    with torch.no_grad():
        truth = vae.decode(latent / vae.config.scaling_factor).sample.numpy()
    assert np.linalg.norm(image - truth) <= 1e-4 * np.linalg.norm(truth)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["missing", "--out", "x.plan"], 3, "no such folder"),
        (["{run}", "--out", "{run}"], 5, "exists already"),
        (["{run}", "--out", "x.plan", "--steps", "2"], 2, "--mask-steps 3 is more than --steps 2"),
        (["{run}", "--out", "x.plan", "--threshold", "nan"], 2, "--threshold nan found, a number expected"),
        (["{run}", "--out", "x.plan", "--composite-anomalies", "nan"], 2, "--composite-anomalies nan found, a number expected"),
        (["{run}", "--out", "x.plan", "--gpu", "sm86"], 2, "--engines"),
        (["{run}", "--out", "x.plan", "--engines", "rtx", "--gpu", "sm70"], 2, "sm70"),
    ],
)
def test_export_refuses_bad_input(tuned, tmp_path, monkeypatch, arguments, code, words):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(export_command, [a.format(run=tuned) for a in arguments])
    assert result.exit_code == code
    assert words in result.output
    assert list(tmp_path.iterdir()) == []


def test_export_refuses_nan_weights_and_leaves_nothing(tuned, tmp_path):
    broken = tmp_path / "run"
    shutil.copytree(tuned, broken)
    model = components.load(broken)
    with torch.no_grad():
        next(model.unet.parameters()).view(-1)[0] = float("nan")
    model.unet.save_pretrained(broken / "unet")
    result = CliRunner().invoke(export_command, [str(broken), "--out", str(tmp_path / "x.plan")])
    assert result.exit_code == 3
    assert "NaN" in result.output
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(("missing", "words"), [("rmp", "seas-train masks"), ("run.json", "run.json")])
def test_half_a_run_is_refused(tuned, tmp_path, missing, words):
    half = tmp_path / "run"
    shutil.copytree(tuned, half, ignore=shutil.ignore_patterns(missing))
    result = CliRunner().invoke(export_command, [str(half), "--out", str(tmp_path / "x.plan")])
    assert result.exit_code == 3
    assert words in result.output


def test_a_name_that_a_bundle_cannot_have_is_told_before_the_work(tuned, tmp_path, monkeypatch):
    model = run.load(tuned)
    model = replace(model, facts=model.facts.model_copy(update={"product": "Gehäuse"}))
    settings = bundle.ExportSettings(True, Defaults(steps=4, guidance=2, threshold=0.5, mask_steps=2))
    monkeypatch.setattr(to_onnx, "export", lambda *_: pytest.fail("a graph was exported"))
    with pytest.raises(DataError, match=r"product: .*'Gehäuse' cannot name a folder"):
        bundle.export(model, tmp_path / "x.plan", settings, lambda _stage: None)
    assert list(tmp_path.iterdir()) == []


def test_full_disk_leaves_no_bundle(tuned, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "TRACED", ("vae_decoder",))  # it is traced soonest
    with files_of_at_most(10_000):  # its weights have more
        result = CliRunner().invoke(export_command, [str(tuned), "--out", str(tmp_path / "x.plan")])
    assert result.exit_code == 5, result.output
    assert "cannot write" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("Error: ")  # after its stages
    assert list(tmp_path.iterdir()) == []


def test_out_and_parity_exclude_each_other(tuned, plan, tmp_path):
    both = CliRunner().invoke(export_command, [str(tuned), "--out", str(tmp_path / "x.plan"), "--parity", str(plan)])
    none = CliRunner().invoke(export_command, [str(tuned)])
    for result in (both, none):
        assert result.exit_code == 2
        assert "--parity" in result.output


def test_every_step_of_a_sampling_run_is_within_the_bounds(tuned, plan):
    result = CliRunner().invoke(export_command, [str(tuned), "--parity", str(plan)])
    assert result.exit_code == 0, result.output
    assert "ok: 7 steps" in result.output  # six of the solver, and the final latents
    for line in ("fp32  unet.noise", "fp16  mask_branch.probability"):
        assert line in result.output


def test_parity_finds_weights_that_are_not_those_of_the_run(tuned, plan, tmp_path):
    other = tmp_path / "run"
    shutil.copytree(tuned, other)
    model = components.load(other)
    with torch.no_grad():
        model.unet.conv_out.weight.mul_(1.01)
    model.unet.save_pretrained(other / "unet")
    result = CliRunner().invoke(export_command, [str(other), "--parity", str(plan)])
    assert result.exit_code == 3
    assert "unet.noise fp32" in result.output


def test_parity_refuses_the_bundle_of_another_product(tuned, plan, tmp_path):
    other = tmp_path / "run"
    shutil.copytree(tuned, other)
    facts = (other / "run.json").read_text(encoding="utf-8")
    (other / "run.json").write_text(facts.replace('"product": "bottle"', '"product": "nut"'), encoding="utf-8")
    result = CliRunner().invoke(export_command, [str(other), "--parity", str(plan)])
    assert result.exit_code == 3
    assert "makes bottle" in result.output


def test_missing_packages_are_one_line():
    code = (
        "import sys; sys.modules['diffusers'] = None; from seas_export.cli import main; "
        "sys.argv = ['seas-export', 'run', '--out', 'x.plan']; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "pip install" in done.stderr
    assert "Traceback" not in done.stderr


def test_nodes_are_named_after_their_modules(plan, tuned):
    import onnx

    modules = dict(run.load(tuned).model.unet.named_modules())
    names = [node.name for node in onnx.load(plan / "unet.onnx", load_external_data=False).graph.node if node.op_type == "Conv"]
    assert len(names) == len(set(names)) == sum(isinstance(m, torch.nn.Conv2d) for m in modules.values())
    for name in names:
        scope = name.rpartition("/")[0].removeprefix("unet.")
        assert isinstance(modules[scope], torch.nn.Conv2d)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("graph", ["unet", "vae_decoder", "mask_head", "decoder", "mask_branch"])
def test_polygraphy_finds_nothing_dead_in_a_graph(plan, tmp_path, graph, precision):
    file = read_bundle(plan).manifest.graphs[graph].files[precision]
    report = tmp_path / "lint.json"
    assert polygraphy(["check", "lint", str(plan / file), "-o", str(report)]) == 0
    found = json.loads(report.read_text())
    assert found["summary"]["failing"] == []
    assert [entry["message"] for entry in found["lint_entries"] if "unused" in entry["message"].lower()] == []


def test_the_manifest_says_how_photographs_were_fitted_and_where_normal_images_lie(plan, tuned):
    facts, manifest = run.load_facts(tuned), read_bundle(plan).manifest
    assert (manifest.fitting.fit, manifest.fitting.photograph) == ("stretch", (64, 64))
    assert manifest.places == facts.places
    assert [place.file for place in manifest.places] == list(facts.normals)
    assert {place.box for place in manifest.places} == {(0, 0, 64, 64)}


def test_an_interrupt_while_engines_are_built_costs_no_second_export(tuned, plan, tmp_path, monkeypatch):
    """The bundle is whole then: the same command goes on with its engines, another one is refused."""
    built = []

    def stopped(*given, **_more):
        built.append(given[0])
        raise KeyboardInterrupt

    monkeypatch.setattr("seas_runtime.backends.tensorrt.build.require", lambda *_given: None)
    monkeypatch.setattr("seas_runtime.backends.tensorrt.build.build", stopped)
    out = shutil.copytree(plan, tmp_path / "small.plan")
    chosen = ["--steps", "6", "--guidance", "3", "--threshold", "0.5", "--mask-steps", "3", "--fp16"]
    words = [str(tuned), "--out", str(out), *chosen, "--engines", "rtx"]
    for _ in range(2):
        result = CliRunner().invoke(export_command, words)
        assert (result.exit_code, result.stdout) == (130, f"already done: the bundle {out}\n"), result.output
    assert built == [out, out]
    for other in ([*words, "--steps", "5"], words[:-2]):
        assert CliRunner().invoke(export_command, other).exit_code == 5
    assert len(built) == 2


def test_a_branch_that_does_not_hold_fp16_is_exported_in_fp32_and_the_rest_in_both(tuned, plan, tmp_path, monkeypatch):
    measured = parity.compare

    def traced_before(wrapper, folder, store, _half):  # the same graphs, without the minutes
        if not store._stream.tell():
            store._stream.write((plan / "weights.bin").read_bytes())
        shutil.copyfile(plan / f"{wrapper.name}.onnx", folder / f"{wrapper.name}.onnx")

    def spoiled(*given):
        for row in measured(*given):
            bad = (row.graph, row.precision) == ("mask_branch", "fp16")
            yield replace(row, relative_l2=0.5) if bad else row

    monkeypatch.setattr(parity, "compare", spoiled)
    monkeypatch.setattr(to_onnx, "export", traced_before)
    out = tmp_path / "mixed.plan"
    settings = bundle.ExportSettings(True, Defaults(steps=4, guidance=2, threshold=0.5, mask_steps=2))
    said = []
    bundle.export(run.load(tuned), out, settings, said.append)
    manifest = read_bundle(out).manifest
    precisions = {name: set(graph.files) for name, graph in manifest.graphs.items()}
    assert precisions.pop("mask_branch") == {"fp32"}
    assert all(found == {"fp32", "fp16"} for found in precisions.values())
    assert "mask_branch" in manifest.parity["fp32"]
    assert "mask_branch" not in manifest.parity["fp16"]
    assert not (out / "mask_branch.fp16.onnx").exists()
    assert [line for line in said if line.startswith("mask_branch computes in fp32")]
    assert not [line for line in said if "hardly" in line]  # the small model holds half precision
