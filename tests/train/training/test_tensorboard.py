"""What TensorBoard is shown, read back from its files."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from seas_runtime.dataset.sheet import GAP, TEXT
from seas_runtime.errors import SettingsError
from seas_train import masks, tune
from seas_train.data.dataset import step_generator
from seas_train.training import batches, tensorboard

accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def read(folder):
    events = accumulator.EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0})
    events.Reload()
    return events


def test_scalars_and_grids_every_few_steps(base, product, tune_settings, mask_settings, tmp_path):
    every = {"watch_every": 2}
    tune.train(product, str(base), tmp_path / "run", tune_settings.model_copy(update=every), {})
    masks.train(tmp_path / "run", product, mask_settings.model_copy(update=every))
    tune_events, mask_events = (read(tmp_path / "run" / "tensorboard" / stage) for stage in ("tune", "masks"))
    assert [e.step for e in tune_events.Scalars("loss")] == [2, 4]
    assert [e.step for e in mask_events.Scalars("fine")] == [2]
    tuned, branch = tune_events.Images("batch"), mask_events.Images("batch")
    assert [e.step for e in tuned] == [2, 4]
    assert [e.step for e in branch] == [2]
    cells = 2 + 2 * 2  # image, mask, and two tokens at two levels
    size = Image.open(io.BytesIO(tuned[0].encoded_image_string)).size
    assert size == (GAP + cells * (128 + GAP), GAP + 2 * (128 + GAP) + TEXT)


def test_watching_changes_no_weight(base, product, tune_settings, tuned, tmp_path):
    tune.train(product, str(base), tmp_path / "run", tune_settings.model_copy(update={"watch_every": 1}), {})
    file = "unet/diffusion_pytorch_model.safetensors"
    assert (tmp_path / "run" / file).read_bytes() == (tuned / file).read_bytes()


def test_the_sheet_shows_image_mask_and_where_each_token_looks(images):
    batch = batches.sample_batch(*images, (1, 1), False, step_generator(0, 0))
    product, anomaly = torch.tensor([2]), torch.tensor([4, 6, 8, 10])
    maps = torch.zeros(2, 4, 4, 24)
    maps[0, 0, 0, product] = 1
    maps[0, 3, 3, anomaly] = 1
    sheet = tensorboard.attention_sheet(batch.images, batch.masks, {2: maps}, [product], [anomaly])
    picture = np.asarray(sheet.convert("L"))
    top = GAP + TEXT
    cells = [picture[top : top + 128, GAP + i * (128 + GAP) :][:, :128] for i in range(4)]
    assert (cells[1] > 127).mean() == pytest.approx(float(batch.masks[0].mean()), abs=0.02)
    assert (cells[2][:32, :32] == 255).all()
    assert cells[2].astype(int).sum() == 255 * 32 * 32
    assert (cells[3][96:, 96:] == 255).all()
    assert cells[3].astype(int).sum() == 255 * 32 * 32


def test_a_continued_run_hides_what_the_killed_one_wrote(tmp_path):
    tensorboard.Board(tmp_path, "tune").show(2, {"loss": 1.0}, None)
    tensorboard.Board(tmp_path, "tune").show(4, {"loss": 2.0}, None)
    tensorboard.Board(tmp_path, "tune").show(3, {"loss": 3.0}, None)
    assert [(e.step, e.value) for e in read(tmp_path / "tensorboard" / "tune").Scalars("loss")] == [(2, 1), (3, 3)]


def test_without_tensorboard(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(SettingsError, match="needs tensorboard") as caught:
        tensorboard.Board(tmp_path, "tune")
    assert "\n" not in caught.value.format_message()
