"""Stages run once, are timed, go on after an interrupt, end with the command's exit code; the demo's are the shipped engine's."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from benchmarks import common, make_demo, real_run, stages
from seas_export.cli import main as export
from seas_runtime.cli import generate
from seas_train.base.settings import BaseSettings
from seas_train.cli import main as train
from seas_train.config import MaskSettings, TuneSettings, resolve
from seas_train.pipeline.child import Ended
from seas_train.pipeline.stages import Stage, Stages, times

ROOT = Path(__file__).parents[2]


class Runner:
    """Makes the file that a command names, and answers with exit codes in turn."""

    def __init__(self, *statuses):
        self.statuses, self.ran = list(statuses), []

    def __call__(self, command):
        self.ran.append(command)
        status = self.statuses.pop(0) if self.statuses else 0
        if isinstance(status, BaseException):
            raise status
        if status in (0, 6):
            Path(command[-1]).write_text("")
        time.sleep(0.02)
        return Ended(status, 10.0 * len(self.ran))


def stage(tmp_path, *words, whole=False):
    return Stage("one", ("seas-train", *words, str(tmp_path / "result")), tmp_path / "result", whole)


def run(tmp_path, runner, *given):
    for one in given:
        Stages(tmp_path, lambda _line: None, runner).run(one)


def test_a_stage_runs_once_and_is_timed(tmp_path):
    runner = Runner()
    run(tmp_path, runner, stage(tmp_path, "base"), stage(tmp_path, "base"))
    assert len(runner.ran) == 1
    (note,) = times(tmp_path).values()
    assert note["command"] == ["seas-train", "base", "WORK/result"]
    assert note["done"]
    assert 0.02 <= note["seconds"] < 5
    assert stages.seconds(tmp_path) == {"seas-train base": round(note["seconds"], 1)}


def test_another_command_or_a_lost_result_is_run_again(tmp_path):
    runner = Runner()
    run(tmp_path, runner, stage(tmp_path, "base"), stage(tmp_path, "base", "--steps", "3"))
    (tmp_path / "result").unlink()
    run(tmp_path, runner, stage(tmp_path, "base", "--steps", "3"))
    assert len(runner.ran) == 3


def test_a_moved_folder_is_done_too(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    runner = Runner()
    run(here, runner, stage(here, "base"))
    here.rename(there)
    run(there, runner, stage(there, "base"))
    assert len(runner.ran) == 1


def test_what_appears_at_once_is_taken_wherever_it_comes_from(tmp_path):
    (tmp_path / "result").write_text("")
    runner = Runner()
    run(tmp_path, runner, stage(tmp_path, "export", whole=True))
    assert not runner.ran
    run(tmp_path, runner, stage(tmp_path, "tune"))  # a run may be half done: its command knows
    assert len(runner.ran) == 1


@pytest.mark.parametrize("ending", [130, KeyboardInterrupt()])
def test_an_interrupt_adds_up_and_goes_on(tmp_path, ending):
    runner = Runner(ending)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, runner, stage(tmp_path, "base"))
    first = times(tmp_path)["one"]
    assert not first["done"]
    run(tmp_path, runner, stage(tmp_path, "base"))
    note = times(tmp_path)["one"]
    assert note["done"]
    assert note["seconds"] > first["seconds"]
    assert note["peak_mib"] == 20
    assert len(runner.ran) == 2


def test_a_gate_that_gave_up_is_done_and_a_failure_keeps_its_exit_code(tmp_path):
    runner = Runner(6, 3)
    run(tmp_path, runner, stage(tmp_path, "gen"))
    assert times(tmp_path)["one"]["done"]
    with pytest.raises(click.exceptions.Exit) as caught:
        run(tmp_path, runner, stage(tmp_path, "base"))
    assert caught.value.exit_code == 3
    note = times(tmp_path)["one"]  # what was refused leaves that of what is there
    assert (note["done"], note["command"][1]) == (True, "gen")


def test_a_failure_is_not_done(tmp_path):
    with pytest.raises(click.exceptions.Exit):
        run(tmp_path, Runner(3), stage(tmp_path, "base"))
    (note,) = times(tmp_path).values()
    assert (note["done"], note["status"]) == (False, 3)


def test_a_command_of_its_own_process_is_measured():
    """From a small process: a child's peak begins with that of the process it was forked from."""
    code = (
        "import sys; from seas_train.pipeline import child; child.executable = lambda _name: sys.executable\n"
        "ended = child.apart(['python', '-c', 'x = bytearray(80_000_000); raise SystemExit(3)'])\n"
        "print(ended.status, ended.peak_mib)"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    status, peak = said.split()
    assert status == "3"
    assert 80_000_000 / 2**20 < float(peak) < 1000


def test_an_interrupt_reaches_a_command_of_its_own_process_through_the_terminal(tmp_path):
    """Both are interrupted, as by Ctrl-C; the command saves what it has, and that is waited for."""
    child = (
        "import signal, sys, time, pathlib\n"
        "def end(*_):\n    pathlib.Path(sys.argv[1]).write_text('saved'); sys.exit(130)\n"
        "signal.signal(signal.SIGINT, end); print('ready', flush=True); time.sleep(20)\n"
    )
    parent = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from seas_train.pipeline import child; child.executable = lambda name: sys.executable\n"
        f"sys.exit(child.apart(['python', '-c', {child!r}, {str(tmp_path / 'saved')!r}]).status)\n"
    )
    command = [sys.executable, "-c", parent]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=30) == 130
    assert (tmp_path / "saved").read_text() == "saved"


