"""`python -m benchmarks.quality`."""

import signal

from benchmarks.quality.cli import main

if __name__ == "__main__":
    # A scheduler's end is an interrupt too, and a shell's job has none of Ctrl-C's: what took time is noted, the exit code 130.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main(prog_name="python -m benchmarks.quality")
