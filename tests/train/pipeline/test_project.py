"""The project file: what it says, what is refused, and the one that --init writes."""

import tomllib

import pytest

from seas_runtime.errors import OutputError, SettingsError
from seas_train.pipeline import project


def written(folder, text):
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "seas.toml"
    file.write_text(text, encoding="utf-8")
    return file


def refused(tmp_path, text):
    with pytest.raises(SettingsError) as caught:
        project.read(written(tmp_path, text))
    assert "\n" not in caught.value.message
    return caught.value.message


def test_paths_begin_at_the_file_and_a_hub_name_stays(tmp_path):
    file = written(
        tmp_path / "here",
        '[project]\ndata = "data/x"\nbase = "own/base"\nout = "/abs/x.plan"\nlora = ["a.safetensors:0.5"]\nsize = 256\n'
        "[tune]\nshots = 3\n",
    )
    (tmp_path / "here" / "own" / "base").mkdir(parents=True)
    found = project.read(file)
    assert found.values["data"] == str(tmp_path / "here" / "data" / "x")
    assert found.values["base"] == str(tmp_path / "here" / "own" / "base")
    assert found.values["out"] == "/abs/x.plan"
    assert found.values["lora"] == [str(tmp_path / "here" / "a.safetensors:0.5")]
    assert found.values["size"] == 256
    assert found.sections == {"tune": {"shots": 3}}
    written(tmp_path / "here", '[project]\nbase = "CompVis/stable-diffusion-v1-4"\n')
    assert project.read(file).values["base"] == "CompVis/stable-diffusion-v1-4"


def test_unknown_names_are_refused_with_the_nearest_one(tmp_path):
    assert "unknown section 'tuen'; did you mean 'tune'?" in refused(tmp_path, "[tuen]\nsteps = 1\n")
    assert "unknown setting 'licens'; did you mean 'licence'?" in refused(tmp_path, '[project]\nlicens = "x"\n')
    assert "known: data, " in refused(tmp_path, '[project]\nqqq = "x"\n')
    assert "out found outside of the sections" in refused(tmp_path, 'out = "x"\n')
    assert "expected a TOML file" in refused(tmp_path, "[project\n")


def test_a_file_that_is_not_there_names_what_writes_one(tmp_path):
    with pytest.raises(SettingsError, match="--init"):
        project.read(tmp_path / "none.toml")


def test_what_init_writes_is_read_back(tmp_path):
    file = tmp_path / "seas.toml"
    values = {"data": 'a "b"', "base": "x/y", "out": "o.plan", "lora": ["l.safetensors:1.0"], "preset": "tiny"}
    project.write(file, values, {"gen": {"count": 12}, "export": {"fp16": True}})
    text = file.read_text(encoding="utf-8")
    assert tomllib.loads(text) == {
        "project": values,
        "tune": {},
        "masks": {},
        "export": {"fp16": True},
        "gen": {"count": 12},
    }
    assert all(f"{key} =" in text for key in project.KEYS)
    with pytest.raises(OutputError, match="exists already"):
        project.write(file, values, {})


def test_a_student_is_in_it_only_where_it_was_asked_for():
    assert "distill" not in tomllib.loads(project.template({}, {}))
    assert tomllib.loads(project.template({}, {"distill": {"steps": 4}}))["distill"] == {"steps": 4}


def test_its_examples_are_settings(tmp_path):
    """Every line that is commented out in a section stands for something that the section knows."""
    from seas_train.pipeline import sections

    text = project.template({}, {"distill": {"steps": 4}})
    text = text[text.index("[tune]") :]
    lines = [line.removeprefix("# ") if line.startswith("# ") and " = " in line else line for line in text.splitlines()]
    found = tomllib.loads("\n".join(line for line in lines if not line.startswith("#")))
    assert found["tune"].keys() == {"steps_per_type", "shots"}
    assert found["export"]["composites"] == 100
    sections.checked(found)
