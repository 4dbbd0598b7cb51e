"""Settings of the stages: their words on the command line mean the same to the commands themselves."""

from dataclasses import fields

import click
import pytest

from seas_export.cli import main as export
from seas_runtime.cli import generate
from seas_runtime.errors import SettingsError
from seas_runtime.options import Options
from seas_train.cli import main as train
from seas_train.config import MaskSettings, TuneSettings, resolve
from seas_train.distill.settings import DistillSettings
from seas_train.pipeline.sections import ExportOptions, checked

NEEDED = {
    "tune": ["data", "--base", "b", "--out", "o"],
    "masks": ["run"],
    "distill": ["run", "--out", "o"],
}


def heard(cls, name, words):
    """The settings that `seas-train NAME` computes with, when it is given these words."""
    given = train.commands[name].make_context(name, [*NEEDED[name], *words]).params
    wanted = {field: given.get(field) for field in cls.model_fields}
    return resolve(cls, given.get("preset"), None, wanted, given.get("memory"))


GIVEN = {
    "tune": {"preset": "tiny", "memory": "16", "steps": 12, "normals": 7, "augment": False, "levels": [2, 3, 4], "unet_lr": 3e-5},
    "masks": {"preset": "demo", "look": "final", "coarse_supervision": False, "lr": 0.002},
    "distill": {"steps": 3, "guidance": 4.5, "unet": "lora", "gradient_checkpointing": True},
}  # fmt: skip


def test_trainings_hear_what_the_sections_say():
    found = checked(GIVEN)
    for name, cls in (("tune", TuneSettings), ("masks", MaskSettings), ("distill", DistillSettings)):
        assert heard(cls, name, list(found.words[name])) == getattr(found, name)
    assert found.tune.normals == 7
    assert found.tune.optimizer == "adamw8bit"  # of 16 GiB
    assert not found.tune.augment


@pytest.mark.parametrize("preset", TuneSettings.presets)
def test_a_preset_goes_to_every_training_and_a_section_goes_before_it(preset):
    found = checked({"distill": {}}, preset, "8")
    assert heard(TuneSettings, "tune", found.words["tune"]) == found.tune == resolve(TuneSettings, preset, None, {}, "8")
    expected = resolve(MaskSettings, preset, None, {"look": "final"}, "8")
    assert heard(MaskSettings, "masks", found.words["masks"]) == found.masks == expected
    heard(DistillSettings, "distill", found.words["distill"])
    own = checked({"tune": {"preset": "paper"}}, preset)
    assert own.tune == resolve(TuneSettings, "paper", None, {})


def test_generation_hears_what_its_section_says():
    given = {"per_type": 3, "defects": ["a", "b c"], "guidance_interval": [0.2, 0.8], "background": "real", "seed": 5}
    found = checked({"gen": given, "export": {"photographs": True}})
    heard = generate.make_context("seas-gen", ["--engine", "x", *found.words["gen"]]).params
    assert Options(**{option.name: heard[option.name] for option in fields(Options)}) == found.gen
    assert heard["defects"] == ("a", "b c")
    assert checked({}).words["gen"] == ("--count", "24")


def test_the_export_hears_what_its_section_says():
    given = {"fp16": True, "guidance_interval": "0.1:0.9", "composites": 4, "photographs": False, "threshold": 0.3}
    found = checked({"export": given})
    heard = export.make_context("seas-export", ["run", "--out", "x", *found.words["export"]]).params
    assert heard["half"]
    assert not heard["photographs"]
    assert (heard["guidance_interval"], heard["composites"], heard["threshold"]) == ((0.1, 0.9), 4, 0.3)
    assert found.export.guidance_interval == (0.1, 0.9)


@pytest.mark.parametrize(("name", "field"), ExportOptions.model_fields.items())
def test_the_export_section_has_the_ranges_of_the_command(name, field):
    """`seas_train` does not import `seas_export`, so it says them a second time."""
    (option,) = (each for each in export.params if f"--{name.replace('_', '-')}" in each.opts)
    bounds = {key: getattr(rule, key) for rule in field.metadata for key in ("ge", "gt", "le", "lt") if hasattr(rule, key)}
    if isinstance(option.type, click.IntRange | click.FloatRange):
        low, high = (
            ("gt" if option.type.min_open else "ge", option.type.min),
            ("lt" if option.type.max_open else "le", option.type.max),
        )
        assert bounds == {key: value for key, value in (low, high) if value is not None}
    else:
        assert not bounds


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"tune": {"setps": 3}}, "[tune] unknown setting 'setps'; did you mean 'steps'?"),
        ({"masks": {"steps": 0}}, "[masks] setting steps"),
        ({"tune": {"memory": "9"}}, "[tune] memory '9' found, one of 24, 16, 12, 8 expected"),
        ({"distill": {"cache_latents": True}}, "[distill] cache_latents"),
        ({"export": {"fp61": True}}, "[export] unknown setting 'fp61'; did you mean 'fp16'?"),
        ({"export": {"guidance_interval": "0.9:0.1"}}, "[export] setting guidance_interval"),
        ({"export": {"mask_steps": 5, "steps": 4}}, "[export] mask_steps 5 is more than steps 4"),
        ({"gen": {"shard": "0/2"}}, "[gen] unknown setting 'shard'"),
        ({"gen": {"count": 0}}, "[gen] count: "),
        ({"gen": {"count": 2, "per_type": 2}}, "[gen] count and per_type found"),
        ({"gen": {"background": "real"}, "export": {"photographs": False}}, "leave --no-photographs out"),
        ({"gen": {"init": "composite"}, "export": {"composites": 0}}, "0 asked for"),
        ({"distill": {"steps": 4}, "gen": {"guidance": 3.0}}, "[gen] guidance found, but the student has 8 inside"),
        ({"distill": {"steps": 4}, "export": {"steps": 5}}, "[export] steps 5 found, but the student knows 1, 2, 3, 4, 6"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(given, said):
    with pytest.raises(SettingsError) as caught:
        checked(given)
    assert said in caught.value.message
    assert "\n" not in caught.value.message
