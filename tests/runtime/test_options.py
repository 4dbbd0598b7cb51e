"""Options: declared once, the same on the command line and in Python, checked in both."""

import inspect
from dataclasses import fields

import numpy as np
import pytest
from click.testing import CliRunner

from seas_runtime import Generator, Options
from seas_runtime.cli import generate
from seas_runtime.errors import SettingsError
from seas_runtime.options import SEED_BELOW
from seas_runtime.sampling.noise import WORD
from seas_runtime.settings import Settings, resolve


def test_python_and_the_command_line_have_the_same_options_and_defaults():
    defaults = {option.name: option.default for option in fields(Options)}
    inside = {name: one.default for name, one in inspect.signature(Generator.pairs).parameters.items() if name != "self"}
    assert inside.pop("start") == 0  # what shards are for on the command line
    assert inside == {name: default for name, default in defaults.items() if name not in ("per_type", "normals", "per_tar")}
    of_normals = {name: one.default for name, one in inspect.signature(Generator.normals).parameters.items() if name != "self"}
    assert of_normals.pop("count") is inspect.Parameter.empty
    assert of_normals == {name: defaults[name] for name in of_normals}
    given = {option.name: option for option in generate.params}
    assert all(given[name].help for name in defaults)
    with generate.make_context("seas-gen", ["--engine", "x.plan"]) as ctx:
        assert {name: ctx.params[name] for name in defaults} == defaults


def test_all_that_decides_a_run_is_recorded():
    recorded = set(Settings.model_fields) - {"product", "digest", "backend"}
    assert recorded == {option.name for option in fields(Options)} - {"per_type"}


def test_numbers_of_other_libraries_become_pythons(bundle):
    options = Options(count=np.int64(5), guidance=np.float32(3), defects=["hole"], seed=np.uint64(WORD - 1))
    assert options == Options(count=5, guidance=3.0, defects=("hole",), seed=SEED_BELOW - 1)
    assert type(options.seed) is int
    assert Options(defects="hole").defects == ("hole",)
    assert Options(shard="1/4").shard == (1, 4)
    assert resolve(bundle.manifest, "cpu", options).model_dump()["guidance"] == 3.0


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"count": 0}, "count: 0 is not in the range"),
        ({"batch": 2.5}, "batch 2.5 found"),
        ({"batch": None}, "batch None found"),
        ({"steps": "5"}, "steps '5' found"),
        ({"guidance": "much"}, "guidance: 'much' is not a valid float"),
        ({"guidance": 0.9}, "guidance: 0.9 is not in the range"),
        ({"threshold": 1}, "threshold: 1.0 is not in the range"),
        ({"seed": -1}, "seed: -1 is not in the range"),
        ({"seed": SEED_BELOW}, f"seed: {SEED_BELOW} is not in the range"),
        ({"shard": (2, 2)}, "shard: (2, 2) found, k/n with 0 <= k < n"),
        ({"shard": 3}, "shard: 3 found, k/n"),
        ({"defects": 5}, "defects 5 found"),
        ({"max_area": [1]}, "max_area [1] found"),
    ],
)
def test_what_the_command_line_refuses_is_refused_in_python(given, named):
    with pytest.raises(SettingsError) as caught:
        Options(**given)
    assert named in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 2


def test_help_has_the_ranges_and_where_defaults_come_from():
    shown = " ".join(CliRunner().invoke(generate, ["--help"], terminal_width=100).output.split())
    for words in ("--defect NAME", "1<=x<=256", "default: (from the bundle); 0<x<1", "default: 4", "--shard k/n"):
        assert words in shown
