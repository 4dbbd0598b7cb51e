"""The mask branch of a step beside the U-Net of the next, a thread each, against one after the other with two threads.

    python -m benchmarks.experiments.overlap engines/bottle.plan

Wall time counts here, so the machine should be otherwise idle. Saves results/overlap.json.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from benchmarks.experiments.turns import BUNDLE, PAIRS, ROUNDS, random_feeds, save, show, take_turns
from seas_runtime.backends.mnn import MnnBackend
from seas_runtime.backends.ort import OrtBackend
from seas_runtime.bundle import read_bundle
from seas_runtime.manifest import GRAPH_OUTPUTS


@click.command(help=__doc__)
@BUNDLE
@PAIRS
@ROUNDS
def main(*, bundle: Path, pairs: int, rounds: int) -> None:
    """Measure and save."""
    read = read_bundle(bundle)
    step, mask = random_feeds(read, "unet", pairs), random_feeds(read, "mask_branch", pairs)
    calls = {}
    with ThreadPoolExecutor(1) as pool:
        for threads in (2, 1):
            ort, mnn = OrtBackend(read, "cpu", threads), MnnBackend(read, threads, ("mask_branch",))
            for name, engine in (("ort", ort), ("mnn", mnn)):
                first = lambda ort=ort: ort.run("unet", step, GRAPH_OUTPUTS["unet"])  # noqa: E731
                other = lambda engine=engine: engine.run("mask_branch", mask, ("probability",))  # noqa: E731
                if threads == 2:
                    calls[f"in turn, mask on {name}, 2 threads"] = lambda a=first, b=other: (a(), b())
                else:
                    calls[f"side by side, mask on {name}, 1 + 1"] = lambda a=first, b=other: (
                        pool.submit(b),
                        a(),
                        pool.submit(int).result(),
                    )
        table = take_turns(calls, rounds)
    show(table)
    command = f"python -m benchmarks.experiments.overlap {bundle.name} --pairs {pairs} --rounds {rounds}"
    save("overlap", command, {"pairs": pairs, "rounds": rounds, "seconds": table})


if __name__ == "__main__":
    main()
