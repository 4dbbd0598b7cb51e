"""Training from plain folders and with shots, from the command line to the run's facts."""

import json
from pathlib import Path

from click.testing import CliRunner, Result

from seas_train.cli import main
from seas_train.data import layouts
from tests.train.data import trees


def tune(base: Path, out: Path, *words: object) -> Result:
    small = ["--steps", 1, "--levels", "2", "--normal-count", 3, "--seed", 5]
    return CliRunner().invoke(main, [str(word) for word in ("tune", *words, "--base", base, "--out", out, *small)])


def folder_options(root: Path) -> list[object]:
    return ["--anomalies", root / "anomalies", "--masks", root / "masks", "--normals", root / "normals"]


def test_shots_and_split_are_written_into_the_run(base: Path, tmp_path: Path) -> None:
    root = trees.folders(tmp_path / "data")
    result = tune(base, tmp_path / "run", *folder_options(root), "--shots", 2, "--split", "first")
    assert result.exit_code == 0, result.output
    facts = json.loads((tmp_path / "run/run.json").read_text())
    assert (facts["product"], facts["provenance"]["data"]) == ("valve", "valve (folders)")
    assert (facts["tune"]["shots"], facts["tune"]["split"], facts["tune"]["seed"]) == (2, "first", 5)
    assert facts["train"] == [f"anomalies/{kind}/IMG_{i}.jpg" for kind in ("dent", "scratch") for i in (0, 1)]
    assert facts["held_out"] == [f"anomalies/{kind}/IMG_2.jpg" for kind in ("dent", "scratch")]
    assert len(facts["normals"]) == 3
    again = tune(base, tmp_path / "run", root, "--shots", 2, "--split", "first")  # the same product, found by its tree
    assert "already done" in again.output
    fewer = tune(base, tmp_path / "run", root, "--shots", 1, "--split", "first")
    assert (fewer.exit_code, "shots 2, now 1" in fewer.stderr) == (5, True)


def test_fewer_images_than_a_batch_leave_no_folder(base: Path, tmp_path: Path) -> None:
    root = trees.visa(tmp_path / "data")
    out = tmp_path / "run"
    for words, said in (
        (["--anomaly-batch", 9], "anomaly images for training, expected at least 9"),
        (["--normal-batch", 4], "found 3 normal images for training, expected at least 4"),
        (["--shots", 2], "has 1 images, expected at least 2 for as many shots"),
    ):
        result = tune(base, out, root, *words)
        assert (result.exit_code, result.stdout) == (3, "")
        assert said in result.stderr
        assert not out.exists()


def test_no_data_is_a_usage_error(base: Path, tmp_path: Path) -> None:
    result = tune(base, tmp_path / "run")
    assert result.exit_code == 2
    assert "expected the folder DATA or all of --anomalies, --masks and --normals" in result.stderr


def test_seeded_split_of_a_type_keeps_what_fewer_shots_had(tmp_path: Path) -> None:
    product = layouts.read(trees.mvtec3d(tmp_path))
    for seed in range(10):
        one = layouts.split(product, seed=seed, shots=1)
        third = layouts.split(product, seed=seed)
        assert one == third  # a third of three is one
        assert len(one.train) == len(product.defects)
