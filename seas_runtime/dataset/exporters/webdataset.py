"""WebDataset: tar shards in which KEY.png, KEY.mask.png and KEY.json lie together; equal pairs give equal bytes."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Sequence

from seas_runtime.dataset.exporters.job import Job
from seas_runtime.dataset.exporters.lines import line
from seas_runtime.dataset.pictures import Item, encode
from seas_runtime.dataset.read import Record
from seas_runtime.dataset.split import ranked

README = """WebDataset: {shards}. A sample is KEY.png, KEY.mask.png (0 and 255; black for a normal picture) and
KEY.json; samples are shuffled already, by --seed.

    import webdataset as wds
    data = wds.WebDataset("train-{{000000..{last:06d}}}.tar", shardshuffle=False).decode("pil").to_tuple("png", "mask.png", "json")
    image, mask, facts = next(iter(data))    # mask.convert("L") has one channel

facts: defect ("good" is normal), class (0 is normal, then {classes}), area, bbox; run is what seas-gen noted.
"""


def write(job: Job) -> None:
    """Write the shards and the README."""
    numbers = {}
    for split, records in job.splits.items():
        order = ranked(records, job.options.seed)
        size = job.options.shard_size
        for first in range(0, len(order), size):
            _shard(job, f"{split}-{first // size:06d}.tar", order[first : first + size])
        numbers[split] = -(-len(order) // size)
    shards = " and ".join(f"{count} shard{'s' * (count > 1)} of {split}" for split, count in numbers.items())
    classes = ", ".join(f"{number} {name}" for number, name in enumerate(job.data.classes, start=1))
    readme = README.format(shards=shards, last=numbers["train"] - 1, classes=classes)
    job.write("README.txt", job.heading() + readme)


def _shard(job: Job, name: str, records: Sequence[Record]) -> None:
    with (
        (job.folder / name).open("wb") as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for record, item in job.items(records):
            for member, data in _members(job, record, item):
                header = tarfile.TarInfo(member)  # its owner, times and mode say nothing of this machine
                header.size = len(data)
                tar.addfile(header, io.BytesIO(data))


def _members(job: Job, record: Record, item: Item) -> Iterator[tuple[str, bytes]]:
    facts = json.dumps(line(record, item, job.data.classes) | {"run": dict(record.facts)}, allow_nan=False)
    yield f"{record.key}.json", facts.encode()
    yield f"{record.key}.mask.png", encode(item.mask)
    yield f"{record.key}.png", item.png