COMMANDS = {
    **{("seas-train", name): command for name, command in train.commands.items()},
    ("seas-export",): export,
    ("seas-gen",): generate,
}


def parsed(command):
    """What a program makes of its words."""
    key = next(key for key in COMMANDS if command[: len(key)] == key)
    return COMMANDS[key].make_context(" ".join(key), list(command[len(key) :])).params


def settings_of(cls, command):
    given = parsed(command)
    return resolve(cls, given["preset"], None, {name: given[name] for name in cls.model_fields})


def kept_of(cls, command, known):
    """The settings of a command by the names that there were when the engine was made."""
    return {name: value for name, value in settings_of(cls, command).model_dump(mode="json").items() if name in known}


def test_the_demos_stages_have_the_settings_of_the_shipped_engine(tmp_path):
    manifest = json.loads((ROOT / "engines" / "bottle.plan" / "manifest.json").read_text())
    found = {stage.name: stage.command for stage in make_demo.stages(tmp_path, tmp_path / "bottle.plan")}
    tune, masks = manifest["provenance"]["tune"], manifest["provenance"]["masks"]
    expected = tune | {"steps": None, "steps_per_type": tune["steps"] // 3}  # of three types
    assert kept_of(TuneSettings, found["tune"], tune) == expected
    assert kept_of(MaskSettings, found["masks"], masks) == masks | {"steps": None}
    exported = parsed(found["export"])
    assert {name: exported[name] for name in manifest["defaults"]} == manifest["defaults"]
    assert exported["half"]
    assert parsed(found["tune"])["licence"] == manifest["provenance"]["licence"]
    assert settings_of(BaseSettings, found["base"]).defects
    drawn = parsed(found["draw few"])
    share = drawn["per_defect"] // 3
    assert 3 * share == manifest["provenance"]["anomalies"]  # a third of each of three types
    assert drawn["normals"] == manifest["provenance"]["normals"]


@pytest.mark.parametrize("budget", real_run.BUDGETS)
def test_the_real_runs_commands_are_understood(budget, tmp_path):
    (tmp_path / "tile").mkdir()
    for one in real_run.stages(tmp_path / "tile", tmp_path / "work", real_run.BUDGETS[budget], "CC0"):
        parsed(one.command)
        if one.command[:2] == ("seas-train", "tune"):
            assert settings_of(TuneSettings, one.command).steps == real_run.BUDGETS[budget].tune


def test_kept_results_are_made_once(tmp_path):
    made = []
    for _ in range(2):
        found = common.kept(tmp_path / "a" / "b.json", lambda: made.append(1) or {"x": 1.5})
        assert found == {"x": 1.5}
    assert len(made) == 1


def test_a_missing_package_has_no_version():
    found = common.versions(["numpy", "no-such-package-here"])
    assert found["no-such-package-here"] == "not installed"
    assert found["numpy"][0].isdigit()
