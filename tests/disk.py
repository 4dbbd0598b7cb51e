"""What reaches the disk in which order, seen at the calls that put it there."""

import os
from pathlib import Path


def watch(monkeypatch):
    """A list that grows with every flush ("NAME: BYTES", a folder's as "NAME/") and rename ("NAME -> NAME") from here on."""
    order, fsync, replace, rename = [], os.fsync, Path.replace, Path.rename

    def flushed(handle):
        path = Path(f"/proc/self/fd/{handle}").readlink()
        order.append(f"{path.name}/" if path.is_dir() else f"{path.name}: {os.fstat(handle).st_size}")
        return fsync(handle)

    def moved(way):
        def move(path, target):
            order.append(f"{path.name} -> {Path(target).name}")
            return way(path, target)

        return move

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(Path, "replace", moved(replace))
    monkeypatch.setattr(Path, "rename", moved(rename))
    return order
