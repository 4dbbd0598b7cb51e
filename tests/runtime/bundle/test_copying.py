"""Bundles of links, as caches hand them out, made plain."""

import os

import pytest
from click.testing import CliRunner

from seas_runtime.bundle.copying import copy_bundle
from seas_runtime.bundle.reader import read_bundle
from seas_runtime.engine_cli import engine
from seas_runtime.errors import BundleError, OutputError
from tests.runtime.spoiled import refused


@pytest.fixture
def linked(pristine, tmp_path):
    """A bundle as the hub's cache has it: every file a link to a blob."""
    folder = tmp_path / "linked.plan"
    folder.mkdir()
    for number, file in enumerate(sorted(pristine.iterdir())):
        blob = tmp_path / "blobs" / str(number)
        blob.parent.mkdir(exist_ok=True)
        blob.write_bytes(file.read_bytes())
        (folder / file.name).symlink_to(os.path.relpath(blob, folder))
    return folder


def test_links_are_made_plain_files(linked, pristine, tmp_path):
    refused(linked, "manifest.json is a link", "seas-engine copy")
    digest = read_bundle(pristine).manifest.digest
    result = CliRunner().invoke(engine, ["copy", str(linked), str(tmp_path / "plain.plan"), "--expect", digest])
    assert result.exit_code == 0, result.output
    assert digest in result.output
    files = {file.name: file.read_bytes() for file in (tmp_path / "plain.plan").iterdir() if not file.is_symlink()}
    assert files == {file.name: file.read_bytes() for file in pristine.iterdir()}


def test_a_chain_of_folders_as_kubernetes_mounts_it(pristine, tmp_path):
    mount = tmp_path / "mount"
    (mount / "..2026").mkdir(parents=True)
    (mount / "..data").symlink_to("..2026")
    for file in pristine.iterdir():
        (mount / "..2026" / file.name).write_bytes(file.read_bytes())
        (mount / file.name).symlink_to(f"..data/{file.name}")
    assert copy_bundle(mount, tmp_path / "plain.plan").manifest == read_bundle(pristine).manifest


def test_what_a_link_leads_to_is_what_the_manifest_says_or_nothing(linked, tmp_path):
    secret = tmp_path / "secret"
    size = (linked / "weights.bin").stat().st_size
    for content in (b"s" * size, b"s" * (size + 1), b"", None):
        secret.unlink(missing_ok=True)
        if content is not None:
            secret.write_bytes(content)
        (linked / "weights.bin").unlink()
        (linked / "weights.bin").symlink_to(secret)
        with pytest.raises(BundleError, match=r"weights\.bin"):
            copy_bundle(linked, tmp_path / "plain.plan")
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith("plain")] == []


def test_pipes_loops_and_devices_do_not_hold_it_up(linked, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for aim in (tmp_path / "pipe", tmp_path / "loop", "/dev/zero", tmp_path):
        (linked / "weights.bin").unlink()
        (linked / "weights.bin").symlink_to(aim)
        with pytest.raises(BundleError, match=r"weights\.bin"):
            copy_bundle(linked, tmp_path / "plain.plan")


def test_another_digest_and_a_target_that_exists(linked, tmp_path):
    with pytest.raises(BundleError, match="this is another bundle"):
        copy_bundle(linked, tmp_path / "plain.plan", "0" * 64)
    for make in (lambda path: path.mkdir(), lambda path: path.symlink_to("nowhere")):
        target = tmp_path / f"there{len(list(tmp_path.iterdir()))}.plan"
        make(target)
        with pytest.raises(OutputError, match="exists already"):
            copy_bundle(linked, target)
    with pytest.raises(BundleError, match="No such file"):
        copy_bundle(tmp_path / "none.plan", tmp_path / "plain.plan")
