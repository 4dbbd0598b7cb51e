"""Files of a folder that a stranger wrote."""

import pytest

from seas_runtime.dataset.inside import is_plain, place, read_file
from seas_runtime.errors import DataError


@pytest.mark.parametrize("name", ["a.png", "tile/test/crack/000001.png", "x y/ä.png"])
def test_plain_names(name):
    assert is_plain(name)


@pytest.mark.parametrize(
    "name",
    ["", "/a", "a/", "a//b", "./a", "a/..", "..", "a\\b", "C:/a", 'a"b', "a\nb", "a\0b", "x" * 1001, "\ud800", None, 7],
)
def test_names_that_are_not_plain(name):
    assert not is_plain(name)


def test_only_files_inside_are_read(tmp_path):
    root = tmp_path / "out"
    (root / "in").mkdir(parents=True)
    (root / "in" / "a.png").write_bytes(b"inside")
    (tmp_path / "secret.png").write_bytes(b"secret")
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "folder").symlink_to(tmp_path)
    (root / "fine.png").symlink_to(root / "in" / "a.png")
    assert read_file(root, "in/a.png") == b"inside"
    assert read_file(root, "fine.png") == b"inside"
    for name in (
        "link.png",
        "folder/secret.png",
        "../secret.png",
        str(tmp_path / "secret.png"),
        "in",
        "in/b.png",
        "",
        ".",
    ):
        with pytest.raises(DataError):
            place(root, name)
    with pytest.raises(DataError, match="more than 3 bytes"):
        read_file(root, "in/a.png", most=3)
