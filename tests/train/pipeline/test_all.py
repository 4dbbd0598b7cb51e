"""`seas-train all`: the order of its commands, what is done again and what not, and how it ends; stages are stood in for."""

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from PIL import Image

from seas_export.cli import main as export
from seas_runtime.cli import generate
from seas_train.cli import main
from seas_train.pipeline import cli, preflight
from seas_train.pipeline.child import Ended
from seas_train.pipeline.stages import times

PROGRAMS: dict[str, click.Command] = {"seas-export": export, "seas-gen": generate}


class Child:
    """Understands each command as the program does, writes its result, and ends with exit codes in turn."""

    def __init__(self):
        self.ran, self.statuses, self.params, self.aside, self.quiet = [], {}, {}, False, False

    def __call__(self, command, aside=False):
        program, *words = command
        self.aside, self.quiet = aside, "--quiet" in words
        name = words.pop(0) if program == "seas-train" else program.removeprefix("seas-")
        given = (main.commands[name] if program == "seas-train" else PROGRAMS[program]).make_context(name, words).params
        self.ran.append(name)
        self.params[name] = given
        status = self.statuses.pop(name, 0)
        if status in (0, 6):
            self.write(name, given)
        return Ended(status, 10.0)

    @staticmethod
    def write(name, given):
        place = {"masks": given.get("run", Path()) / "rmp" / "config.json", "report": given.get("out")}
        names = {"tune": "run.json", "distill": "run.json", "export": "manifest.json", "gen": "run.json"}
        path = place[name] if name in place else given["out"] / names[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}", encoding="utf-8")


