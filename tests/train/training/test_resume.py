"""Whatever a training is made of, one killed anywhere ends as one that was not."""

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from seas_runtime.errors import OutputError, TrainError
from seas_train import masks, tune
from seas_train.base import train as base_training
from seas_train.base.settings import BaseSettings
from seas_train.models import components
from seas_train.training import checkpoint, loop
from seas_train.training.compute import Machine
from tests import disk
from tests.smallest import GEOMETRY, TUNE
from tests.train.small_stage import Killed, killed_at, stage, weights

ROOT = Path(__file__).parents[3]
FILES = ("unet/diffusion_pytorch_model.safetensors", "tokens.safetensors")


def log_of(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


@pytest.mark.parametrize(
    "switch",
    [
        {"ema": 0.9, "accumulation": 2},
        {"cache_latents": True, "gradient_checkpointing": True, "order": "anomaly-normal"},
        {"unet": "lora", "lora_rank": 2, "precision": "bf16"},
        {"unet": "frozen", "ema": 0.9},
    ],
)
def test_tune_in_every_mode_ends_bit_equal_with_the_same_log(base, product, tune_settings, tmp_path, monkeypatch, switch):
    if switch.get("unet") == "lora":
        pytest.importorskip("peft")
    settings = tune_settings.model_copy(update=switch)
    for name in ("whole", "broken"):
        folder = tmp_path / name

        def train(folder=folder):
            tune.train(product, str(base), folder, settings, {})

        if name == "broken":
            killed_at(monkeypatch, tune, 3 * settings.accumulation, train)
            assert (folder / "checkpoint" / "state.json").is_file()
        train()
    for file in FILES:
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "broken" / file).read_bytes()
    assert log_of(tmp_path / "whole") == log_of(tmp_path / "broken")


def test_masks_end_bit_equal(tuned, product, mask_settings, tmp_path, monkeypatch):
    folder = shutil.copytree(tuned, tmp_path / "run")
    shutil.rmtree(folder / "rmp")
    killed_at(monkeypatch, masks, 2, lambda: masks.train(folder, product, mask_settings))
    masks.train(folder, product, mask_settings)
    file = "rmp/model.safetensors"
    assert (folder / file).read_bytes() == (tuned / file).read_bytes()
    assert log_of(folder) == log_of(tuned)


def test_a_training_says_from_which_step_it_goes_on(tmp_path, capsys):
    """Steps 0 to 4 are done when the fifth dies; a checkpoint is kept after every second."""
    with pytest.raises(Killed):
        loop.run(stage(tmp_path, dies_at=5))
    assert "going on" not in capsys.readouterr().err
    loop.run(stage(tmp_path))
    assert capsys.readouterr().err == "line: going on from step 4 of 7\n"
    loop.run(stage(tmp_path))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("known", "said"), [({"amx_bf16": True}, ""), ({"avx2": True}, "has no bf16")])
def test_a_training_in_bf16_says_where_the_processor_has_none(known, said, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known)
    loop.run(dataclasses.replace(stage(tmp_path), machine=Machine(precision="bf16")))
    found = capsys.readouterr().err
    assert said in found if said else not found


STEPS = {"rename": Path, "rmtree": checkpoint.shutil, "save_file": checkpoint, "write_atomic": checkpoint}


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("after", [False, True])
def test_killed_inside_a_save_ends_bit_equal(tmp_path, monkeypatch, name, after):
    unbroken = stage(tmp_path / "whole")
    unbroken.folder.mkdir()
    loop.run(unbroken)
    call = 0
    while True:
        call += 1
        folder = tmp_path / f"{call}"
        folder.mkdir()
        whole, calls = getattr(STEPS[name], name), []

        def dying(*arguments, whole=whole, calls=calls, last=call, **named):
            calls.append(1)
            if len(calls) == last and not after:
                raise Killed
            done = whole(*arguments, **named)
            if len(calls) == last:
                raise Killed
            return done

        broken = stage(folder)
        with monkeypatch.context() as patch:
            patch.setattr(STEPS[name], name, dying)
            try:
                loop.run(broken)
            except Killed:
                pass
            else:
                break
        again = stage(folder)
        loop.run(again)
        assert weights(again) == weights(unbroken)
        assert log_of(folder) == log_of(unbroken.folder)
    assert call > 3


