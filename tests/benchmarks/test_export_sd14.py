"""The full-size export's run of random weights, at the smallest size."""

from benchmarks.export_sd14 import DEFECTS, make_run
from seas_train import run_folder


def test_the_run_of_random_weights_is_one_that_can_be_exported(tmp_path):
    (stage,) = make_run(tmp_path, "tiny")
    run = run_folder.load(tmp_path / "run")
    run_folder.require_graphs(run)
    assert tuple(run.facts.prompts.anomaly) == DEFECTS
    assert stage["stage"] == "random run"
