"""seas-gen --dry-run and --estimate: against a run of the same settings, and against nothing on the disk."""

import re

import pytest

from seas_runtime import api


def test_a_dry_run_counts_and_opens_no_engine(gen, tmp_path, monkeypatch):
    def never(*_words, **_more):
        raise AssertionError

    monkeypatch.setattr(api, "open", never)
    said = gen("--count", 10, "--normals", 3, "--defect", "hole", "--defect", "crack", "--shard", "0/2", "--dry-run")
    # Batches of 4: pairs 0 to 3 and 8, 9 are of this part, types in turn; of the 3 normal images all.
    assert f"{tmp_path}/out/shard-0-of-2: 6 pairs (crack 3, hole 3) and 3 normal images of 8 x 8 pixels; none of them there" in said
    assert "steps 5, guidance 2.0, threshold 0.5" in said
    assert "less than 5.45 kB" in said  # 9 * (4 * 64 + 350) = 5454
    assert not (tmp_path / "out").exists()


def test_an_estimate_is_near_what_a_run_takes(gen, tmp_path):
    said = gen("--count", 40, "--estimate", "--max-area", 1)
    assert not (tmp_path / "out").exists()
    assert "backend cpu: open in" in said
    (rate,) = re.findall(r"([\d.e+]+) pairs/s", said)
    assert float(rate) > 0
    (told,) = re.findall(r"disk ([\d.]+) kB", said)
    gen("--count", 40, "--max-area", 1)
    written = [file.stat().st_size for file in (tmp_path / "out").rglob("*") if file.suffix in (".png", ".jsonl")]
    assert float(told) * 1000 == pytest.approx(sum(written), rel=0.2)
    there = len((tmp_path / "out/metadata.jsonl").read_text().splitlines())
    refused = tmp_path / "out/refused.jsonl"
    there += len(refused.read_text().splitlines()) if refused.exists() else 0
    said = gen("--count", 50, "--max-area", 1, "--estimate")
    assert f"{there} of them there" in said
    assert f"for {50 - there} to be made" in said


def test_normal_images_alone(gen):
    assert "images/s" in gen("--normals", 2, "--estimate")


@pytest.mark.parametrize("flag", ["--dry-run", "--estimate"])
def test_what_a_run_would_be_refused_for(flag, gen, tmp_path):
    assert "--defect 'none' found" in gen("--count", 1, "--defect", "none", flag, code=2)
    (tmp_path / "file").write_text("x")
    assert "is a file" in gen("--count", 1, flag, out="file", code=5)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/mine.txt").write_text("x")
    assert "so no run of ours" in gen("--count", 1, flag, out="other", code=5)
    gen("--count", 2)
    assert "holds a run with seed 0, not 1" in gen("--count", 2, "--seed", 1, flag, code=5)