def test_the_weights_are_on_disk_before_the_checkpoint_counts(tmp_path, monkeypatch):
    order, made = disk.watch(monkeypatch), stage(tmp_path)
    for step in (1, 2):
        checkpoint.save(tmp_path, step, made.task, made.modules, made.optimizer)
    whole = ["state.safetensors", "state.json.seas-tmp", "state.json.seas-tmp -> state.json", "checkpoint.next/"]
    last = ["checkpoint.next -> checkpoint", f"{tmp_path.name}/"]
    assert [event.partition(":")[0] for event in order] == [*whole, *last, *whole, "checkpoint -> checkpoint.previous", *last]


def test_a_process_tuning_a_model_is_killed(base, product, tuned, tmp_path):
    folder = tmp_path / "run"
    script = (
        "import sys, time; from pathlib import Path\n"
        "import torch; torch.set_num_threads(1)\n"
        "from tests.smallest import TUNE; from seas_train import tune; from seas_train.data import layouts\n"
        "losses = tune.losses\n"
        "def slow(*a): time.sleep(0.3); return losses(*a)\n"
        "tune.losses = slow\n"
        "tune.train(layouts.read(Path(sys.argv[2])), sys.argv[1], Path(sys.argv[3]), TUNE, {})\n"
    )
    command = [sys.executable, "-c", script, str(base), str(product.root), str(folder)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while not (folder / "checkpoint" / "state.json").exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (folder / "run.json").exists()
    tune.train(product, str(base), folder, TUNE, {})
    for file in FILES:
        assert (folder / file).read_bytes() == (tuned / file).read_bytes()


def test_a_finite_loss_with_infinite_gradients_is_not_kept(tmp_path):
    broken = stage(tmp_path, every=1)
    plain = broken.losses_of

    def losses(batch: tuple[int, torch.Tensor]) -> loop.Losses:
        made = plain(batch)
        if batch[0] == 3:  # a square root at 0 has value 0 and slope infinity
            made["loss"] = made["loss"] + (broken.modules["line"].weight * 0).abs().sum().sqrt()
        return made

    broken.losses_of = losses
    broken.describe = lambda batch: f"crack/00{batch[0]}.png"
    with pytest.raises(TrainError, match=r"gradient of step 3 is not finite \(batch: crack/003.png\)") as caught:
        loop.run(broken)
    assert "\n" not in caught.value.format_message()
    assert json.loads((tmp_path / "checkpoint" / "state.json").read_text())["step"] == 3
    assert all(v.isfinite().all() for v in load_file(tmp_path / "checkpoint" / "state.safetensors").values())
    assert all(p.isfinite().all() for p in broken.modules["line"].parameters())


def test_a_loss_that_is_no_number_names_its_images(base, product, tune_settings, tmp_path, monkeypatch):
    whole = tune.na_loss
    monkeypatch.setattr(tune, "na_loss", lambda *a: whole(*a) * float("nan"))
    with pytest.raises(TrainError, match=r"batch: \w+/00\d.png, \w+/00\d.png, good/00\d.png, good/00\d.png"):
        tune.train(product, str(base), tmp_path / "run", tune_settings, {})


@pytest.fixture
def unfinished(base, product, tune_settings, tmp_path, monkeypatch):
    """A run that was killed after its first checkpoint."""
    killed_at(monkeypatch, tune, 3, lambda: tune.train(product, str(base), tmp_path / "run", tune_settings, {}))
    return tmp_path / "run"


def refused(named: str, train) -> None:
    with pytest.raises(OutputError, match=named) as caught:
        train()
    assert "\n" not in caught.value.format_message()


def test_another_base_is_refused(unfinished, base, product, tune_settings, tmp_path):
    other = shutil.copytree(base, tmp_path / "elsewhere")
    refused(r"\(base 'base', now 'elsewhere'\)", lambda: tune.train(product, str(other), unfinished, tune_settings, {}))
    same_name = tmp_path / "other" / base.name
    model = components.load(base)
    with torch.no_grad():
        model.unet.conv_in.weight.add_(1e-3)
    model.save(same_name)
    refused(r"\(weights '\w+', now '\w+'\)", lambda: tune.train(product, str(same_name), unfinished, tune_settings, {}))
    assert checkpoint.CURRENT in {path.name for path in unfinished.iterdir()}


def test_other_normals_are_refused(unfinished, base, product, tune_settings):
    chosen = tune.layouts.pick_normals(product, 2, 0)
    other = dataclasses.replace(product, normals=tuple(r for r in product.normals if r != chosen[0]))
    refused(r"\(other normals\)", lambda: tune.train(other, str(base), unfinished, tune_settings, {}))


def test_a_checkpoint_that_states_less_is_continued(unfinished, base, product, tune_settings, tuned):
    head = json.loads((unfinished / "checkpoint" / "state.json").read_text())
    for key in ("base", "weights", "normals"):
        del head["task"][key]
    del head["task"]["settings"]["ema"], head["numbers"], head["scaler"]
    (unfinished / "checkpoint" / "state.json").write_text(json.dumps(head))
    tune.train(product, str(base), unfinished, tune_settings, {})
    assert (unfinished / FILES[0]).read_bytes() == (tuned / FILES[0]).read_bytes()


def test_a_torn_log_line_goes_and_other_stages_stay(tmp_path):
    log = tmp_path / "log.jsonl"
    other = '{"stage": "base-vae", "step": 9}\n'
    log.write_text(other + '{"stage": "line", "step": 1, "loss": 0}\n{"stage": "line", "st')
    made = stage(tmp_path)
    loop.run(made)
    assert log.read_text().startswith(other)
    assert [(x["stage"], x["step"]) for x in log_of(tmp_path)] == [("base-vae", 9)] + [("line", i) for i in range(1, 8)]


def test_numbers_of_an_8_bit_optimiser_are_kept(tmp_path):
    """Its state holds bytes and plain numbers; an AdamW given such a state stands for it."""
    made = stage(tmp_path)
    made.losses_of(made.batch_of(0))["loss"].backward()
    made.optimizer.step()
    for slot in made.optimizer.state.values():
        slot["state1"], slot["gnorm"] = torch.arange(4, dtype=torch.uint8), 7
    checkpoint.save(tmp_path, 1, made.task, made.modules, made.optimizer)
    again = stage(tmp_path)
    assert checkpoint.load(tmp_path, again.task, again.modules, again.optimizer) == 1
    for slot in again.optimizer.state.values():
        assert slot["gnorm"] == 7
        assert slot["state1"].tolist() == [0, 1, 2, 3]


KEPT = {
    "base-vae": ({"settings", "images"}, {"vae"}),
    "base-text": ({"settings", "images"}, {"eye", "text_encoder"}),
    "base-unet": ({"settings", "images"}, {"live", "average"}),
    "base-decoder": ({"settings", "images"}, {"decoder", "judge", "average"}),
    "tune": ({"settings", "base", "weights", "train", "normals"}, {"unet", "rows", "average"}),
    "masks": ({"settings", "weights"}, {"rmp"}),
}


def test_names_in_checkpoints_stay_those_of_checkpoints_that_people_have(
    base, product, tune_settings, mask_settings, tmp_path, monkeypatch
):
    found, save = {}, checkpoint.save

    def seen(folder, step, task, modules, *rest):
        found[task["stage"]] = task.keys() - {"stage"}, set(modules)
        if "average" in modules:
            assert {key.partition(".")[0] for key in modules["average"].state_dict()} == {"n_averaged", "module"}
        save(folder, step, task, modules, *rest)

    monkeypatch.setattr(checkpoint, "save", seen)
    monkeypatch.setitem(components.GEOMETRIES, "tiny", GEOMETRY)
    few = {"vae_steps": 1, "vae_batch": 1, "vae_crop": 32, "align_steps": 1, "steps": 1, "batch": 1, "sharpen_steps": 1}
    base_training.train([product.root], tmp_path / "base", BaseSettings(**few), {})
    tune.train(product, str(base), tmp_path / "run", tune_settings.model_copy(update={"steps": 1, "ema": 0.9}), {})
    masks.train(tmp_path / "run", product, mask_settings.model_copy(update={"steps": 1}))
    assert found == KEPT
