"""Pipes and devices where files should be: one line at once, and nothing waits for whoever might write into them."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from seas_train import run_folder
from seas_train.data import images, layouts
from seas_train.models import bases, components
from seas_train.models.origin import Origin
from tests.train.refusals import data_error


@pytest.fixture(autouse=True)
def _soon():
    """A test that waits for a pipe is ended."""

    def waited(_number, _frame):
        raise AssertionError("it waited for a pipe")

    before = signal.signal(signal.SIGALRM, waited)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)


@pytest.mark.parametrize("read", [images.read_rgb, images.read_mask, images.require_blank])
def test_a_picture(tmp_path, read):
    pipe(tmp_path / "a.png")
    assert "is no plain file" in data_error(read, tmp_path / "a.png")
    assert "is no plain file" in data_error(read, Path("/dev/zero"))


def test_the_lists_of_visa(tmp_path):
    (tmp_path / "candle").mkdir()
    pipe(tmp_path / "split_csv" / "1cls.csv")
    assert "is no plain file" in data_error(layouts.read, tmp_path / "candle", "visa")


@pytest.mark.parametrize("name", ["unet/config.json", "vae/diffusion_pytorch_model.safetensors", "tokenizer/more", "scheduler/a/b"])
def test_a_base(base, tmp_path, name):
    copy = shutil.copytree(base, tmp_path / "copy")
    pipe(copy / name)
    assert f"{copy / name}: is no plain file" in data_error(components.load, copy)


@pytest.mark.parametrize("name", ["tokens.safetensors", "rmp/config.json", "photographs/000.png"])
def test_a_run_folder(tuned, tmp_path, name):
    copy = shutil.copytree(tuned, tmp_path / "copy")
    pipe(copy / name)
    assert f"{copy / name}: is no plain file" in data_error(run_folder.load, copy)


def test_a_run_as_a_base(tuned, tmp_path):
    copy = shutil.copytree(tuned, tmp_path / "copy")
    pipe(copy / "tokens.safetensors")
    assert f"{copy / 'tokens.safetensors'}: is no plain file" in data_error(bases.load, copy)


def test_what_a_base_may_have_beside_its_parts(base, tmp_path):
    copy = shutil.copytree(base, tmp_path / "copy")
    pipe(copy / "model_index.json")
    pipe(copy / "learned_embeds.bin")
    bases.load(copy)
    pipe(tmp_path / "tokenizer" / "vocab.json")
    said = data_error(bases.load, Origin(str(copy), tokenizer=tmp_path / "tokenizer"))
    assert f"{tmp_path / 'tokenizer' / 'vocab.json'}: is no plain file" in said


def test_a_run_folder_s_record(tmp_path):
    pipe(tmp_path / "run.json")
    assert "expected a run folder" in data_error(run_folder.load_facts, tmp_path)


def test_links_to_files_are_files(base, tmp_path):
    copy = shutil.copytree(base, tmp_path / "copy")
    config = copy / "unet" / "config.json"
    config.rename(copy / "elsewhere.json")
    config.symlink_to(copy / "elsewhere.json")
    (copy / "unet" / "dangling").symlink_to("nowhere")
    components.inspect(copy)


def test_a_tokenizer_s_own_exception_is_that_of_a_disk(tmp_path):
    """tokenizers raises a bare Exception where a disk is full."""

    class Full:
        def save_pretrained(self, folder):
            (folder / "half").touch()
            raise Exception("No space left on device (os error 28)")  # as the library does

    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "kept").touch()
    with pytest.raises(OSError, match="No space left on device"):
        components.keep(Full(), tmp_path / "tokenizer")
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["tokenizer", "tokenizer/kept"]
