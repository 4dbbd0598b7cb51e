"""The front door: the pairs of seas-gen without a file, made as they are asked for."""

import gc
import json
import subprocess
import sys
import threading

import numpy as np
import pytest
from PIL import Image

import seas_runtime
from seas_runtime.errors import BundleError, SettingsError
from tests.runtime.engine_checks import Wide
from tests.runtime.written import lines


@pytest.fixture(scope="module")
def generator(pristine):
    with seas_runtime.open(pristine, "cpu", threads=1) as opened:
        yield opened


def indices(pairs):
    return [pair.index for pair in pairs]


def same(ours, theirs):
    assert (ours.draw, ours.verdict) == (theirs.draw, theirs.verdict)
    return np.array_equal(ours.image, theirs.image) and np.array_equal(ours.mask, theirs.mask)


def test_the_pairs_are_those_of_seas_gen(gen, generator, tmp_path):
    words = {"seed": 5, "batch": 3, "steps": 4, "guidance": 3.0, "min_area": 40, "retries": 1}
    flags = [word for name, value in words.items() for word in (f"--{name.replace('_', '-')}", value)]
    gen("--count", 10, *flags, code=6)
    pairs = generator.pairs(count=10, **words)
    written, made = lines(tmp_path / "out"), list(pairs)
    assert 0 < len(written) == len(made) < 10
    for line, pair in zip(written, made, strict=True):
        image, mask = (np.asarray(Image.open(tmp_path / "out" / line[key])) for key in ("file_name", "mask_file_name"))
        assert np.array_equal(pair.image, image)
        assert np.array_equal(pair.mask, mask)
        for name in ("index", "defect", "seed", "attempt", "normal", "area", "bbox", "verdict"):
            assert getattr(pair, name) == line[name]
    refused = [json.loads(line) for line in (tmp_path / "out" / "refused.jsonl").read_text().splitlines()]
    assert pairs.refused == {line["index"]: line["verdict"] for line in refused}


def test_defaults_are_the_bundles(generator):
    (first,) = generator.pairs(1)
    (told,) = generator.pairs(1, steps=5, guidance=2.0, threshold=0.5, mask_steps=2)
    assert same(first, told)
    assert generator.defects == ("crack", "hole", "stain")
    assert generator.backend.name == "cpu"


def test_types_and_a_start(generator):
    whole = list(generator.pairs(9, batch=3, defects=["stain", "crack"]))
    assert [pair.defect for pair in whole[:3]] == ["crack", "stain", "crack"]
    later = list(generator.pairs(4, start=5, batch=3, defects=["stain", "crack"]))
    assert indices(later) == [5, 6, 7, 8]
    assert all(same(ours, theirs) for ours, theirs in zip(later[1:], whole[6:], strict=True))  # the same batch: the same bits
    assert np.abs(later[0].image.astype(int) - whole[5].image).max() <= 1
    assert {pair.defect for pair in generator.pairs(2, defects="hole")} == {"hole"}


def test_shards_together_are_all_pairs(generator):
    parts = [indices(generator.pairs(11, start=2, batch=2, shard=(part, 3))) for part in range(3)]
    assert sorted(index for part in parts for index in part) == list(range(2, 13))
    assert parts[1] == [2, 3, 8, 9]


def test_without_a_count_there_is_no_end_and_little_is_made(bundle):
    rows = []
    backend = Wide(bundle, 1, lambda graph, feeds: rows.append(len(feeds["latent"])) if graph == "decoder" else None)
    pairs = seas_runtime.Generator(bundle, backend).pairs(batch=2, max_area=1.0)
    assert rows == []
    assert indices(next(pairs) for _ in range(5)) == [0, 1, 2, 3, 4]
    assert rows == [2, 2, 2]


def test_the_last_index_is_the_last_of_the_random_streams_of_pairs(generator):
    assert indices(generator.pairs(start=(1 << 63) - 3)) == [(1 << 63) - left for left in (3, 2, 1)]


def own_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("worker")]


def test_what_is_left_is_stopped(bundle):
    generator = seas_runtime.Generator(bundle, Wide(bundle, 3))
    with generator.pairs(batch=1) as pairs:
        next(pairs)
        assert own_threads()
    assert own_threads() == []
    assert list(pairs) == []
    for _pair in generator.pairs(batch=1):
        break
    gc.collect()
    assert own_threads() == []
    pairs = generator.pairs(batch=1)
    next(pairs)
    with generator:
        pass
    assert own_threads() == []
    assert list(pairs) == []
    with pytest.raises(ValueError, match="closed"):
        generator.pairs(1)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"count": 0}, "count"),
        ({"count": 1, "start": -1}, "start -1 found"),
        ({"count": 1, "defects": ["dent"]}, "'dent' found, one of crack, hole, stain expected"),
        ({"count": 1, "steps": 100}, "steps 100 found, 1 to 99 expected"),
        ({"count": 1, "guidance": float("nan")}, "guidance nan found"),
        ({"count": 1, "steps": 2, "mask_steps": 3}, "mask-steps 3 found, at most the 2 steps"),
    ],
)
def test_bad_options_are_told_at_once(generator, given, named):
    with pytest.raises(SettingsError) as caught:
        generator.pairs(**given)
    assert named in caught.value.message


def test_a_bundle_or_backend_that_is_not_there(pristine, tmp_path):
    with pytest.raises(BundleError, match="no such bundle folder"):
        seas_runtime.open(tmp_path / "none.plan")
    with pytest.raises(BundleError, match="another bundle"):
        seas_runtime.open(pristine, expect="0" * 64)
    with pytest.raises(SettingsError, match="backend 'tpu' found"):
        seas_runtime.open(pristine, "tpu")
    with pytest.raises(SettingsError, match="threads -1 found"):
        seas_runtime.open(pristine, threads=-1)


def test_auto_says_what_it_took_and_a_digest_narrows_it(bundle):
    said = []
    opened = seas_runtime.open(bundle, threads=1, expect=bundle.manifest.digest, log=said.append)
    assert opened.backend.name == "cpu"
    assert said[0].startswith("backend cpu (not cuda: ")


DOOR = """
import json, sys
import seas_runtime
light = sorted(name for name in sys.modules if name.split(".")[0] in ("numpy", "pydantic", "PIL", "onnxruntime"))
known = [name for name in ("open", "Generator", "Options", "Pair", "Pairs") if name in dir(seas_runtime)]
print(json.dumps([light, known, seas_runtime.open.__module__, seas_runtime.Pair.__module__]))
"""


def test_the_door_is_light_until_it_is_opened():
    run = subprocess.run([sys.executable, "-c", DOOR], capture_output=True, text=True, check=True, timeout=60)
    light, known, *homes = json.loads(run.stdout)
    assert light == []
    assert known == ["open", "Generator", "Options", "Pair", "Pairs"]
    assert homes == ["seas_runtime.api", "seas_runtime.sampling.pairs"]
    with pytest.raises(AttributeError, match="no attribute 'close'"):
        seas_runtime.close  # noqa: B018
