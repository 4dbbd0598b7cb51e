"""Pairs in tar files: those of single pictures, read by WebDataset's own rules, resumed and extended."""

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from seas_runtime.dataset.merge import merge
from seas_runtime.dataset.read import read
from seas_runtime.dataset.review.pairs import require_run
from seas_runtime.dataset.shards import read_run
from seas_runtime.errors import DataError
from tests.runtime.written import lines, tree

WORDS = ("--batch", 3, "--seed", 6, "--min-area", 1)


def members(folder):
    """KEY -> extension -> bytes of all tar files, as a reader that goes through them in order finds them."""
    found = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, extension = member.name.partition(".")
                found.setdefault(key, {})[extension] = tar.extractfile(member).read()
    return found


@pytest.fixture
def loose(gen, tmp_path):
    gen("--count", 17, *WORDS, out="loose")
    return tmp_path / "loose"


def check(packed, loose):
    """The pairs are the same, and nothing else lies there."""
    found = members(packed)
    assert list(found) == [f"{line['index']:06d}" for line in lines(loose)]
    for line in lines(loose):
        sample = found[f"{line['index']:06d}"]
        assert sample["png"] == (loose / line["file_name"]).read_bytes()
        assert sample["mask.png"] == (loose / line["mask_file_name"]).read_bytes()
        facts = json.loads(sample["json"])
        assert facts == {key: value for key, value in line.items() if key not in ("file_name", "mask_file_name")}
    assert not list(packed.rglob("*.png"))
    assert lines(packed) == lines(loose)


def test_tar_files_hold_the_same_pairs(gen, loose, tmp_path):
    gen("--count", 17, *WORDS, "--per-tar", 5, out="packed")
    assert [path.name for path in sorted((tmp_path / "packed").glob("*.tar"))] == [f"tile-{n:06d}.tar" for n in range(4)]
    check(tmp_path / "packed", loose)
    before = tree(tmp_path / "packed")
    assert "none was left to make" in gen("--count", 17, *WORDS, "--per-tar", 5, out="packed")
    assert tree(tmp_path / "packed") == before


def test_a_longer_run_fills_the_last_tar_file(gen, loose, tmp_path):
    gen("--count", 12, *WORDS, "--per-tar", 5, out="packed")
    gen("--count", 17, *WORDS, "--per-tar", 5, out="packed")
    check(tmp_path / "packed", loose)


@pytest.mark.parametrize("damage", ["cut", "gone", "other"])
def test_a_damaged_tar_file_is_made_again(gen, loose, tmp_path, damage):
    gen("--count", 17, *WORDS, "--per-tar", 5, out="packed")
    path = tmp_path / "packed" / "tile-000001.tar"
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[: len(whole) // 2], "gone": b"", "other": b"x" * 20480}[damage])
    gen("--count", 17, *WORDS, "--per-tar", 5, out="packed")
    assert path.read_bytes() == whole
    check(tmp_path / "packed", loose)


def test_a_run_of_single_pictures_is_not_mixed_with_tar_files(gen, loose):
    assert "per_tar 0, not 5" in gen("--count", 17, *WORDS, "--per-tar", 5, out="loose", code=5)


def test_what_reads_single_pictures_says_so(gen, tmp_path):
    assert "--per-tar found with --sheet or --also" in gen("--count", 4, "--per-tar", 5, "--sheet", code=2)
    gen("--count", 12, *WORDS, "--per-tar", 4, out="packed")
    for reads in (read, require_run, lambda out: merge(read_run([out]), tmp_path / "merged", partial=False, link=False)):
        with pytest.raises(DataError, match="holds its pairs in tar files"):
            reads(tmp_path / "packed")


def test_a_tar_file_of_others_does_not_matter(loose):
    (loose / "backup.tar").write_bytes(b"")
    assert read(loose).pairs == len(lines(loose))


def test_shards_have_names_of_their_own(gen, loose, tmp_path):
    for part in range(2):
        gen("--count", 17, *WORDS, "--per-tar", 4, "--shard", f"{part}/2", out="packed")
    files = [path.name for path in sorted((tmp_path / "packed").rglob("*.tar"))]
    assert len(set(files)) == len(files) == 5
    found = {}
    for part in range(2):
        found |= members(tmp_path / "packed" / f"shard-{part}-of-2")
    assert sorted(found) == [f"{line['index']:06d}" for line in lines(loose)]


@pytest.mark.ecosystem
def test_webdataset_reads_them(gen, loose, tmp_path):
    webdataset = pytest.importorskip("webdataset")
    gen("--count", 17, *WORDS, "--per-tar", 5, out="packed")
    urls = [str(path) for path in sorted((tmp_path / "packed").glob("*.tar"))]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False))
    assert len(samples) == len(lines(loose))
    for sample, line in zip(samples, lines(loose), strict=True):
        mask = np.asarray(Image.open(io.BytesIO(sample["mask.png"])))
        assert (mask > 0).sum() == line["area"]
