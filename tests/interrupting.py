"""Ctrl-C at a chosen place: at the nth change that the main thread makes to the file system below a folder."""

import os
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.truncate"}
_armed = []


class Countdown:
    """Raises KeyboardInterrupt at the nth change; `changes` says how many there were."""

    def __init__(self, root, number):
        self.root, self.number, self.changes = str(root), number, 0

    def see(self, event, given):
        if threading.current_thread() is not threading.main_thread() or not _changes(event, given):
            return
        if not str(os.fsdecode(given[0])).startswith(self.root):
            return
        self.changes += 1
        if self.changes == self.number:
            raise KeyboardInterrupt


def _changes(event, given):
    if event == "open":
        return isinstance(given[0], str | bytes | Path) and bool(given[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    return event in CHANGES and isinstance(given[0], str | bytes | Path)


def _hook(event, given):
    for countdown in tuple(_armed):
        countdown.see(event, given)


sys.addaudithook(_hook)  # for good: a hook cannot be taken away again


@contextmanager
def interrupted(root, number):
    """Interrupt the block at change `number` below `root`, counted from 1; gives what counts them."""
    _armed.append(countdown := Countdown(root, number))
    try:
        yield countdown
    finally:
        _armed.remove(countdown)


def places(first=5, grow=2.5):
    """1, 2, ... `first`, and then ever fewer."""
    number = 1
    while True:
        yield number
        number = number + 1 if number < first else int(number * grow)


def again_and_again(call, prepared, done, least=3):
    """Interrupt a command at one place after the other, each time in a fresh folder; the same command then ends well.

    Args:
        call: runs the command in a folder; click's result.
        prepared: gives a fresh folder for each place, below which the command writes.
        done: checks what the command leaves in such a folder.
        least: how many places there are to be.
    """
    said = set()
    for number in places():
        root = prepared(number)
        with interrupted(root, number) as countdown:
            result = call(root)
        if countdown.changes < number:
            break
        assert result.exit_code == 130, (number, result.output, result.exception)
        said.add(result.stderr.splitlines()[-1])
        result = call(root)
        assert result.exit_code == 0, (number, result.output, result.exception)
        done(root)
    assert number > least
    return said
