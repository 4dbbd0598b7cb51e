"""Folders that appear whole: what a kill leaves beside them, and how it goes."""

import pytest

from seas_runtime.errors import OutputError
from seas_runtime.files import LOCK, TEMPORARY_SUFFIX, locked
from seas_runtime.staging import replaced, settle, sweep


def yard_of(folder, **inside):
    """What a killed `replaced(folder)` leaves: {"new": text} or {"old": text}, as folders with one file."""
    yard = folder.with_name(folder.name + TEMPORARY_SUFFIX)
    yard.mkdir(parents=True)
    (yard / LOCK).touch()
    for name, text in inside.items():
        (yard / name).mkdir()
        (yard / name / "file").write_text(text)
    return yard


@pytest.mark.parametrize("tidy", ["settle", "sweep", "replaced"])
def test_a_kill_between_the_two_renames_brings_the_older_folder_back(tmp_path, tidy):
    """The older folder has made way, the new one has not come."""
    yard = yard_of(tmp_path / "vae", new="torn", old="older")
    if tidy == "settle":
        settle(tmp_path / "vae")
    elif tidy == "sweep":
        sweep(tmp_path)
    else:
        with pytest.raises(KeyboardInterrupt), replaced(tmp_path / "vae"):
            raise KeyboardInterrupt
    assert (tmp_path / "vae" / "file").read_text() == "older"
    assert not yard.exists()


def test_a_kill_after_the_renames_keeps_the_new_folder(tmp_path):
    yard_of(tmp_path / "vae", old="older")
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "file").write_text("newer")
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["vae"]
    assert (tmp_path / "vae" / "file").read_text() == "newer"


def test_sweeping_goes_deep_and_takes_nothing_but_leavings(tmp_path):
    for name in (f"run.json{TEMPORARY_SUFFIX}", f"marks/4/a.txt{TEMPORARY_SUFFIX}", "marks/4/kept.txt", "kept.seas-tmp.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    yard_of(tmp_path / "marks" / "4" / "unet", new="torn")
    elsewhere = tmp_path.with_name("elsewhere")
    elsewhere.mkdir()
    (elsewhere / "file").touch()
    (tmp_path / f"link{TEMPORARY_SUFFIX}").symlink_to(elsewhere)
    sweep(tmp_path)
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*"))
    assert left == ["kept.seas-tmp.txt", "marks", "marks/4", "marks/4/kept.txt"]
    assert (elsewhere / "file").exists()


def test_who_is_at_work_is_left_alone(tmp_path):
    yard = yard_of(tmp_path / "x.plan", new="under way")
    with locked(yard):
        settle(tmp_path / "x.plan")
        assert (yard / "new" / "file").exists()
        with pytest.raises(OutputError, match="another run is writing here"), replaced(tmp_path / "x.plan"):
            pass
    settle(tmp_path / "x.plan")
    assert list(tmp_path.iterdir()) == []
