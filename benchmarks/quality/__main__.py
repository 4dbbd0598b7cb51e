"""`seas-quality`, also as `python -m benchmarks.quality`."""

import signal
import sys
from pathlib import Path

from benchmarks.quality.cli import main


def run() -> None:
    """A scheduler's end is an interrupt too, and a shell's job has none of Ctrl-C's: what took time is noted, the exit code 130."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    started = Path(sys.argv[0]).stem
    main(prog_name="python -m benchmarks.quality" if started == "__main__" else started)


if __name__ == "__main__":
    run()
