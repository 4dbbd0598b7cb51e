"""Settings: who wins, and what is refused."""

from typing import ClassVar

import pytest
from pydantic import ValidationError

from seas_runtime.errors import SettingsError
from seas_train.base.settings import BaseSettings
from seas_train.config import LoopSettings, MaskSettings, Settings, TuneSettings, resolve


class Cake(Settings):
    """Settings of nothing here."""

    presets: ClassVar = {"sweet": {"sugar": 2, "butter": 2}}
    memories: ClassVar = {"8": {"butter": 5, "flour": 5, "eggs": 5}}
    sugar: int = 1
    butter: int = 1
    flour: int = 1
    eggs: int = 1


def refused(*arguments) -> str:
    """The message of a refused call: one line, exit code 2."""
    with pytest.raises(SettingsError) as caught:
        resolve(*arguments)
    message = caught.value.format_message()
    assert caught.value.exit_code == 2
    assert "\n" not in message
    return message


def test_command_line_over_file_over_preset_over_default(tmp_path):
    file = tmp_path / "cake.toml"
    file.write_text("butter = 3\nflour = 3\n")
    assert resolve(Cake, "sweet", file, {"flour": 4, "eggs": None}) == Cake(sugar=2, butter=3, flour=4, eggs=1)


def test_memory_goes_over_a_preset_and_below_a_file(tmp_path):
    file = tmp_path / "cake.toml"
    file.write_text("flour = 3\n")
    assert resolve(Cake, "sweet", file, {"eggs": 4}, "8") == Cake(sugar=2, butter=5, flour=3, eggs=4)


@pytest.mark.parametrize("cls", [TuneSettings, MaskSettings])
def test_every_memory_is_valid_and_less_never_asks_for_more(cls):
    """A batch keeps its size in sum, and what saves memory stays on as memory gets scarce."""
    before = cls()
    for size in sorted(cls.memories, key=int, reverse=True):
        found = resolve(cls, None, None, {}, size)
        assert found.accumulation * (found.anomaly_batch + found.normal_batch) == 4
        for name in ("cache_latents", "gradient_checkpointing"):
            assert getattr(found, name, False) >= getattr(before, name, False)
        before = found
    assert sorted(cls.memories, key=int) == ["8", "12", "16", "24"]


def test_an_option_that_is_not_given_overrides_nothing():
    assert resolve(Cake, "sweet", None, {"sugar": None}).sugar == 2


@pytest.mark.parametrize("cls", [BaseSettings, TuneSettings, MaskSettings])
def test_every_preset_is_valid(cls):
    assert resolve(cls, None, None, {}) == cls()
    for name in cls.presets:
        resolve(cls, name, None, {})


def test_unknown_preset_names_the_known_ones():
    message = refused(Cake, "salty", None, {})
    assert "salty" in message
    assert "sweet" in message
    assert "none" in refused(LoopSettings, "sweet", None, {})


def test_unknown_key_in_a_file(tmp_path):
    file = tmp_path / "cake.toml"
    file.write_text("chocolate = 1\n")
    message = refused(Cake, None, file, {})
    assert "chocolate" in message
    assert "sugar, butter, flour, eggs" in message


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"steps": "many"}, "steps"),
        ({"steps": 0}, "steps"),
        ({"seed": -1}, "seed"),
        ({"unet_lr": float("nan")}, "unet_lr"),
        ({"attention": "other"}, "attention"),
        ({"levels": ["two"]}, "levels.0"),
        ({"prompt": "a\nb", "train_share": 2}, "train_share"),
    ],
)
def test_wrong_type_or_value_names_the_setting(given, name):
    assert name in refused(TuneSettings, None, None, given)


@pytest.mark.parametrize("content", [b"steps = ", b"\xff\xfe", b"steps = 1\nsteps = 2\n"])
def test_a_file_that_is_no_toml(tmp_path, content):
    file = tmp_path / "wrong.toml"
    file.write_bytes(content)
    assert "wrong.toml" in refused(TuneSettings, None, file, {})


def test_a_missing_file(tmp_path):
    assert "absent.toml" in refused(TuneSettings, None, tmp_path / "absent.toml", {})


def test_settings_are_frozen():
    with pytest.raises(ValidationError):
        TuneSettings().seed = 1
