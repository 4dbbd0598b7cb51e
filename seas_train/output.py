"""Rules for the folders that commands write to: ours alone, one command at a time, tidy after a kill."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from seas_runtime.commands import interrupt
from seas_runtime.errors import DataError, OutputError, SeasError
from seas_runtime.files import LOCK, TEMPORARY_SUFFIX, locked, require_plain, write_atomic
from seas_runtime.staging import sweep
from seas_train.training import kept

MARK = "unfinished.json"
"""Says which command an unfinished folder belongs to, from its first moment on."""
_PARTS = {"base": "vae", "distill": "teacher/*.safetensors", "masks": "decoder/config.json"}
"""What a stage keeps besides its checkpoint and goes on from."""
_ALONE = {"log.jsonl", "tensorboard", "teacher", kept.CURRENT, kept.NEXT, kept.PREVIOUS, MARK, LOCK}


def require_same(where: Path, saved: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Refuse to call a finished result done when it was asked for with other settings.

    Raises:
        OutputError: a setting differs; all that differ are named.
    """
    differ = [key for key in asked if saved.get(key) != asked[key]]
    changed = [f"{key} {saved.get(key)!r}, now {asked[key]!r}" for key in differ]
    if changed:
        raise OutputError(
            f"{where} was made with other settings ({'; '.join(changed)}); give the same, "
            "name another folder, or remove it to make it again"
        )


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Tell in one line that something below `out` cannot be written.

    Raises:
        OutputError: the disk is full, or the folder must not be written.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise OutputError(f"cannot write {out}: {reason}; free space, then give the same command again") from error


@contextmanager
def held(out: Path, stage: str, finished: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Hold the folder `out` for a command, and end it in one line where it is interrupted or cannot write.

    Of several processes (torchrun numbers them in RANK) the first alone holds it. What killed ones left is tidied away.

    Args:
        out: an existing folder.
        stage: the command, as checkpoints and the log name it.
        finished: whether it is done, asked when the folder is held.

    Raises:
        OutputError: another command holds it or has just finished it; the disk is full; it must not be written.
        Exit: Ctrl-C, with the exit code of the house.
    """
    with interrupt(lambda: _left(out, stage, finished)), writing(out):
        if not _first():
            yield
            return
        require_plain(out)
        with locked(out):
            sweep(out)
            if finished():
                raise OutputError(f"{out}: another run has just finished here; give the same command again to see that")
            yield


@contextmanager
def output(out: Path, stage: str, finished: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """As `held`, of a folder that may be missing: refuse one that is not ours.

    Of folders that were missing none is left that nothing was written to, nor one above it.

    Raises:
        OutputError: as `held`; `out` is a file or holds something else.
        Exit: as `held`.
    """
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file; expected a folder that is missing or empty; name another --out")
    missing = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        with writing(out):
            if _first():
                _require_ours(out, stage)
                out.mkdir(parents=True, exist_ok=True)
            with held(out, stage, finished):
                if _first() and stage_in(out) is None:
                    write_atomic(out / MARK, json.dumps({"stage": stage}) + "\n")
                yield
                if _first():
                    (out / MARK).unlink(missing_ok=True)
    finally:
        if _first() and missing and out.is_dir() and {entry.name for entry in out.iterdir()} <= {MARK}:
            with suppress(OSError):
                (out / MARK).unlink(missing_ok=True)
                for folder in missing:
                    folder.rmdir()  # which those are not that hold something


def tidy(out: Path, stage: str) -> None:
    """Remove what a command left that was killed when all was done but that; a folder that must not be written stays as it is."""
    leavings = any((out / name).exists() for name in (MARK, LOCK, kept.CURRENT, kept.NEXT, kept.PREVIOUS))
    if not leavings and not any(out.rglob(f"*{TEMPORARY_SUFFIX}")):
        return
    with suppress(OSError, OutputError), locked(out):
        sweep(out)
        if (kept.stage_of(out) or stage).partition("-")[0] == stage:
            kept.clear(out)
        (out / MARK).unlink(missing_ok=True)


def stage_in(out: Path) -> str | None:
    """Which command an unfinished folder belongs to: its mark says it, in one of an earlier version its first log line."""
    if (out / "sample.json").is_file():
        return "sample"
    for name in (MARK, "log.jsonl"):
        try:
            if (out / name).is_file():
                with (out / name).open(encoding="utf-8") as stream:
                    return str(json.loads(stream.readline())["stage"]).partition("-")[0]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
    return None


def read_json(path: Path) -> dict[str, Any]:
    """What a finished folder says of how it was made.

    Raises:
        DataError: it cannot be read, or is no JSON object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read ({error}); make it again") from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: holds no JSON object; make it again")
    return found


@contextmanager
def one_voice() -> Iterator[None]:
    """Of several processes (torchrun numbers them in RANK) the first alone speaks; an error is told by each that has one."""
    if _first():
        yield
        return
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


def _require_ours(out: Path, stage: str) -> None:
    names = {entry.name for entry in out.iterdir()} if out.is_dir() else set()
    names = {name for name in names if not name.endswith(TEMPORARY_SUFFIX)}
    found = stage_in(out) or (stage if names <= _ALONE else None)
    if names and found != stage:
        raise OutputError(
            f"{out} holds {min(names)} and no unfinished {stage} of ours; expected a folder that is missing "
            "or empty; name another --out"
        )


def _left(out: Path, stage: str, finished: Callable[[], bool]) -> str:
    """What an interrupted command leaves, for the same command to begin with."""
    with suppress(SeasError):
        if finished():
            return "all was done but to tidy up, as the same command does"
    if (kept.stage_of(out) or "").partition("-")[0] == stage or (stage in _PARTS and any(out.glob(_PARTS[stage]))):
        return "the same command continues from what is saved"
    return "nothing is saved to continue from; the same command begins anew"


def _first() -> bool:
    return os.environ.get("RANK", "0") == "0"
