"""What the commands of `seas-quality` share: their options, and what those stand for."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from seas_runtime.errors import DataError, OutputError, SettingsError

if TYPE_CHECKING:
    from benchmarks.quality.real import Real
    from seas_train.config import TuneSettings

Function = TypeVar("Function", bound=Callable[..., Any])
PATH = click.Path(path_type=Path)
BUDGETS = ("smoke", "small", "paper")
SIDES = {"smoke": 64, "small": 128, "paper": 256}
"""Side in pixels to which images are resized, by budget."""
NETWORKS = ("small", "efficientnet", "bisenet", "upernet", "lfd")
RESNETS = ("upernet", "lfd")
"""Networks that take a file of weights."""
COMPARATORS = ("standard", "crop-paste", "placed", "perlin", "poisson")
SHARES = click.FloatRange(0, 1, min_open=True, max_open=True)

RUN = click.option(
    "--run", "runs", type=PATH, multiple=True, metavar="RUN",
    help="Run folder of a product's generator, which says what it was trained on; may be repeated.",
)  # fmt: skip
PAIRS = click.option(
    "--pairs", "folders", multiple=True, metavar="[NAME=]DIR",
    help="Generated pairs of any system: MVTec AD's tree, image and mask, N_img.png and N_mask.png; may be repeated.",
)  # fmt: skip
SEEDS = click.option("--seeds", type=click.IntRange(1), default=3, metavar="N", help="Trainings of each kind.")
BUDGET = click.option("--budget", type=click.Choice(BUDGETS), default="small", help="How long every network is trained.")
INCEPTION = click.option(
    "--inception", type=PATH, metavar="FILE", help="Published Inception weights; without them and VGG's: a proxy."
)
VGG = click.option("--vgg", type=PATH, metavar="FILE", help="Published VGG-16 weights, for LPIPS.")
WORK = click.option(
    "--work",
    type=PATH,
    metavar="DIR",
    show_default="out/quality/<command>/<folder of DATA>",
    help="Where everything goes; the same command continues there.",
)
BASE = click.option("--base", type=PATH, metavar="BASE", show_default="trained here", help="A small base model's folder.")
AUGMENT = click.option(
    "--augment/--no-augment", "--turn/--no-turn", "augment", default=True,
    help="Quarter-turns and flips; switch off for a fixed pose.",
)  # fmt: skip
STEPS = click.option("--steps", type=click.IntRange(1), metavar="N", show_default="by budget", help="Steps of every training.")
SIDE = click.option(
    "--side", type=click.IntRange(32), metavar="PIXELS", help="Side to which images are resized.",
    show_default="64, 128, 256 by budget",
)  # fmt: skip


DIVISION: Mapping[str, Callable[[Any], Any]] = {
    "data": click.option("--data", type=PATH, required=True, metavar="DIR", help="A product's data set, or a folder of several."),
    "layout": click.option("--layout", default="auto", metavar="NAME", help="How DATA is arranged; see seas-train tune --help."),
    "train_share": click.option(
        "--train-share", type=SHARES, metavar="X", show_default="1/3", help="Share of each type to learn from."
    ),
    "split": click.option(
        "--split", type=click.Choice(["seeded", "first"]), show_default="seeded", help="Which images are that share."
    ),
    "shots": click.option("--shots", type=click.IntRange(1), metavar="N", help="Anomalies of each type to learn from, instead."),
    "split_seed": click.option("--split-seed", type=click.IntRange(0), metavar="N", show_default="0", help="Of the division."),
}
"""How the real images are named and divided, by the fields of `Given`."""


def out_option(name: str) -> Callable[[Function], Function]:
    """--out, where results go and from where an interrupted command continues."""
    return click.option(
        "--out", type=PATH, default=Path("out/quality") / name, metavar="DIR",
        help="Where tables, pictures and finished trainings go; the same command continues there.",
    )  # fmt: skip


def work_of(ctx: click.Context, work: Path | None, given: Given) -> Path:
    """Where everything of a command goes."""
    return work or Path("out/quality") / str(ctx.info_name) / given.data.resolve().name


@dataclass(frozen=True)
class Given:
    """How the real images are named and divided on the command line."""

    data: Path
    layout: str
    train_share: float | None
    split: str | None
    shots: int | None
    split_seed: int | None

    def products(self, runs: Sequence[Path] = ()) -> dict[str, Real]:
        """Read and divide the products, by name.

        Raises:
            DataError, SettingsError: as `real.read_products` and `real.divide`; a product has no run or a run no product, or
                runs of one product divide it differently.
        """
        from benchmarks.quality import real
        from seas_train.run_folder import Facts, load_facts

        if runs and any(value is not None for value in self._asked.values()):
            raise SettingsError("found --run and a division of the data, expected one: a run says what it held out; leave one out")
        settings, found = self.settings, real.read_products(self.data, self.layout)
        facts: dict[str, Facts] = {}
        for run in runs:
            known = load_facts(run)
            other = facts.setdefault(known.product, known)
            for part in ("train", "held_out", "normals"):
                if set(getattr(known, part)) != set(getattr(other, part)):
                    raise DataError(
                        f"{run}: its {part} images of {known.product} are not those of the run before it, expected one division "
                        "of a product; judge the runs in commands of their own"
                    )
        if facts:
            missing = sorted(set(found) ^ set(facts))
            if missing:
                raise DataError(
                    f"{missing[0]}: has no run or no images, expected a run of every product and images of every run "
                    f"(found runs of {', '.join(facts)}; images of {', '.join(found)}); give the missing, or no run at all"
                )
        return {name: real.divide(product, settings, facts.get(name)) for name, product in found.items()}

    def origin(self, runs: Sequence[Path] = ()) -> dict[str, Any]:
        """What divided the products, for the facts of a document: sha256 of each product's runs, or the settings."""
        from benchmarks.quality.weights import sha256
        from seas_train.run_folder import load_facts

        if not runs:
            return self.settings.model_dump(include={*self._asked, "normals"})
        found: dict[str, Any] = {}
        for run in runs:
            found.setdefault(load_facts(run).product, []).append(sha256(run / "run.json"))
        return found

    @property
    def _asked(self) -> dict[str, Any]:
        return {"train_share": self.train_share, "split": self.split, "shots": self.shots, "seed": self.split_seed}

    @property
    def settings(self) -> TuneSettings:
        """Of the division, as `seas-train tune` has them."""
        from seas_train.config import TuneSettings, resolve

        return resolve(TuneSettings, None, None, self._asked)


