"""A command of this project in a process of its own, which an interrupt of ours reaches once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from seas_runtime.errors import BackendError
from seas_runtime.versions import extra

PASSED_ON = ("SIGINT", "SIGTERM", "SIGHUP")
PAUSED_BY = "SIGTSTP"


class Ended(NamedTuple):
    """Exit code of a command, and its peak resident memory in MiB where it had a process of its own."""

    status: int
    peak_mib: float | None = None


def executable(name: str) -> str:
    """Path of one of this project's commands: beside the running Python, else on the PATH.

    Raises:
        BackendError: it is in neither place.
    """
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise BackendError(f"{name} is not installed; run {extra('cpu', 'train', 'export')}")
    return found


def apart(command: Sequence[str], aside: bool = False) -> Ended:
    """Run a command in a process of its own, and measure its memory (the largest of it and its children).

    With `aside` its results go where its progress goes, to stderr: our own stdout is for other results.

    It has a process group of its own: the terminal's Ctrl-C comes to us alone, and is passed on once, as is an interrupt, a
    termination or a hang-up that was sent to us alone. A second one within a training would end it without a checkpoint. It
    pauses and goes on with us (Ctrl-Z).
    """
    own = 0 if os.name == "posix" else None
    with _passed_on() as to:
        words, out = [executable(command[0]), *command[1:]], 2 if aside else None
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, process_group=own)  # noqa: S603
        to(process)
        return _waited(process)


def _waited(process: subprocess.Popen[bytes]) -> Ended:
    if sys.platform == "win32":
        return Ended(process.wait())
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    per_mib = 2**20 if sys.platform == "darwin" else 2**10
    return Ended(process.returncode, usage.ru_maxrss / per_mib)


@contextmanager
def _passed_on() -> Iterator[Callable[[subprocess.Popen[bytes]], None]]:
    """Pass signals on to a process, once it is told which; what came before that too. What was ignored stays so."""
    child: list[int] = []
    early: list[int] = []

    def send(number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(child[0], number)

    def note(number: int, _frame: FrameType | None) -> None:
        send(number) if child else early.append(number)

    def pause(_number: int, _frame: FrameType | None) -> None:
        if child:
            send(signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)  # until the shell lets us go on
        if child:
            send(signal.SIGCONT)

    def to(process: subprocess.Popen[bytes]) -> None:
        child.append(process.pid)
        for number in early:
            send(number)

    numbers = [getattr(signal, name) for name in (*PASSED_ON, PAUSED_BY)] if os.name == "posix" else []
    usual: dict[int, Any] = {number: signal.getsignal(number) for number in numbers}
    heeded = {number: handler for number, handler in usual.items() if handler is not signal.SIG_IGN}
    try:
        for number in heeded:
            signal.signal(number, pause if signal.Signals(number).name == PAUSED_BY else note)
        yield to
    finally:
        for number, handler in heeded.items():
            signal.signal(number, handler)
