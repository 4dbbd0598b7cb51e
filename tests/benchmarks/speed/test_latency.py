"""The latency benchmark: its figures on cases worked by hand, its candidates on a small run."""

import json
import time

import click
import numpy as np
import pytest
import torch

from benchmarks import latency
from benchmarks.speed import latency_report, random_bundle
from benchmarks.speed.candidates import Runtime, make
from benchmarks.speed.job import Job
from seas_runtime.backends import workers
from seas_runtime.bundle.reader import read_bundle
from seas_train import run_folder
from seas_train.models import taps

FASTER = {"unet": [0.02, 0.04, 0.03], "mask": [0.1], "decode": [0.05], "pairs": [0.5, 0.4, 0.9]}
SLOWER = {"unet": [0.04], "mask": [0.2], "decode": [0.1], "pairs": [1.0]}


def entry(seconds, **more):
    return {"ready": [2.0, 4.0], "peak_gib": 1.5, "seconds": seconds, **more}


def test_a_pair_is_measured_whole_or_composed_of_its_stages():
    assert latency_report.seconds_per_pair(entry(FASTER)) == 0.5
    stages = {key: FASTER[key] for key in ("unet", "mask", "decode")}
    assert latency_report.seconds_per_pair(entry(stages)) == pytest.approx(25 * 0.03 + 3 * 0.1 + 0.05)


def test_ratios_are_to_the_reference_and_to_the_best_pytorch():
    entries = {
        "reference": entry(SLOWER),
        "torch": entry({**SLOWER, "pairs": [0.8]}),
        "torch-workers": entry({**SLOWER, "pairs": [0.6]}),
        "torch-bf16": entry({**SLOWER, "pairs": [0.3]}),
        "openvino-bf16": entry({**SLOWER, "pairs": [0.1]}),
        "cpu": entry(FASTER, outside=[0.02, 0.04]),
    }
    head, _, *rows = latency_report.rates(entries, {"cpu": [1.0, 3.0, 1.5]})
    assert "x best PyTorch (torch-workers; in bf16: torch-bf16)" in head
    assert rows[-2].startswith("| openvino-bf16 | 10.0000 | 10.00 | 3.00 |")
    assert rows[-1] == "| cpu | 2.0000 | 2.00 | 1.20 | 1.5 | 3.0 | 1.5 | 3.0 % |"


def test_speed_is_the_work_of_a_pair_over_its_seconds():
    gflop = {"unet": 3.0, "mask": 1.0, "decode": 2.0}
    *_, row = latency_report.stages({"cpu": entry(FASTER)}, gflop, 100)
    assert row == "| cpu | 30.0 | 100.0 | 50.0 | 1100 |  | 100 | 10 | 40 |"


def test_time_outside_graphs_of_a_composed_pair_is_that_of_the_loop():
    stages = {"unet": [0.03], "mask": [0.1], "decode": [0.1], "loop": [0.01, 0.05, 0.0]}
    assert latency_report.outside_graphs(entry(stages)) == f"{100 * 0.01 / (0.01 + 1.15):.2f} %"


def test_figures_are_added_to_those_of_the_same_machine_alone(tmp_path):
    path = tmp_path / "latency_tiny.json"
    facts = latency.opened(path, "tiny", add=True)
    facts["batches"]["4"] = {"cpu": entry(FASTER)}
    path.write_text(json.dumps(facts))
    assert latency.opened(path, "tiny", add=True)["batches"] == facts["batches"]
    assert latency.opened(path, "tiny", add=False)["batches"] == {}
    facts["versions"]["torch"] = "1.0"
    path.write_text(json.dumps(facts))
    with pytest.raises(click.ClickException, match="measure without --add"):
        latency.opened(path, "tiny", add=True)


@pytest.fixture(scope="module")
def work(tuned, plan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    (folder / "run").symlink_to(tuned)
    (folder / "tiny.plan").symlink_to(plan)
    return folder


@pytest.mark.slow
def test_the_unchecked_bundle_has_the_graphs_of_the_checked_one(work, plan):
    random_bundle.make_bundle(work, "quick")
    quick, whole = read_bundle(work / "quick.plan").manifest, read_bundle(plan).manifest
    assert quick.geometry == whole.geometry
    assert quick.files["weights.bin"].bytes <= whole.files["weights.bin"].bytes
    for name, graph in quick.graphs.items():
        assert (graph.inputs, graph.outputs) == (whole.graphs[name].inputs, whole.graphs[name].outputs)


def test_the_work_of_the_decoder_is_that_of_its_layers(work):
    """Convolutions, linear layers and the attention of the middle block, counted by hand from the shapes that pass by."""
    model, found = run_folder.load(work / "run").model, 0

    def count(module, inputs, output):
        nonlocal found
        if isinstance(module, torch.nn.Conv2d):
            found += 2 * output.numel() * module.in_channels * module.kernel_size[0] * module.kernel_size[1]
        elif isinstance(module, torch.nn.Linear):
            found += 2 * output.numel() * module.in_features
        elif type(module).__name__ == "Attention":
            _, channels, height, width = inputs[0].shape
            found += 2 * 2 * (height * width) ** 2 * channels

    hooks = [module.register_forward_hook(count) for module in model.vae.modules()]
    side, channels = model.unet.config.sample_size, model.unet.config.in_channels
    with torch.inference_mode():
        taps.decode(model.vae, torch.zeros(1, channels, side, side))
    for hook in hooks:
        hook.remove()
    assert random_bundle.gigaflops(work)["decode"] == pytest.approx(found / 1e9)


@pytest.mark.parametrize("name", ["reference", "torch", "torch-workers", "torch-bf16"])
def test_pytorch_answers_every_request(work, name):
    candidate = make(name, Job(work, "tiny", 1, 2))
    for request in ("unet", "mask", "decode", "pairs"):
        assert len(getattr(candidate, request)()) == (1 if name == "torch-workers" else 2)
    torch.set_num_threads(1)


def test_the_best_pytorch_makes_the_pairs_of_the_reference(work):
    reference, torch_ = (make(name, Job(work, "tiny", 2, 2)) for name in ("reference", "torch"))
    (plain,), ((images, masks),) = reference.pairs(), torch_.pairs()
    expected = ((plain.images.clamp(-1, 1) + 1) * 127.5).permute(0, 2, 3, 1).numpy()
    assert np.abs(images - expected).max() <= 0.51
    clear = (plain.probability - 0.2).abs().numpy() > 1e-4
    assert (masks == (plain.probability >= 0.2).numpy())[clear].all()


@pytest.mark.parametrize("cores", [1, 2])
def test_the_runtime_answers_every_request_in_its_workers(work, cores, monkeypatch):
    monkeypatch.setattr(workers, "usable_cores", lambda: cores)
    runtime = make("cpu", Job(work, "tiny", 2, 4))
    assert isinstance(runtime, Runtime)
    assert runtime.backend.workers == cores
    for request in ("unet", "mask", "decode"):
        parts = [results for batch in getattr(runtime, request)() for results in batch]
        assert sum(len(next(iter(results.values()))) for results in parts) == (8 if request == "unet" else 4)
    began = time.perf_counter()
    made = runtime.pairs()
    seconds = time.perf_counter() - began
    assert [pair.index for pairs in made for pair in pairs] == [0, 1, 2, 3]
    assert 0 < runtime.outside(seconds) < 1
    assert runtime.write() == 2
    assert [len(pairs) for pairs in runtime.loop()] == [2, 2]
