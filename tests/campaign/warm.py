"""The other end of `server`: commands in forks of a process that has loaded all they need."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.campaign.shim import Fault

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (below 0, by that signal), changes below its folder, seconds, memory, all it said."""

    code: int
    overdue: bool
    changes: int
    seconds: float
    mebibytes: float
    said: str

    @property
    def killed(self) -> bool:
        """Whether it was killed, as a fault asked."""
        return self.code == -signal.SIGKILL and not self.overdue

    def wrong(self, codes: Sequence[int]) -> str | None:
        """What is wrong with the way it ended of its own: a crash, a traceback, several lines of error, another exit code."""
        if self.overdue:
            return f"not over after {self.seconds:.0f} s"
        if "Traceback" in self.said or self.code < 0 or self.code not in codes:
            return f"exit code {self.code}: {self.said[-3000:]}"
        lines = [line for line in self.said.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith(("Error", "Usage"))]
        if self.code not in (0, 6) and len(errors) != 1:
            return f"exit code {self.code} with {len(errors)} lines of error: {self.said[-3000:]}"
        return None


class Warm:
    """A server, and commands to it. A context manager: leaving it ends the server."""

    def __init__(self, kind: str, library: Path) -> None:
        cache = library.parent / "cache"
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        environment = {
            **os.environ,
            **dict.fromkeys(names, "1"),
            "LD_PRELOAD": str(library),
            "PYTHONPATH": str(ROOT),
            "XDG_CACHE_HOME": str(cache),
            "CUDA_VISIBLE_DEVICES": "",
        }
        command = [sys.executable, "-m", "tests.campaign.server", kind]
        self._server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
        )
        self.threads = self._answer()["threads"]

    def __enter__(self) -> Warm:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(timeout=60)

    def run(self, root: Path, command: str, *words: object, fault: Fault | None = None) -> Ended:
        """Run a command; `root` is the folder whose changes are counted, and at which a fault happens."""
        return self.together(root, [(command, words)], fault)[0]

    def together(self, root: Path, jobs: Sequence[tuple[str, Sequence[object]]], fault: Fault | None = None) -> list[Ended]:
        """Run commands at the same time."""
        fields = asdict(fault or Fault())
        request = [
            {"root": str(root), "command": name, "words": [str(word) for word in words], "fault": fields} for name, words in jobs
        ]
        return [Ended(**answer) for answer in self._ask(request)]

    def trace(self, run: Path) -> None:
        """Trace the graphs of a run folder once, for all exports of it to come."""
        self._ask({"trace": str(run)})

    def _ask(self, request: Any) -> Any:
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._server.stdout is not None
        line = self._server.stdout.readline()
        if not line:
            raise RuntimeError(f"the server ended with {self._server.wait()}")
        return json.loads(line)
