"""Folders that commands write to: whose they are, one command at a time, and what an interrupt says."""

import json
import os
import signal
import stat

import click
import pytest

from seas_runtime.errors import DataError, OutputError
from seas_runtime.files import LOCK, locked
from seas_train.output import MARK, output, tidy


def mark(out, stage):
    out.mkdir(parents=True, exist_ok=True)
    (out / MARK).write_text(json.dumps({"stage": stage}))


def checkpoint(out, stage, name="checkpoint"):
    (out / name).mkdir(parents=True)
    (out / name / "state.json").write_text(json.dumps({"task": {"stage": stage}, "step": 2}))


def test_a_folder_is_marked_from_its_first_moment_until_it_is_done(tmp_path):
    out = tmp_path / "deep" / "base"
    with output(out, "base"):
        assert json.loads((out / MARK).read_text()) == {"stage": "base"}
        (out / "tokenizer").mkdir()
    assert [path.name for path in out.iterdir()] == ["tokenizer"]


def test_a_base_killed_before_its_first_line_of_log_continues(tmp_path):
    """Its tokenizer is there and nothing else: that was refused as somebody else's."""
    mark(tmp_path, "base")
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "vae.seas-tmp").mkdir()
    (tmp_path / LOCK).touch()
    with output(tmp_path, "base"):
        assert not (tmp_path / "vae.seas-tmp").exists()
    with pytest.raises(OutputError, match="holds tokenizer and no unfinished tune of ours"), output(tmp_path, "tune"):
        pass


def test_an_unfinished_folder_of_another_command_is_refused(tmp_path):
    mark(tmp_path, "base")
    with pytest.raises(OutputError, match="no unfinished tune of ours"), output(tmp_path, "tune"):
        pass
    (tmp_path / MARK).unlink()
    (tmp_path / "log.jsonl").write_text('{"stage": "base-vae", "step": 1}\n')  # as an earlier version left it
    (tmp_path / "vae").mkdir()
    with output(tmp_path, "base"):
        assert not (tmp_path / MARK).exists()


def test_two_at_once(tmp_path):
    out = tmp_path / "run"
    with output(out, "tune"):
        with pytest.raises(OutputError, match="another run is writing here") as caught, output(out, "tune"):
            pytest.fail("both write")
        assert "\n" not in caught.value.format_message()
        assert (out / MARK).exists()


def test_one_that_has_just_finished_is_not_done_again(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"stage": "tune"}\n')
    with pytest.raises(OutputError, match="has just finished"), output(tmp_path, "tune", lambda: True):
        pytest.fail("done again")


def test_of_several_processes_the_first_alone_holds_the_folder(tmp_path, monkeypatch):
    with output(tmp_path, "tune"):
        monkeypatch.setenv("RANK", "1")
        with output(tmp_path, "tune"):
            assert (tmp_path / MARK).exists()
        assert (tmp_path / MARK).exists()
        monkeypatch.delenv("RANK")


def test_what_fails_before_it_writes_leaves_no_folder(tmp_path):
    with pytest.raises(DataError), output(tmp_path / "run", "tune"):
        raise DataError("bad")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError), output(tmp_path / "runs" / "of today" / "run", "tune"):
        raise DataError("bad")
    assert list(tmp_path.iterdir()) == []


def test_folders_above_that_were_there_or_hold_something_stay(tmp_path):
    (tmp_path / "empty").mkdir()
    with output(tmp_path / "empty" / "runs" / "one", "tune"):
        (tmp_path / "empty" / "runs" / "two").mkdir()
    assert [path.name for path in tmp_path.rglob("*")] == ["empty", "runs", "two"]


def test_a_pipe_in_the_folder_is_not_waited_for(tmp_path):
    mark(tmp_path, "tune")
    os.mkfifo(tmp_path / "log.jsonl")
    assert stat.S_ISFIFO((tmp_path / "log.jsonl").stat().st_mode)
    with pytest.raises(DataError, match=r"log\.jsonl: is no plain file"), output(tmp_path, "tune"):
        pytest.fail("a pipe is taken")


@pytest.mark.parametrize(
    ("stage", "made", "said"),
    [
        ("tune", lambda out: None, "nothing is saved to continue from; the same command begins anew"),
        ("tune", lambda out: checkpoint(out, "tune"), "the same command continues from what is saved"),
        ("tune", lambda out: checkpoint(out, "tune", "checkpoint.previous"), "the same command continues from what is saved"),
        ("tune", lambda out: checkpoint(out, "masks"), "nothing is saved to continue from; the same command begins anew"),
        ("base", lambda out: checkpoint(out, "base-unet"), "the same command continues from what is saved"),
        ("base", lambda out: (out / "vae").mkdir(), "the same command continues from what is saved"),
        ("base", lambda out: (out / "tokenizer").mkdir(), "nothing is saved to continue from; the same command begins anew"),
    ],
)
def test_an_interrupt_says_what_is_so(tmp_path, capsys, stage, made, said):
    def command():
        with output(tmp_path / "out", stage):
            made(tmp_path / "out")
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(click.exceptions.Exit) as ended:
        command()
    assert ended.value.exit_code == 130
    assert capsys.readouterr().err == f"Interrupted: {said}.\n"


def test_a_kill_in_the_last_clean_up_is_tidied_by_the_same_command(tmp_path):
    mark(tmp_path, "tune")
    for name in ("checkpoint", "checkpoint.next", "checkpoint.previous"):
        checkpoint(tmp_path, "tune", name)
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "run.json.seas-tmp").touch()
    tidy(tmp_path, "tune")
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_lock_that_a_killed_command_left_last_is_tidied_and_one_that_is_held_stays(tmp_path):
    (tmp_path / LOCK).touch()
    tidy(tmp_path, "tune")
    assert not list(tmp_path.iterdir())
    with locked(tmp_path):
        tidy(tmp_path, "tune")
        assert (tmp_path / LOCK).exists()


def test_tidying_leaves_what_another_command_goes_on_with(tmp_path):
    checkpoint(tmp_path, "masks")
    tidy(tmp_path, "tune")
    assert (tmp_path / "checkpoint" / "state.json").exists()
    with locked(tmp_path):
        mark(tmp_path, "tune")
        tidy(tmp_path, "tune")  # somebody writes here: not now
        assert (tmp_path / MARK).exists()
