"""`seas-export` of a published checkpoint."""

from functools import partial

import pytest
from click.testing import CliRunner

from seas_export.cli import main as export_command
from seas_runtime.backends.tensorrt import build
from seas_runtime.backends.tensorrt.engine_set import find_engines
from seas_runtime.bundle.reader import read_bundle


@pytest.mark.slow  # export and engines: minutes
def test_export_of_a_published_checkpoint(root, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "build", partial(build.build, batches=[1]))  # four by default, at four times the cost
    out = tmp_path / "bottle.plan"
    arguments = [root / "checkpoint", "--base", root / "base", "--data", root / "data" / "bottle", "--out", out, "--fp16"]
    arguments += ["--licence", "CC0", "--engines", "rtx", "--gpu", "sm86"]
    result = CliRunner().invoke(export_command, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    manifest = read_bundle(out).manifest
    assert manifest.defect_names == ("broken_large", "broken_small", "contamination")
    assert manifest.defects[1].prompt == "a ob1 with sks5 sks6 sks7 sks8"
    assert (manifest.schedule.final, manifest.provenance["licence"]) == ("published", "CC0")
    assert set(manifest.graphs["unet"].files) == {"fp32", "fp16"}
    (engines,) = find_engines(read_bundle(out))
    assert (engines.engines.facts.gpus, engines.engines.facts.batches) == (("sm86",), (1,))


def test_published_checkpoint_without_its_data_set_is_refused(root, tmp_path):
    out = tmp_path / "bottle.plan"
    result = CliRunner().invoke(export_command, [str(root / "checkpoint"), "--base", str(root / "base"), "--out", str(out)])
    assert result.exit_code == 2
    assert "--data" in result.output
    assert not out.exists()


def test_a_run_has_its_own_base(tuned, tmp_path):
    result = CliRunner().invoke(export_command, [str(tuned), "--base", "x", "--out", str(tmp_path / "x.plan")])
    assert result.exit_code == 2
    assert "no published checkpoint" in result.output