def data_options(command: Function) -> Function:
    """--data, --layout and how anomalies are divided; the command is called with `given`, a `Given`."""
    return _with_given(command, DIVISION)


def data_options_but_shots(command: Function) -> Function:
    """The same for a command whose --shots are several: `given` has none."""
    return _with_given(command, {name: option for name, option in DIVISION.items() if name != "shots"})


def _with_given(command: Function, chosen: Mapping[str, Callable[[Any], Any]]) -> Function:
    @functools.wraps(command)
    def given(*args: Any, **options: Any) -> Any:
        fields: dict[str, Any] = dict.fromkeys(DIVISION) | {name: options.pop(name) for name in chosen}
        return command(*args, given=Given(**fields), **options)

    wrapped: Any = given
    for decorate in reversed(list(chosen.values())):
        wrapped = decorate(wrapped)
    return wrapped


def named_folders(folders: Sequence[str]) -> dict[str, Path]:
    """Folders by their names: NAME=DIR, or DIR with its own name.

    Raises:
        SettingsError: Two have one name, or names of files that are alike, or a name cannot be one of a file.
    """
    from benchmarks.quality.downstream.sources import REAL

    found: dict[str, Path] = {}
    taken = {stem(name + end) for name in COMPARATORS for end in ("", REAL)}
    for word in folders:
        name, equals, path = word.partition("=")
        if not equals:
            name, path = Path(word).resolve().name, word
        if not re.fullmatch(r"[\w. +-]+", name):
            raise SettingsError(f"--pairs {word}: found the name {name!r}, expected letters, digits and . _ + -; give NAME=DIR")
        own = {stem(name + end) for end in ("", REAL)}
        if own & taken:
            raise SettingsError(f"--pairs {word}: the name {name!r} is taken, expected another; give NAME=DIR")
        taken |= own
        found[name] = Path(path)
    return found


def stem(name: str) -> str:
    """What the files of a name are called."""
    return re.sub(r"[^\w.]+", "_", name)


def weights_of(words: Sequence[str], networks: Sequence[str]) -> dict[str, Path]:
    """Files of weights by network, from NETWORK=FILE.

    Args:
        words: The words.
        networks: Those that are trained.

    Raises:
        SettingsError: A word has another form, or its network takes no weights, is not trained or has a file already.
        DataError: There is no such file.
    """
    found: dict[str, Path] = {}
    for word in words:
        name, equals, path = word.partition("=")
        if not equals or name not in RESNETS:
            what = f"{name} takes no weights" if name in NETWORKS else "names no network"
            raise SettingsError(f"--weights {word}: {what}, expected NETWORK=FILE with {' or '.join(RESNETS)}; change or omit it")
        if name not in networks or name in found:
            what = "has a file already" if name in found else "is not trained"
            raise SettingsError(f"--weights {word}: {name} {what}, expected one file for a --network; change or omit it")
        if not Path(path).is_file():
            raise DataError(f"--weights {word}: no such file, expected safetensors of a ResNet; check the path")
        found[name] = Path(path)
    return found


def require_networks(networks: Sequence[str]) -> None:
    """Refuse networks that cannot be built here, before anything is loaded or trained.

    Raises:
        SettingsError: ImageNet's weights are not installed.
    """
    from benchmarks.quality.metrics import efficientnet

    if "efficientnet" in networks:
        efficientnet.require()


@contextmanager
def output(folder: Path) -> Iterator[None]:
    """Tell in one line that results cannot be written below `folder`.

    Raises:
        OutputError: It is a file, the disk is full, or the folder must not be written.
    """
    from seas_train.output import writing

    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file, expected a folder or nothing; name another")
    with writing(folder):
        yield


def side_of(budget: str, side: int | None) -> int:
    """The side asked for, or the budget's.

    Raises:
        SettingsError: It is no multiple of 32.
    """
    chosen = side or SIDES[budget]
    if chosen % 32:
        raise SettingsError(f"--side {chosen} found, expected a multiple of 32, as networks halve it five times")
    return chosen


def division(real: Mapping[str, Any]) -> dict[str, Any]:
    """How many images each product learns from and is tested on, for the facts of a document."""
    parts = ("few", "normals", "held_out", "test_normals")
    return {name: {part: len(getattr(found, part)) for part in parts} for name, found in real.items()}


def one(given: Given) -> Real:
    """The only product.

    Raises:
        DataError: DATA holds several.
    """
    found = given.products()
    if len(found) > 1:
        raise DataError(f"{given.data}: holds the products {', '.join(found)}, expected the folder of one; give that folder")
    return next(iter(found.values()))


def facts(ctx: click.Context, **more: Any) -> dict[str, Any]:
    """Origin of a document, before anything is computed."""
    from benchmarks.quality import tables

    return tables.origin(ctx.meta["words"], **more)


def log(line: str) -> None:
    """Show progress beside the results."""
    click.echo(line, err=True)
