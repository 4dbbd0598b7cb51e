"""What would stop a late stage, said before the first one begins; what stops the first one it says itself, at its start."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from seas_runtime.bundle.names import defect_name, folder_name
from seas_runtime.errors import BackendError, DataError, OutputError, SettingsError
from seas_runtime.files import LOCK, TEMPORARY_SUFFIX
from seas_runtime.versions import extra
from seas_train.config import IN_GRAPHS, require_heads
from seas_train.data import layouts
from seas_train.data.layouts import Product
from seas_train.pipeline.child import executable
from seas_train.pipeline.commands import Order
from seas_train.pipeline.sections import Sections
from seas_train.pipeline.stages import TIMES, Stages, times

PACKAGES = ("torch", "diffusers", "transformers", "onnx", "onnx_ir", "onnxscript", "onnxruntime")
"""What training, `seas-export` and `seas-gen` need beside one another."""
_OURS = {LOCK, "run", "student", "pairs", "report.html"}  # made by the same commands, typed one by one
_OPTIONAL = {"peft": "lora", "bitsandbytes": "adamw8bit", "tensorboard": "tensorboard"}


def require(order: Order, stages: Stages) -> None:
    """Refuse what could be made in part only. Reads file names of the data set, and no picture.

    Raises:
        SettingsError: what is trained could not be exported, or an optional package is missing.
        BackendError: a program or package of a later stage is not installed.
        DataError: no data set, or names that a bundle cannot have.
        OutputError: the bundle or the work folder is taken or cannot be written.
    """
    if "RANK" in os.environ:
        raise SettingsError("several processes of `all` found, one expected; give torchrun tune and masks, as --dry-run shows them")
    require_exportable(order.sections)
    require_places(order, stages)
    if all(map(stages.done, order.stages())):
        return
    require_packages(order.sections)
    if not stages.done(order.stages()[0]):
        require_names(layouts.only(order.source.read(), order.sections.tune.defects), order.sections.gen.defects)


def require_exportable(sections: Sections) -> None:
    """Refuse a mask branch that is an ablation, or of which widths and heads do not fit."""
    for name, fit in IN_GRAPHS.items():
        if (found := getattr(sections.masks, name)) != fit:
            raise SettingsError(
                f"[masks] {name} {found!r} is an ablation that cannot be exported, {fit!r} expected; leave it out, or train with "
                "`seas-train tune` and `masks` alone"
            )
    require_heads(sections.masks)


def require_packages(sections: Sections, found: Callable[[str], object] = find_spec) -> None:
    """Refuse to begin without the programs and packages of all stages."""
    for program in ("seas-train", "seas-export", "seas-gen"):
        executable(program)
    if missing := [name for name in PACKAGES if not found(name)]:
        raise BackendError(
            f"{', '.join(missing)} not installed, which a later stage needs; run {extra('cpu', 'train', 'export')} before training"
        )
    trainings = [each for each in (sections.tune, sections.masks, sections.distill) if each is not None]
    asked = {
        "peft": any(getattr(each, "unet", "") == "lora" for each in trainings),
        "bitsandbytes": any(each.optimizer == "adamw8bit" for each in trainings),
        "tensorboard": any(each.watch_every for each in trainings),
    }
    if missing := [name for name, needed in asked.items() if needed and not found(name)]:
        raise SettingsError(f"{missing[0]} is not installed; run {extra(_OPTIONAL[missing[0]])} before training")


def require_names(product: Product, asked: tuple[str, ...] = ()) -> None:
    """Refuse a product and defect types that a bundle cannot be sealed with; `asked` are those of the first pairs."""
    for kind, check_name, names in (
        ("product", folder_name, (product.name,)),
        ("defect type", defect_name, product.defects),
    ):
        for name in names:
            try:
                check_name(name)
            except ValueError as error:
                advice = "give another --name" if kind == "product" else "rename its folder"
                raise DataError(f"{product.root}: the {kind} cannot be exported: {error}; {advice} before training") from error
    folded = [name.casefold() for name in product.defects]
    if twins := [name for name in product.defects if folded.count(name.casefold()) > 1]:
        raise DataError(f"{product.root}: the defect types {' and '.join(twins)} share a name on some systems; rename one")
    if strange := [name for name in asked if name not in product.defects]:
        raise SettingsError(f"[gen] defects: unknown type {strange[0]!r}; the data set has {', '.join(product.defects)}")


def require_places(order: Order, stages: Stages) -> None:
    """Refuse a bundle that is another's, or older than what it is to be made of; and folders that cannot be written."""
    out, work = order.out, order.work
    _require_work(work)
    export = next(stage for stage in order.stages() if stage.name == "export")
    note = times(work).get(export.name)
    if out.exists():
        if note is None or note["command"] != stages.plain(export):
            known = "exists already" if note is None else f"was made by `{shlex.join(note['command'])}`, not what is asked now"
            raise OutputError(f"{out}: {known}; remove it to make it again, or name another --out")
        before = [stage for stage in order.stages()[:-3] if not stage.result.exists()]
        if before:
            raise OutputError(f"{out}: is there, but not the {before[0].name} it was made from, in {work}; remove it to make both")
    _require_own_pairs(order, stages)
    for place in (out, work):
        above = next(folder for folder in (place, *place.absolute().parents) if folder.exists())
        if not above.is_dir() or not os.access(above, os.W_OK):
            what = "cannot be written to" if above.is_dir() else "is a file"
            raise OutputError(f"{place}: {above} {what}; name another place")


def _require_own_pairs(order: Order, stages: Stages) -> None:
    """Refuse first pairs of another bundle, or of one that is gone: the next one is no longer the one they are of."""
    note, pairs = times(order.work).get("gen"), next(stage for stage in order.stages() if stage.name == "gen")
    if not pairs.result.exists():
        return
    engine = "--engine", stages.plain(pairs)[2]
    if not order.out.exists() or note is None or tuple(note["command"][1:3]) != engine:
        raise OutputError(f"{order.pairs}: has pairs of another bundle, or of one that is gone; remove it, or name another --work")


def _require_work(work: Path) -> None:
    if not work.exists() or (work / TIMES).is_file():
        return
    if not work.is_dir():
        raise OutputError(f"{work} is a file; expected a folder that is missing or empty; name another --work")
    names = sorted({entry.name for entry in work.iterdir() if not entry.name.endswith(TEMPORARY_SUFFIX)} - _OURS)
    if names:
        kind = "is a run folder of its own" if (work / "run.json").is_file() else f"holds {names[0]} and no work of this command"
        raise OutputError(f"{work} {kind}; expected a folder that is missing or empty; name another --work")
