"""Engine sets beside a bundle, written here by hand: what is read, and every way in which one is unfit."""

import json
import os
import shutil

import pytest

from seas_runtime.backends.tensorrt.engine_set import find_engines, read_engines
from seas_runtime.bundle.graphs import REQUIRED_GRAPHS
from seas_runtime.bundle.reader import read_bundle
from seas_runtime.errors import BackendError, BundleError
from tests.runtime.engine_sets import CONTENTS, VERSION, description, write_set


@pytest.fixture
def own(plan_folder):
    return read_bundle(plan_folder)


@pytest.fixture
def folder(own):
    return write_set(own, description(own))


def unfit(bundle, *words):
    """The set is refused when read, and listed with the same reason."""
    with pytest.raises(BundleError) as caught:
        read_engines(bundle, "rtx", VERSION)
    message = caught.value.message
    assert caught.value.exit_code == 3
    assert "\n" not in message
    for word in words:
        assert word in message, message
    (found,) = find_engines(bundle)
    assert found.engines is None
    assert found.unfit == message.removeprefix(f"{found.path}: ")
    assert found.path.name == f"rtx-{VERSION}"


def test_a_good_set_is_read(own, folder):
    engines = read_engines(own, "rtx", VERSION)
    assert engines.path == folder
    assert engines.facts.gpus == ("sm86", "sm120")
    assert engines.facts.batches == (1, 4)
    assert engines.file("unet").read_bytes() == CONTENTS["unet"]
    assert engines.bytes == 700 + 7 + 3
    with pytest.raises(KeyError):
        engines.file("mask_head")
    (found,) = find_engines(own)
    assert (found.engines, found.unfit) == (engines, "")


def test_a_bundle_without_engines(own):
    assert find_engines(own) == []
    with pytest.raises(BundleError, match=r"no such engines; run: seas-engine build .* --variant tensorrt"):
        read_engines(own, "tensorrt", "11.4.0")


def test_the_profile_that_takes_a_batch(own, folder):
    unet = read_engines(own, "rtx", VERSION).facts.graphs["unet"]
    assert [unet.profile(rows) for rows in range(1, 9)] == [0, 0, 1, 1, 1, 1, 1, 1]
    for rows in (0, 9):
        with pytest.raises(BackendError, match=rf"{rows} rows asked for, at most 8 built.*--batch"):
            unet.profile(rows)


def test_sets_are_listed_by_name_and_what_a_build_left_is_not(own, folder):
    shutil.copytree(folder, folder.with_name("tensorrt-11.4.0"))
    shutil.copytree(folder, folder.with_name(f"rtx-{VERSION}.seas-tmp"))
    (folder.parent / ".seas-lock").touch()
    (folder.parent / "notes.txt").touch()
    listed = {found.path.name: found.unfit for found in find_engines(own)}
    assert list(listed) == ["notes.txt", f"rtx-{VERSION}", "tensorrt-11.4.0"]
    assert "not a folder" in listed["notes.txt"]
    assert listed[f"rtx-{VERSION}"] == ""
    assert f"holds rtx-{VERSION}" in listed["tensorrt-11.4.0"]


@pytest.mark.parametrize("graph", REQUIRED_GRAPHS)
def test_engine_files_changed_cut_grown_or_missing(own, folder, graph):
    file = folder / f"{graph}.engine"
    data = CONTENTS[graph]
    for place in (0, len(data) - 1):
        changed = bytearray(data)
        changed[place] ^= 1
        file.write_bytes(changed)
        unfit(own, file.name, "another hash")
    file.write_bytes(data[:-1])
    unfit(own, file.name, f"has {len(data) - 1} bytes, {len(data)} expected")
    file.write_bytes(data + b"x")
    unfit(own, file.name, f"has {len(data) + 1} bytes")
    file.unlink()
    unfit(own, f"{file.name} missing", "build the engines again")


def test_a_file_too_many(own, folder):
    (folder / "vae.engine").write_bytes(b"x")
    unfit(own, "vae.engine not in engines.json")
    (folder / "vae.engine").unlink()
    (folder / "more").mkdir()
    unfit(own, "more is a link or not a file")


def test_links_are_refused_wherever_they_lead(own, folder, tmp_path):
    file = folder / "unet.engine"
    kept = tmp_path / "kept.engine"
    shutil.move(file, kept)
    file.symlink_to(kept)
    unfit(own, "unet.engine is a link")
    file.unlink()
    file.symlink_to("decoder.engine")
    unfit(own, "unet.engine is a link")
    file.unlink()
    os.mkfifo(file)
    unfit(own, "unet.engine is a link or not a file")
    file.unlink()
    shutil.move(kept, file)
    description_file = folder / "engines.json"
    shutil.move(description_file, kept)
    description_file.symlink_to(kept)
    unfit(own, "engines.json is a link")