@pytest.fixture
def child(monkeypatch):
    made = Child()
    monkeypatch.setattr(cli, "apart", made)
    monkeypatch.setattr(preflight, "executable", lambda name: name)
    return made


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a data set of two types in it, where the command runs."""
    monkeypatch.chdir(tmp_path)
    for place in ("train/good/0", "test/good/0", "test/crack/0", "test/hole/0"):
        path = tmp_path / "data" / "bolt" / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(path)
    for defect in ("crack", "hole"):
        path = tmp_path / "data" / "bolt" / "ground_truth" / defect / "0_mask.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 255).save(path)
    return tmp_path


WORDS = ["all", "data/bolt", "--base", "base", "--out", "engines/bolt.plan"]


def call(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


def done(*words):
    result = call(*words)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(code, *words):
    result = call(*words)
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)
    return result.stderr


def everything(folder):
    return sorted((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*"))


def test_every_stage_runs_once_in_order_and_the_next_time_none(here, child):
    said = done(*WORDS, "--preset", "tiny", "--fp16", "--count", 5, "--licence", "CC0")
    assert child.ran == ["tune", "masks", "export", "gen", "report"]
    assert said.startswith("done: engines/bolt.plan")
    assert (child.params["tune"]["base"], child.params["tune"]["preset"], child.params["tune"]["licence"]) == (
        "base",
        "tiny",
        "CC0",
    )
    assert child.params["masks"]["run"] == Path("runs/bolt/run")
    assert child.params["export"]["half"]
    assert (child.params["gen"]["count"], child.params["gen"]["engine"]) == (5, Path("engines/bolt.plan"))
    assert child.params["report"]["runs"] == (Path("runs/bolt/run"),)
    before = everything(here)
    assert done(*WORDS, "--preset", "tiny", "--fp16", "--count", 5, "--licence", "CC0").startswith("already done")
    assert len(child.ran) == 5
    assert everything(here) == before


def test_a_student_is_exported_in_place_of_its_teacher(here, child):
    done(*WORDS, "--distill", 4, "--preset", "tiny")
    assert child.ran == ["tune", "distill", "masks", "export", "gen", "report"]
    assert (child.params["distill"]["steps"], child.params["distill"]["preset"]) == (4, "demo")
    assert child.params["masks"]["look"] == "final"
    assert child.params["masks"]["run"] == child.params["export"]["run"] == child.params["distill"]["out"]
    assert child.params["report"]["runs"] == (Path("runs/bolt/run"), Path("runs/bolt/student"))


@pytest.mark.parametrize("stage", ["tune", "masks", "export", "gen", "report"])
@pytest.mark.parametrize(("status", "code"), [(130, 130), (3, 3), (-2, 130), (-9, 137)])
def test_what_ends_a_stage_ends_the_command_and_the_same_goes_on_there(here, child, stage, status, code):
    order = ["tune", "masks", "export", "gen", "report"]
    child.statuses[stage] = status
    said = refused(code, *WORDS)
    assert child.ran == order[: order.index(stage) + 1]
    assert ("Interrupted" in said) == (status == -2)  # one that ended with 130 has said so itself
    assert ("killed by signal 9, perhaps for memory" in said) == (status == -9)
    child.ran.clear()
    done(*WORDS)
    assert child.ran == order[order.index(stage) :]


def test_a_gate_that_gave_up_is_reported_and_ends_with_its_code_each_time(here, child):
    child.statuses["gen"] = 6
    for _ in range(2):
        assert "first pairs are poor" in refused(6, *WORDS)
    assert child.ran == ["tune", "masks", "export", "gen", "report"]


def test_more_pairs_are_added_and_the_page_is_made_again(here, child):
    done(*WORDS)
    child.ran.clear()
    done(*WORDS, "--count", 48)
    assert child.ran == ["gen", "report"]


def test_a_bundle_killed_before_its_note_was_written_is_taken(here, child):
    done(*WORDS)
    notes = times(Path("runs/bolt"))
    notes["export"]["done"] = notes["gen"]["done"] = False
    Path("runs/bolt/times.json").write_text(json.dumps(notes), encoding="utf-8")
    child.ran.clear()
    done(*WORDS)
    assert child.ran == ["gen", "report"]


def test_other_settings_of_a_bundle_are_refused_before_anything_runs(here, child):
    done(*WORDS)
    child.ran.clear()
    assert "was made by `seas-export WORK/run" in refused(5, *WORDS, "--fp16")
    assert "has pairs of another bundle" in refused(5, *WORDS[:-1], "other.plan", "--work", "runs/bolt")
    Path("runs/bolt/run/rmp/config.json").unlink()
    assert "but not the masks it was made from" in refused(5, *WORDS)
    assert not child.ran


def test_settings_that_a_stage_refuses_leave_what_was_done_before_as_it_is(here, child):
    done(*WORDS)
    child.statuses["tune"] = 5
    refused(5, *WORDS, "--preset", "tiny")
    child.ran.clear()
    assert done(*WORDS).startswith("already done")


def test_a_foreign_place_is_refused_and_left_alone(here, child):
    for folder, words in (("engines/bolt.plan", WORDS), ("work", [*WORDS, "--work", "work"])):
        path = here / folder / "letter.txt"
        path.parent.mkdir(parents=True)
        path.write_text("mine", encoding="utf-8")
        refused(5, *words)
        path.unlink()
        path.parent.rmdir()
    run = here / "runs" / "bolt" / "run.json"
    run.parent.mkdir(parents=True)
    run.write_text("{}", encoding="utf-8")
    assert "is a run folder of its own" in refused(5, *WORDS)
    assert not child.ran


def test_stages_that_were_typed_one_by_one_are_gone_on_from(here, child):
    """As under torchrun: the commands themselves say that they are done."""
    child.write("tune", {"out": Path("runs/bolt/run")})
    done(*WORDS)
    assert child.ran == ["tune", "masks", "export", "gen", "report"]


def test_a_dry_run_shows_commands_that_can_be_typed_and_writes_nothing(here, child):
    before = everything(here)
    lines = done(*WORDS, "--dry-run", "--name", "big bolt").splitlines()
    assert lines[:2] == ["# tune: to do", "seas-train tune data/bolt --name 'big bolt' --base base --out runs/bolt/run"]
    assert everything(here) == before
    assert not child.ran
    child.statuses["masks"] = 3
    refused(3, *WORDS)
    assert [line for line in done(*WORDS, "--dry-run").splitlines() if line.startswith("#")][:2] == [
        "# tune: already done",
        "# masks: to do",
    ]


def test_what_is_missing_or_cannot_be_exported_is_told_before_anything_runs(here, child, monkeypatch):
    assert "no --base and no --out given" in refused(2, "all", "data/bolt")
    assert "no DATA (or --anomalies, --masks, --normals) and no --base and no --out" in refused(2, "all")
    assert "no such folder" in refused(3, "all", "data/none", *WORDS[2:])
    assert "the product cannot be exported" in refused(3, *WORDS, "--name", "a/b")
    (here / "data/bolt/test/crack").rename(here / "data/bolt/test/Normal")
    (here / "data/bolt/ground_truth/crack").rename(here / "data/bolt/ground_truth/Normal")
    assert "the defect type cannot be exported" in refused(3, *WORDS)
    monkeypatch.setenv("RANK", "0")
    assert "several processes" in refused(2, *WORDS)
    assert not child.ran
    assert not (here / "runs").exists()


def test_without_the_exporters_packages_nothing_is_trained(here, child, monkeypatch):
    monkeypatch.setattr(preflight, "PACKAGES", ("torch", "no_such_package_here"))
    said = refused(4, *WORDS)
    assert "no_such_package_here not installed" in said
    assert 'pip install "seas-gen[cpu,train,export]"' in said
    assert not child.ran


def test_the_project_file_of_this_folder_is_read_and_the_command_line_goes_before_it(here, child):
    Path("seas.toml").write_text(
        '[project]\ndata = "data/bolt"\nbase = "base"\nout = "x.plan"\npreset = "tiny"\nsize = 128\n'
        "[tune]\nshots = 1\n[gen]\nper_type = 9\n[export]\nfp16 = true\n",
        encoding="utf-8",
    )
    done("all", "--size", 256, "--fp32", "--count", 3)
    tune, gen = child.params["tune"], child.params["gen"]
    assert (tune["data"], tune["base"], tune["size"], tune["shots"], tune["preset"]) == (Path("data/bolt"), "base", 256, 1, "tiny")
    assert (gen["count"], gen["per_type"]) == (3, None)
    assert not child.params["export"]["half"]
    assert child.params["export"]["out"] == Path("x.plan")


def test_a_project_file_elsewhere_is_asked_for_and_its_paths_begin_there(here, child):
    Path("there").mkdir()
    Path("there/p.toml").write_text('[project]\ndata = "../data/bolt"\nbase = "hub/name"\nout = "x.plan"\n', encoding="utf-8")
    done("all", "--project", "there/p.toml")
    assert child.params["tune"]["data"] == Path("there/../data/bolt")
    assert child.params["tune"]["base"] == "hub/name"
    assert child.params["export"]["out"] == Path("there/x.plan")
    said = refused(2, "all", "--project", "there/none.toml")
    assert "no such file" in said


def test_where_images_are_named_this_folders_file_is_left_alone(here, child):
    Path("seas.toml").write_text("[nonsense]\n", encoding="utf-8")
    assert "unknown section 'nonsense'" in refused(2, "all")
    done(*WORDS)


def test_folders_of_the_command_line_replace_data_of_the_file(here, child):
    Path("p.toml").write_text('[project]\ndata = "none"\nlayout = "visa"\nbase = "base"\nout = "x.plan"\n', encoding="utf-8")
    folders = [
        "--anomalies",
        "data/bolt/test/crack",
        "--masks",
        "data/bolt/ground_truth/crack",
        "--normals",
        "data/bolt/train/good",
    ]
    done("all", "--project", "p.toml", *folders, "--name", "bolt")
    assert child.params["tune"]["data"] is None
    assert child.params["tune"]["anomalies_folder"] == Path("data/bolt/test/crack")


def test_a_value_of_the_file_that_does_not_fit_is_refused_with_its_name(here, child):
    Path("seas.toml").write_text('[project]\ndata = "data/bolt"\nbase = "b"\nout = "x"\nmemory = "9"\n', encoding="utf-8")
    said = refused(2, "all")
    assert said.startswith("Error: seas.toml: [project] memory: '9' is not one of")
    assert said.count("\n") == 1


def test_init_writes_what_is_given_and_all_then_does_the_same(here, child):
    words = [*WORDS, "--distill", 2, "--count", 7, "--photographs", "--lora", "l.safetensors:0.5"]
    shown = done(*words, "--dry-run")
    assert "seas.toml" in done(*words, "--init")
    assert done("all", "--dry-run") == shown
    assert "exists already" in refused(5, *words, "--init")
    assert not child.ran


@pytest.mark.parametrize(
    ("option", "aside", "quiet"), [("--json", True, False), ("--quiet", True, True), ("--verbose", False, False)]
)
def test_with_json_the_stages_still_say_how_far_they_are(here, child, option, aside, quiet):
    done(*WORDS, option)
    assert child.aside == aside
    assert child.quiet == quiet


def test_the_share_to_learn_from_is_an_option(here, child):
    done(*WORDS, "--train-share", 1)
    assert child.params["tune"]["train_share"] == 1