@pytest.mark.parametrize("linked", ["set", "engines"])
def test_a_linked_folder_is_refused(own, folder, tmp_path, linked):
    origin = folder if linked == "set" else folder.parent
    shutil.move(origin, tmp_path / "elsewhere")
    origin.symlink_to(tmp_path / "elsewhere")
    unfit(own, "a link or not a folder")


def test_engines_of_another_bundle(own, folder):
    facts = description(own)
    facts["core"] = "ab" * 32
    (folder / "engines.json").write_text(json.dumps(facts))
    unfit(own, "engines of another bundle", "abababababab...", f"{own.manifest.digest[:12]}...")


def test_no_description_or_an_endless_one(own, folder):
    file = folder / "engines.json"
    file.unlink()
    unfit(own, "no engines.json in it")
    with file.open("wb") as stream:
        stream.truncate((1 << 20) + 1)
    unfit(own, "larger than 1048576 bytes")


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff\xfe", b'{"format": 1', b"[" * 100_000, b"null"])
def test_a_description_that_is_no_json_object(own, folder, data):
    (folder / "engines.json").write_bytes(data)
    unfit(own, "engines.json: ", "build the engines again")


def put(path, value):
    """A change of one field, named by its path."""

    def change(facts):
        *above, last = path
        for key in above:
            facts = facts[key]
        facts[last] = value

    return change


UNET = ("graphs", "unet")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (put(("format",), 2), "format"),
        (put(("format",), "1"), "format"),
        (put(("flavour",), "openvino"), "flavour"),
        (put(("version",), "../1.7"), "version"),
        (put(("gpus",), []), "gpus"),
        (put(("gpus",), ["sm8"]), "gpus"),
        (put(("gpus",), ["RTX 4090"]), "gpus"),
        (put(("core",), "x"), "core"),
        (put(("batches",), [0]), "batches"),
        (put(("device",), "NVIDIA H100"), "device"),
        (put(("surprise",), 1), "surprise"),
        (put(("two\nlines",), 1), "two lines"),
        (put(("graphs", "mask_head"), {}), "mask_head"),
        (put((*UNET, "file"), "/etc/passwd"), "'unet.engine' expected"),
        (put((*UNET, "file"), "../../weights.bin"), "'unet.engine' expected"),
        (put((*UNET, "file"), "decoder.engine"), "'unet.engine' expected"),
        (put((*UNET, "bytes"), "700"), "bytes"),
        (put((*UNET, "bytes"), -1), "bytes"),
        (put((*UNET, "sha256"), "A" * 64), "sha256"),
        (put((*UNET, "precision"), "int8"), "precision"),
        (put((*UNET, "profiles"), []), "profiles"),
        (put((*UNET, "profiles"), [{"min": 2, "opt": 2, "max": 2}]), "profiles"),
        (put((*UNET, "profiles", 1, "min"), 4), "profiles"),
        (put((*UNET, "profiles", 1, "opt"), 9), "profiles"),
        (put((*UNET, "profiles", 0, "max"), 0), "profiles"),
        (put((*UNET, "settings", "refit"), "no"), "refit"),
        (lambda facts: facts.pop("core"), "core"),
        (lambda facts: facts["graphs"].pop("decoder"), "graphs"),
    ],
)
def test_a_description_that_does_not_fit_the_schema(own, folder, change, named):
    facts = description(own)
    change(facts)
    (folder / "engines.json").write_text(json.dumps(facts))
    unfit(own, "engines.json: ", named)


def test_the_folder_of_another_version(own):
    write_set(own, description(own) | {"version": "1.8.0"})
    unfit(own, "holds rtx-1.8.0")


def test_tensorrt_engines_name_their_device(own):
    facts = description(own) | {"flavour": "tensorrt", "version": "11.4.0", "gpus": ["sm90"]}
    folder = write_set(own, facts | {"device": "NVIDIA H100"}, "tensorrt-11.4.0")
    assert read_engines(own, "tensorrt", "11.4.0").facts.device == "NVIDIA H100"
    (folder / "engines.json").write_text(json.dumps(facts))
    with pytest.raises(BundleError, match="device"):
        read_engines(own, "tensorrt", "11.4.0")


def test_engines_that_cannot_be_listed(own, plan_folder):
    (plan_folder / "engines").write_text("not a folder")
    with pytest.raises(BundleError, match="Not a directory"):
        find_engines(own)
